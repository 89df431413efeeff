"""What becomes of an index of which not every child takes part: kept, one manifest in its place, or written anew.

It is decided in the plan, by the selection and the kind of the destination, never by what a destination answers
(docs/platforms.md has the table). An index may hold further indexes; platforms are counted, and chosen, at any depth.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tranship.engine.graph import called, read_all
from tranship.engine.plan import Node, Partial
from tranship.errors import InvalidArgument, PolicyRefused, printable
from tranship.model import naming, strict_json
from tranship.model.digest import Digest
from tranship.model.manifest import Document, Index, parse

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tranship.engine.protocols import Source
    from tranship.engine.run import Run
    from tranship.engine.selection import IndexFate
    from tranship.model.descriptor import Descriptor, Root


class Fates:
    """Decides it for the settled roots of a plan; indexes that are written anew join its `nodes`."""

    def __init__(
        self, documents: Mapping[Digest, Document | None], nodes: dict[Digest, Node | None], source: Source, run: Run
    ) -> None:
        self._documents = documents
        self._nodes = nodes
        self._source = source
        self._run = run
        self._fresh: dict[Digest, Node] = {}  # by the digest of the index that each was made of

    def of(self, root: Root, wish: IndexFate | None, *, needs_closure: bool) -> tuple[Root, Partial | None]:
        """The root in its place, and the count when it arrives in part."""
        node = self._nodes[root.descriptor.digest]
        if node is None or not isinstance(node.document, Index):
            return root, None
        selected = self._gathered(node)
        if wish == "single" or (wish is None and needs_closure and not node.whole and len(selected) == 1):
            return self._single(root, selected.values()), None
        if node.whole:
            return root, None
        listed = self._listed(node.document)
        chosen, all_there_are = _platforms(selected.values()), _platforms(listed.values())
        if wish == "rewrite":
            return self._rewritten_root(root, node.document, node, f"{chosen} of {all_there_are} platforms"), None
        if needs_closure and wish != "keep":
            raise PolicyRefused(
                f"{chosen} of {all_there_are} platforms of {called(root)} take part, and a registry refuses an index with "
                f"absent children",
                hint="--index rewrite makes an index of those, --index single takes one, --all-platforms demands all",
                side="destination",
            )
        return root, Partial(root, chosen, all_there_are) if chosen < all_there_are else None

    def _gathered(self, node: Node) -> dict[Digest, Descriptor]:
        """The manifests below a node that take part. What several indexes hold, a chain of doublings too, is met once."""
        found: dict[Digest, Descriptor] = {}
        met, waiting = set[Digest](), [node]
        while waiting:
            for child in waiting.pop().selected:
                below = self._nodes.get(child.digest) if child.is_index else None
                if below is not None and child.digest not in met:
                    met.add(child.digest)
                    waiting.append(below)
                elif below is None and child.is_manifest:
                    found.setdefault(child.digest, child)
        return found

    def _listed(self, index: Index) -> dict[Digest, Descriptor]:
        """All that an index lists, in place of an index in it what that one lists, where it was read."""
        found: dict[Digest, Descriptor] = {}
        met, waiting = set[Digest](), [index]
        while waiting:
            for child in waiting.pop().manifests:
                below = self._documents.get(child.digest) if child.is_index else None
                if not isinstance(below, Index):
                    found.setdefault(child.digest, child)
                elif child.digest not in met:
                    met.add(child.digest)
                    waiting.append(below)
        return found

    def _single(self, root: Root, selected: Collection[Descriptor]) -> Root:
        if len(selected) != 1:
            raise InvalidArgument(
                f"the index of {called(root)} cannot become a single manifest: {len(selected)} of them take part",
                hint="select one with --platform",
            )
        (manifest,) = selected
        what = f"of {printable(str(manifest.platform))}" if manifest.platform is not None else manifest.digest.short
        self._run.notice(f"{called(root)}: the manifest {what} takes the index's place")
        kept = {**root.descriptor.annotations, **manifest.annotations}
        return _moved(root, replace(manifest, annotations=kept))

    def _rewritten_root(self, root: Root, index: Index, node: Node, of_what: str) -> Root:
        fresh = self._rewritten(root.descriptor, index, node).descriptor
        self._run.notice(f"{called(root)}: a new index of {of_what} has digest {fresh.digest}")
        return _moved(root, fresh)

    def _rewritten(self, descriptor: Descriptor, index: Index, node: Node) -> Node:
        """Write an index of what takes part of it, those in it first; one of them of which nothing does is left out."""
        children = []
        for child in node.selected:
            below = self._nodes.get(child.digest)
            if below is None or below.whole or not isinstance(below.document, Index):
                children.append(child)
            else:
                fresh = self._fresh.get(child.digest) or self._rewritten(child, below.document, below)
                if fresh.selected:
                    children.append(replace(child, digest=fresh.descriptor.digest, size=fresh.descriptor.size))
        raw = node.raw
        if raw is None:
            raw = read_all(self._source, index.descriptor)
            parse(raw, index.descriptor)  # once more: a source may have changed since
        value = strict_json.loads(raw, str(index.descriptor))
        value["manifests"] = [child.to_json() for child in children]
        raw = strict_json.dumps(value)
        descriptor = replace(descriptor, digest=Digest.of(raw, descriptor.digest.algorithm), size=len(raw))
        made = Node(replace(index, descriptor=descriptor, manifests=tuple(children)), tuple(children), raw)
        self._nodes[descriptor.digest] = self._fresh[index.descriptor.digest] = made
        return made


def _moved(root: Root, target: Descriptor) -> Root:
    """The root with another target; a name that pins the digest (`app@sha256:…`) pins the new one."""
    name = naming.repinned(root.name, root.descriptor.digest, target.digest) if root.name else root.name
    return replace(root, descriptor=target, name=name)


def _platforms(manifests: Collection[Descriptor]) -> int:
    """How many of them a user would count: build attestations stand beside the images as platform unknown/unknown."""
    return sum(str(d.platform) != "unknown/unknown" for d in manifests)
