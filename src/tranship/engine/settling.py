"""From what was read to what takes part: edges are settled from the leaves up, and then the fate of each root.

What a selection demands and the source lacks is an error here, before anything moves. What becomes of an index of which some
children do not take part is decided here too, never by what a destination answers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tranship.engine.graph import called, read_all
from tranship.engine.plan import Node, Partial
from tranship.engine.verify import check_digest
from tranship.errors import InvalidArgument, NotFound, PolicyRefused, printable
from tranship.model import mediatypes, strict_json
from tranship.model.digest import Digest
from tranship.model.manifest import Document, Index, Manifest, parse
from tranship.model.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tranship.engine.graph import Graph
    from tranship.engine.protocols import Source
    from tranship.engine.run import Run
    from tranship.engine.selection import Selection
    from tranship.model.descriptor import Descriptor, Root

MAX_CONFIG = 4_194_304  # bytes; as containers/image reads


class Settler:
    """Settles the edges of a graph.

    nodes  the documents by digest; None: it does not take part
    """

    def __init__(self, graph: Graph, source: Source, selection: Selection, run: Run) -> None:
        self.nodes: dict[Digest, Node | None] = {}
        self._graph = graph
        self._source = source
        self._selection = selection
        self._run = run
        self._platforms: dict[Digest, Platform | None] = {}  # of lone manifests, by their configs

    def settle(self, root: Root) -> None:
        """Decide which edges below a root take part; raise for what is demanded and absent."""
        document = self._graph.documents.get(root.descriptor.digest)
        if document is None:
            raise NotFound(
                f"{root.descriptor} of {called(root)} is not there", descriptor=root.descriptor, side="source"
            )
        if isinstance(document, Manifest) and self._selection.platforms and root.subject is None:
            self._check_platform(root, document)
        try:
            node = self._settle(root.descriptor, demanded=True)
        except NotFound as error:
            error.message = f"{called(root)} is incomplete: {error.message}"
            raise
        wanted = node is not None and any(self._selection.matches(child.platform) for child in node.selected)
        if node is None or (isinstance(document, Index) and document.manifests and not wanted):
            raise NotFound(self._nothing_left(root, document), descriptor=root.descriptor, side="source")

    def _settle(self, descriptor: Descriptor, *, demanded: bool) -> Node | None:
        """The node of a document; None when the source lacks part of it and nobody demands it."""
        known = self.nodes.get(descriptor.digest)
        if known is not None or (descriptor.digest in self.nodes and not demanded):
            return known
        document = self._graph.documents.get(descriptor.digest)
        if document is None:
            if demanded and not self._selection.skip_missing:
                raise NotFound(f"{descriptor} is not there", descriptor=descriptor, side="source")
            node = None
        elif isinstance(document, Index):
            node = self._settle_index(document)
        else:
            node = self._settle_manifest(document, demanded=demanded)
        self.nodes[descriptor.digest] = node
        return node

    def _settle_index(self, index: Index) -> Node:
        demanding = self._selection.filters or self._selection.all_platforms
        selected = []
        for child in self._selection.successors(index):
            if child.is_document:
                wanted = demanding and self._selection.matches(child.platform)
                if self._settle(child, demanded=wanted) is not None:
                    selected.append(child)
            elif self._source.has(child):
                selected.append(child)
            elif demanding and not self._selection.skip_missing:
                raise NotFound(f"{child} of {index.descriptor} is not there", descriptor=child, side="source")
        nodes = (self.nodes.get(child.digest) for child in selected if child.is_document)
        whole = len(selected) == len(index.manifests) and all(node is not None and node.whole for node in nodes)
        return Node(index, tuple(selected), self._graph.raw.get(index.descriptor.digest), whole)

    def _settle_manifest(self, manifest: Manifest, *, demanded: bool) -> Node | None:
        selected = []
        for child in self._leaves(manifest):
            if self._source.has(child):
                selected.append(child)
            elif mediatypes.is_non_distributable(child.media_type):
                continue  # rarely held by anyone but its owner; the manifest still lists it
            elif not self._selection.skip_missing:
                if not demanded:
                    return None
                raise NotFound(f"{child} of {manifest.descriptor} is not there", descriptor=child, side="source")
        return Node(manifest, tuple(selected), self._graph.raw.get(manifest.descriptor.digest))

    def _leaves(self, manifest: Manifest) -> Sequence[Descriptor]:
        leaves = self._selection.leaves(manifest)
        if self._selection.all_metadata and not self._selection.matches(manifest.descriptor.platform):
            return [d for d in leaves if d.media_type in mediatypes.CONFIGS]
        return leaves

    def _check_platform(self, root: Root, manifest: Manifest) -> None:
        """A lone manifest says its platform in its config, which is read for it."""
        platform = root.descriptor.platform or self._platform_of(manifest)
        if not self._selection.matches(platform):
            found = printable(str(platform))
            raise NotFound(
                f"{called(root)} is an image for {found}, and {self._wish()} was asked for",
                descriptor=root.descriptor,
                hint=f"select --platform {found}, or none",
            )

    def _platform_of(self, manifest: Manifest) -> Platform | None:
        config = manifest.config
        if config is None or config.media_type not in mediatypes.CONFIGS:
            return None
        if config.digest not in self._platforms:
            raw = read_all(self._source, config, MAX_CONFIG)
            check_digest(config, Digest.of(raw, config.digest.algorithm))
            value = strict_json.loads(raw, str(config))
            self._platforms[config.digest] = Platform.from_json(value, str(config))
        return self._platforms[config.digest]

    def _nothing_left(self, root: Root, document: Document) -> str:
        offered = sorted({str(d.platform) for d in document.children if d.platform is not None})
        what = (
            f"no manifest of {called(root)} matches {self._wish()}"
            if self._selection.filters
            else (f"no image of {called(root)} is complete at the source")
        )
        return f"{what}; the index names {', '.join(map(printable, offered[:12])) or 'no platforms'}"

    def _wish(self) -> str:
        return ", ".join(map(str, self._selection.platforms)) or str(self._selection.matcher)

    # ------------------------------------------------------------------------------------------------------------- fate

    def fate(self, root: Root, *, needs_closure: bool) -> tuple[Root, Partial | None]:
        """What becomes of a root of which not every child takes part (the table is in docs/platforms.md)."""
        node = self.nodes[root.descriptor.digest]
        document = self._graph.documents[root.descriptor.digest]
        if node is None or not isinstance(document, Index):
            return root, None
        wish = self._selection.index
        count = len(node.selected)
        if wish == "single" or (wish is None and needs_closure and count < node.children and count == 1):
            if count != 1:
                raise InvalidArgument(
                    f"the index of {called(root)} cannot become a single manifest: {count} of them take part",
                    hint="select one with --platform",
                )
            platform = printable(str(node.selected[0].platform))
            self._run.notice(f"{called(root)}: the manifest of {platform} takes the index's place")
            return self._single(root, node.selected[0]), None
        if node.whole:
            return root, None
        chosen, all_there_are = _platforms(node.selected), _platforms(document.manifests)
        if wish == "rewrite":
            rewritten = self._rewritten(root, node, document)
            self._run.notice(
                f"{called(root)}: a new index of {chosen} of {all_there_are} platforms has digest {rewritten.descriptor.digest}"
            )
            return rewritten, None
        if needs_closure and wish != "keep":
            raise PolicyRefused(
                f"{chosen} of {all_there_are} platforms of {called(root)} take part, and a registry refuses an index with "
                f"absent children",
                hint="--index rewrite makes an index of those, --index single takes one, --all-platforms demands all",
                side="destination",
            )
        return root, Partial(root, chosen, all_there_are) if chosen < all_there_are else None

    def _single(self, root: Root, manifest: Descriptor) -> Root:
        kept = {**root.descriptor.annotations, **manifest.annotations}
        return replace(root, descriptor=replace(manifest, annotations=kept))

    def _rewritten(self, root: Root, node: Node, index: Index) -> Root:
        raw = node.raw
        if raw is None:
            raw = read_all(self._source, index.descriptor)
            parse(raw, index.descriptor)  # once more: a source may have changed since
        value = strict_json.loads(raw, str(index.descriptor))
        value["manifests"] = [d.to_json() for d in node.selected]
        fresh = strict_json.dumps(value)
        descriptor = replace(root.descriptor, digest=Digest.of(fresh), size=len(fresh))
        self.nodes[descriptor.digest] = Node(
            replace(index, descriptor=descriptor, manifests=node.selected), node.selected, fresh
        )
        return replace(root, descriptor=descriptor)


def _platforms(manifests: Sequence[Descriptor]) -> int:
    """How many of them a user would count: build attestations stand beside the images as platform unknown/unknown."""
    return sum(str(d.platform) != "unknown/unknown" for d in manifests)
