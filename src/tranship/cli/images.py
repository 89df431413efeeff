"""The images of an end as a person looks at them: the graph below each root, what of it is there, and what it amounts to."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tranship.engine.graph import Graph, read_all
from tranship.engine.protocols import LooksUp
from tranship.engine.run import Run
from tranship.engine.selection import Selection
from tranship.engine.settling import MAX_CONFIG
from tranship.errors import NotFound, TranshipError, printable
from tranship.model import strict_json
from tranship.model.descriptor import Root
from tranship.model.manifest import MAX_DOCUMENT, Document, Index, Manifest, parse
from tranship.model.platform import Platform, default
from tranship.model.platform import only as best_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tranship.engine.protocols import Source
    from tranship.model.descriptor import Descriptor
    from tranship.model.digest import Digest
    from tranship.model.platform import Matcher


@dataclass(frozen=True, slots=True)
class Node:
    """An object of an image. `document` may be without its bytes; it is None of a blob, and of a document that is not there."""

    descriptor: Descriptor
    present: bool
    document: Document | None = None
    children: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """This node and all below it, each object once."""
        seen: set[Digest] = set()
        waiting = [self]
        while waiting:
            node = waiting.pop()
            if node.descriptor.digest not in seen:
                seen.add(node.descriptor.digest)
                yield node
                waiting.extend(reversed(node.children))

    @property
    def manifests(self) -> list[Node]:
        """The manifests that are there, in order."""
        return [node for node in self.walk() if isinstance(node.document, Manifest)]

    @property
    def is_complete(self) -> bool:
        """Is everything there?"""
        return all(node.present for node in self.walk())

    @property
    def missing(self) -> list[Descriptor]:
        """What is not there."""
        return [node.descriptor for node in self.walk() if not node.present]

    @property
    def size(self) -> int:
        """Bytes of what is there."""
        return sum(node.descriptor.size for node in self.walk() if node.present)


def graph(source: Source, root: Root, *, only: Matcher | None = None, look: bool = False) -> Node:
    """Read the documents below a root; what is not there stays a node without children. DigestMismatch for wrong bytes.

    They are bounded as those of a transfer are, and kept without their bytes, but for the root's.

    only  leave out the children of an index that are for other platforms
    look  ask even a source that takes it on trust (a registry) whether each blob is there, with a request each
    """
    is_there = source.holds if look and isinstance(source, LooksUp) else source.has
    selection = Selection(matcher=only)
    found = Graph(source, selection, Run(), None)
    if root.descriptor.is_document:
        found.read([root])
    known: dict[Digest, Node] = {}

    def visit(descriptor: Descriptor) -> Node:
        if descriptor.digest not in known:
            known[descriptor.digest] = read(descriptor) if descriptor.is_document else leaf(descriptor)
        return known[descriptor.digest]

    def read(descriptor: Descriptor) -> Node:
        match found.documents[descriptor.digest]:
            case Index() as index:
                return Node(descriptor, True, index, tuple(map(visit, selection.successors(index))))
            case Manifest() as manifest:  # below it everything is a blob
                return Node(descriptor, True, manifest, tuple(map(leaf, manifest.children)))
            case None:
                return Node(descriptor, False)

    def leaf(descriptor: Descriptor) -> Node:
        return Node(descriptor, is_there(descriptor))

    top, raw = visit(root.descriptor), found.raw.get(root.descriptor.digest)
    return top if top.document is None or raw is None else replace(top, document=replace(top.document, raw=raw))


def read_document(source: Source, descriptor: Descriptor) -> bytes:
    """The bytes of a manifest or index."""
    return read_all(source, descriptor, MAX_DOCUMENT)


def read_config(source: Source, manifest: Node) -> bytes | None:
    """The bytes of a manifest's config; None when it has none or it is not there."""
    document = manifest.document
    config = document.config if isinstance(document, Manifest) else None
    if config is None or not source.has(config):
        return None
    return read_all(source, config, MAX_CONFIG)


def config_of(source: Source, manifest: Node) -> dict[str, Any]:
    """A manifest's config, decoded; empty when there is none that can be read."""
    raw = read_config(source, manifest)
    with contextlib.suppress(TranshipError):
        value = strict_json.loads(raw or b"{}", "config")
        if isinstance(value, dict):
            return value
    return {}


def platform_of(source: Source, manifest: Node) -> Platform | None:
    """A manifest's platform: its index says it, or its config."""
    if manifest.descriptor.platform is not None:
        return manifest.descriptor.platform
    with contextlib.suppress(TranshipError):
        found = Platform.from_json(config_of(source, manifest), "config")
        if found.os or found.architecture:
            return replace(found, extra={})  # the rest of the config is no part of the platform
    return None


def artifact_type(source: Source, descriptor: Descriptor) -> str | None:
    """What a manifest says to be (its artifactType, or the type of its config); None when that cannot be told."""
    with contextlib.suppress(TranshipError):
        return parse(read_document(source, descriptor), descriptor).kind_of_artifact
    return None


def platforms_of(source: Source, top: Node) -> list[str]:
    """The platforms of which everything is there, in order; attestations are none."""
    found = [platform_of(source, node) for node in top.manifests if node.is_complete]
    return [name for name in dict.fromkeys(str(p) for p in found if p is not None) if name != "unknown/unknown"]


def only_manifest(source: Source, root: Root, wanted: Sequence[Platform]) -> Node:
    """The one manifest that is meant: of the platform asked for, else the only one, else the host's. NotFound.

    Of an index that tells its platforms no other manifest is read.
    """
    matcher = best_for(*wanted) if wanted else default()
    document = parse(read_document(source, root.descriptor), root.descriptor)
    if isinstance(document, Index):
        told = [child for child in document.manifests if child.platform is not None]
        for child in matcher.best_first(told, lambda child: child.platform):
            node = graph(source, Root(child))
            if isinstance(node.document, Manifest):
                return node
    manifests = graph(source, root).manifests
    named = [(node, platform_of(source, node)) for node in manifests]
    images = [(node, platform) for node, platform in named if str(platform) != "unknown/unknown"] or named
    if not wanted and len(images) == 1:
        return images[0][0]
    best = matcher.best_first([pair for pair in images if pair[1] is not None], lambda pair: pair[1])
    if not best:
        offered = ", ".join(printable(str(platform)) for _, platform in images) or "none"
        name = printable(root.name or root.descriptor.digest)
        raise NotFound(f"{name} has no manifest for {matcher}; there is {offered}", hint="say --platform")
    return best[0][0]


def is_index(node: Node) -> bool:
    """Is it an index that is there?"""
    return isinstance(node.document, Index)
