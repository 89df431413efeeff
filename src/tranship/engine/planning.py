"""Making the plan: read the documents, settle the edges, decide the fate of each root, and gather what moves.

Only documents (and, to check a platform, a config) are read. A plan holds no bytes but those of documents, up to a budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.engine.fate import Fates
from tranship.engine.graph import Graph
from tranship.engine.plan import Node, Plan
from tranship.engine.settling import Settler
from tranship.errors import Internal, InvalidArgument, blamed_on
from tranship.model.manifest import Index

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tranship.engine.protocols import Source
    from tranship.engine.run import Run
    from tranship.engine.selection import Selection
    from tranship.model.descriptor import Descriptor, Root
    from tranship.model.digest import Digest


def make_plan(
    roots: Sequence[Root],
    source: Source,
    selection: Selection,
    run: Run,
    *,
    needs_closure: bool = False,
    held: Callable[[Descriptor], bytes | None] | None = None,
    complete: Sequence[Root] = (),
) -> Plan:
    """Plan the transfer of `roots`.

    needs_closure  the destination refuses an index with absent children
    held           documents that the destination can show, so that they are not fetched
    complete       further roots, which the destination holds whole and which only stand in the plan

    Raises NotFound for what is demanded and absent, PolicyRefused for an index that the destination cannot take partially.
    """
    graph = Graph(source, selection, run, held)
    settler = Settler(graph, source, selection, run)
    with blamed_on("source"):
        graph.read(roots)
        referrers = graph.read_referrers(roots) if selection.referrers is not None else []
        for root in (*roots, *referrers):
            settler.settle(root)
    fates = Fates(graph.documents, settler.nodes, source, run)
    decided = [fates.of(root, selection.index, needs_closure=needs_closure) for root in (*roots, *referrers)]
    settled = [root for root, _ in decided]
    nodes, waves, blobs, parents = _collect(settled, settler.nodes)
    return Plan(
        roots=tuple(settled),
        nodes=nodes,
        waves=waves,
        blobs=blobs,
        parents=parents,
        partial=tuple(part for _, part in decided if part is not None),
        complete=tuple(complete),
    )


def _collect(
    roots: Sequence[Root], settled: Mapping[Digest, Node | None]
) -> tuple[dict[Digest, Node], tuple[tuple[Descriptor, ...], ...], tuple[Descriptor, ...], dict[Digest, Digest]]:
    """Gather what the settled roots reach: documents by height above the leaves, blobs once each."""
    nodes: dict[Digest, Node] = {}
    heights: dict[Digest, int] = {}
    blobs: dict[Digest, Descriptor] = {}
    parents: dict[Digest, Digest] = {}

    def visit(digest: Digest) -> int:  # recursion is bounded by MAX_DEPTH
        if digest in heights:
            return heights[digest]
        node = settled[digest]
        if node is None:
            raise Internal(f"the plan reaches {digest}, which takes no part")
        height = 0
        for child in node.selected:
            parents.setdefault(child.digest, digest)
            if child.is_document and isinstance(node.document, Index):  # below a manifest everything is a blob
                height = max(height, visit(child.digest) + 1)
            else:
                known = blobs.setdefault(child.digest, child)
                if known.size != child.size:
                    raise InvalidArgument(f"{child} has {known.size} bytes in one document and {child.size} in another")
        nodes[digest] = node
        heights[digest] = height
        return height

    for root in roots:
        visit(root.descriptor.digest)
    for digest in nodes.keys() & blobs.keys():
        raise InvalidArgument(
            f"{nodes[digest].descriptor} is listed as an image, and among the layers of another one",
            descriptor=blobs[digest],
            side="source",
        )
    waves: list[list[Descriptor]] = [[] for _ in range(max(heights.values(), default=-1) + 1)]
    for digest, height in heights.items():
        waves[height].append(nodes[digest].descriptor)
    largest_first = sorted(blobs.values(), key=lambda d: (-d.size, d.digest))
    return nodes, tuple(map(tuple, waves)), tuple(largest_first), parents
