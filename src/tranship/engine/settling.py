"""From what was read to what takes part: edges are settled from the leaves up.

What a selection demands and the source lacks is an error here, before anything moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.engine.graph import called, read_all
from tranship.engine.plan import Node
from tranship.engine.verify import check_digest
from tranship.errors import NotFound, printable
from tranship.model import mediatypes, strict_json
from tranship.model.digest import Digest
from tranship.model.manifest import Document, Index, Manifest
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
