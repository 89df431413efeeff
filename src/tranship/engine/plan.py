"""The plan of a transfer: everything that will move, known before the first byte does.

Only documents (and, to check a platform, a config) are read here, level by level from the roots down, each once. Then every
edge is settled from the leaves up: which children take part, which the source lacks, and what becomes of an index of which
some do not. A plan holds no bytes but those of documents, up to a budget.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from tranship.errors import (
    DigestMismatch,
    Internal,
    InvalidArgument,
    NotFound,
    PolicyRefused,
    blamed_on,
    printable,
)
from tranship.model import mediatypes, strict_json
from tranship.model.descriptor import Descriptor, Root
from tranship.model.digest import Digest
from tranship.model.manifest import MAX_DEPTH, MAX_DOCUMENT, Document, Index, Manifest, parse, retired
from tranship.model.platform import Platform
from tranship.pump import read_exactly

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tranship.engine.protocols import Source
    from tranship.engine.run import Run
    from tranship.engine.selection import Selection

T = TypeVar("T")
R = TypeVar("R")

MAX_DESCRIPTORS = 10_000  # below one root, on average; the largest images have some hundreds
MAX_READ = 64 * 1024 * 1024  # bytes of all documents of a transfer; what is kept of them takes five times the memory
MAX_CONFIG = 4_194_304  # bytes; as containers/image reads
DOCUMENTS_KEPT = 16 * 1024 * 1024  # bytes of documents held in memory from planning to writing; others are read again


@dataclass(frozen=True, slots=True)
class Node:
    """A document of the plan: its edges, those that take part, and its bytes while the budget lasted.

    `document.raw` is empty: the bytes are in `raw`, or are read again when they are written. `whole` says that everything
    below the document takes part.
    """

    document: Document
    selected: tuple[Descriptor, ...]
    raw: bytes | None
    whole: bool = True

    @property
    def descriptor(self) -> Descriptor:
        """What the document is."""
        return self.document.descriptor

    @property
    def children(self) -> int:
        """The number of the document's edges, selected or not."""
        return len(self.document.children)


@dataclass(frozen=True, slots=True)
class Partial:
    """An index of which not every child takes part: `selected` of `total` platforms."""

    root: Root
    selected: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What moves.

    roots    what will be published
    nodes    the documents, by digest
    waves    the documents again: those of one wave need only blobs and earlier waves
    blobs    configs and layers, each digest once, the largest first
    parents  of each object the digest that first named it
    partial  the indexes that arrive incomplete
    complete roots that the destination holds already, name and all
    present  of a dry run: what the destination holds already
    """

    roots: tuple[Root, ...]
    nodes: Mapping[Digest, Node]
    waves: tuple[tuple[Descriptor, ...], ...]
    blobs: tuple[Descriptor, ...]
    parents: Mapping[Digest, Digest] = field(default_factory=dict)
    partial: tuple[Partial, ...] = ()
    complete: tuple[Root, ...] = ()
    present: frozenset[Digest] = frozenset()

    @property
    def documents(self) -> tuple[Descriptor, ...]:
        """All documents, children before parents."""
        return tuple(d for wave in self.waves for d in wave)

    @property
    def bytes(self) -> int:
        """The size of everything that takes part, in bytes."""
        return sum(d.size for d in self.blobs) + sum(n.descriptor.size for n in self.nodes.values())

    @property
    def bytes_to_move(self) -> int:
        """Of a dry run: the bytes that the destination lacks."""
        everything = (*self.blobs, *(n.descriptor for n in self.nodes.values()))
        return sum(d.size for d in everything if d.digest not in self.present)


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
    planner = _Planner(source, selection, run, held)
    with blamed_on("source"):
        planner.read(roots)
        referrers = planner.read_referrers(roots) if selection.referrers is not None else []
        for root in (*roots, *referrers):
            planner.settle(root)
    settled: list[Root] = []
    partial: list[Partial] = []
    for root in (*roots, *referrers):
        kept, part = planner.fate(root, needs_closure=needs_closure)
        settled.append(kept)
        if part is not None:
            partial.append(part)
    nodes, waves, blobs, parents = planner.collect(settled)
    return Plan(
        roots=tuple(settled),
        nodes=nodes,
        waves=waves,
        blobs=blobs,
        parents=parents,
        partial=tuple(partial),
        complete=tuple(complete),
    )


class _Planner:
    def __init__(
        self, source: Source, selection: Selection, run: Run, held: Callable[[Descriptor], bytes | None] | None
    ) -> None:
        self._source = source
        self._selection = selection
        self._run = run
        self._held = held
        self._budget = DOCUMENTS_KEPT
        self._seen = 0  # edges read
        self._most = 0  # edges allowed
        self._left = MAX_READ
        self._documents: dict[Digest, Document | None] = {}  # None: the source lacks it
        self._raw: dict[Digest, bytes] = {}
        self._nodes: dict[Digest, Node | None] = {}  # None: does not take part
        self._platforms: dict[Digest, Platform | None] = {}  # of lone manifests, by their configs

    # ---------------------------------------------------------------------------------------------------------- reading

    def read(self, roots: Sequence[Root]) -> None:
        """Read the documents below the roots, one level at a time, in parallel where the source gains by it."""
        for root in roots:
            _check_root(root)
        self._most += MAX_DESCRIPTORS * len(roots)
        level = [root.descriptor for root in roots]
        for _ in range(MAX_DEPTH + 1):
            wanted = list({d.digest: d for d in level if d.digest not in self._documents}.values())
            self._left -= sum(d.size for d in wanted)
            if self._left < 0 and len(wanted) > 1:  # one alone has a limit of its own
                raise InvalidArgument(
                    f"the manifests and indexes of these images have more than {MAX_READ} bytes",
                    hint="select fewer images at once",
                )
            found = _map(self._load, wanted, getattr(self._source, "readers", 1))
            self._documents.update(zip((d.digest for d in wanted), found, strict=True))
            self._seen += sum(len(document.children) for document in found if document is not None)
            if self._seen > self._most:
                raise InvalidArgument(f"the images have more than {self._most} objects below them")
            for descriptor in level:
                self._check_same(descriptor)
            level = [
                child
                for document in found
                if isinstance(document, Index)
                for child in self._selection.successors(document)
                if child.is_document
            ]
            if not level:
                return
        raise InvalidArgument(f"indexes are nested more than {MAX_DEPTH} deep")

    def _load(self, descriptor: Descriptor) -> Document | None:
        self._run.check()
        held = self._held(descriptor) if self._held is not None else None
        if held is not None:
            with blamed_on("destination"):
                document = parse(held, descriptor)
            raw = held
        else:
            try:
                raw = read_all(self._source, descriptor)
            except NotFound:
                return None
            document = parse(raw, descriptor)
        if self._budget >= len(raw):
            self._budget -= len(raw)
            self._raw[descriptor.digest] = raw
        return replace(document, raw=b"")

    def _check_same(self, descriptor: Descriptor) -> None:
        """Refuse a document that is listed in several places as different things; it was parsed as one of them."""
        document = self._documents[descriptor.digest]
        if document is None:
            return
        parsed = document.descriptor
        if parsed.size != descriptor.size:
            raise DigestMismatch(
                f"{descriptor} is listed with {descriptor.size} bytes and with {parsed.size}", descriptor=descriptor
            )
        if parsed.media_type != descriptor.media_type:
            raise InvalidArgument(
                f"{descriptor} is listed as {descriptor.media_type} and as {parsed.media_type}", descriptor=descriptor
            )

    def read_referrers(self, roots: Sequence[Root]) -> list[Root]:
        """Find and read what refers to any manifest that takes part; referrers of referrers too."""
        found: dict[Digest, Root] = {}
        asked: set[Digest] = set()
        subjects = [d for d in self._documents if self._documents[d] is not None]
        lister = getattr(self._source, "referrers", None)
        if lister is None:
            return []
        for _ in range(MAX_DEPTH):
            fresh: list[Root] = []
            for subject in subjects:
                document = self._documents.get(subject)
                if document is None or subject in asked:
                    continue
                asked.add(subject)
                for descriptor in lister(document.descriptor, self._selection.referrers or None):
                    if descriptor.digest not in found and descriptor.is_document:
                        fresh.append(Root(descriptor, None, subject))
                        found[descriptor.digest] = fresh[-1]
            if not fresh:
                break
            self.read(fresh)
            subjects = [r.descriptor.digest for r in fresh]
        named = {r.descriptor.digest for r in roots}
        return [found[d] for d in sorted(found) if d not in named]

    # --------------------------------------------------------------------------------------------------------- settling

    def settle(self, root: Root) -> None:
        """Decide which edges below a root take part; raise for what is demanded and absent."""
        document = self._documents.get(root.descriptor.digest)
        if document is None:
            raise NotFound(
                f"{root.descriptor} of {_called(root)} is not there", descriptor=root.descriptor, side="source"
            )
        if isinstance(document, Manifest) and self._selection.platforms and root.subject is None:
            self._check_platform(root, document)
        node = self._settle(root.descriptor, demanded=True)
        wanted = node is not None and any(self._selection.matches(child.platform) for child in node.selected)
        if node is None or (isinstance(document, Index) and document.manifests and not wanted):
            raise NotFound(self._nothing_left(root, document), descriptor=root.descriptor, side="source")

    def _settle(self, descriptor: Descriptor, *, demanded: bool) -> Node | None:
        """The node of a document; None when the source lacks part of it and nobody demands it."""
        known = self._nodes.get(descriptor.digest)
        if known is not None or (descriptor.digest in self._nodes and not demanded):
            return known
        document = self._documents.get(descriptor.digest)
        if document is None:
            if demanded and not self._selection.skip_missing:
                raise NotFound(f"{descriptor} is not there", descriptor=descriptor, side="source")
            node = None
        elif isinstance(document, Index):
            node = self._settle_index(document)
        else:
            node = self._settle_manifest(document, demanded=demanded)
        self._nodes[descriptor.digest] = node
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
        nodes = (self._nodes.get(child.digest) for child in selected if child.is_document)
        whole = len(selected) == len(index.manifests) and all(node is not None and node.whole for node in nodes)
        return Node(index, tuple(selected), self._raw.get(index.descriptor.digest), whole)

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
        return Node(manifest, tuple(selected), self._raw.get(manifest.descriptor.digest))

    def _leaves(self, manifest: Manifest) -> Sequence[Descriptor]:
        leaves = self._selection.leaves(manifest)
        if self._selection.all_metadata and not self._selection.matches(manifest.descriptor.platform):
            return [d for d in leaves if not mediatypes.is_layer(d.media_type)]
        return leaves

    def _check_platform(self, root: Root, manifest: Manifest) -> None:
        """A lone manifest says its platform in its config, which is read for it."""
        platform = root.descriptor.platform or self._platform_of(manifest)
        if not self._selection.matches(platform):
            found = printable(str(platform))
            raise NotFound(
                f"{_called(root)} is an image for {found}, and {self._wish()} was asked for",
                descriptor=root.descriptor,
                hint=f"select --platform {found}, or none",
            )

    def _platform_of(self, manifest: Manifest) -> Platform | None:
        config = manifest.config
        if config is None or config.media_type not in mediatypes.CONFIGS:
            return None
        if config.digest not in self._platforms:
            value = strict_json.loads(read_all(self._source, config, MAX_CONFIG), str(config))
            self._platforms[config.digest] = Platform.from_json(value, str(config))
        return self._platforms[config.digest]

    def _nothing_left(self, root: Root, document: Document) -> str:
        offered = sorted({str(d.platform) for d in document.children if d.platform is not None})
        what = (
            f"no manifest of {_called(root)} matches {self._wish()}"
            if self._selection.filters
            else (f"no image of {_called(root)} is complete at the source")
        )
        return f"{what}; the index names {', '.join(map(printable, offered[:12])) or 'no platforms'}"

    def _wish(self) -> str:
        return ", ".join(map(str, self._selection.platforms)) or str(self._selection.matcher)

    # ------------------------------------------------------------------------------------------------------------- fate

    def fate(self, root: Root, *, needs_closure: bool) -> tuple[Root, Partial | None]:
        """What becomes of a root of which not every child takes part (the table is in docs/platforms.md)."""
        node = self._nodes[root.descriptor.digest]
        document = self._documents[root.descriptor.digest]
        if node is None or not isinstance(document, Index):
            return root, None
        wish = self._selection.index
        count = len(node.selected)
        if wish == "single" or (wish is None and needs_closure and count < node.children and count == 1):
            if count != 1:
                raise InvalidArgument(
                    f"the index of {_called(root)} cannot become a single manifest: {count} of them take part",
                    hint="select one with --platform",
                )
            platform = printable(str(node.selected[0].platform))
            self._run.notice(f"{_called(root)}: the manifest of {platform} takes the index's place")
            return self._single(root, node.selected[0]), None
        if node.whole:
            return root, None
        if wish == "rewrite":
            rewritten = self._rewritten(root, node, document)
            self._run.notice(
                f"{_called(root)}: a new index of {count} of {node.children} platforms has digest {rewritten.descriptor.digest}"
            )
            return rewritten, None
        if needs_closure and wish != "keep":
            raise PolicyRefused(
                f"{count} of {node.children} platforms of {_called(root)} take part, and a registry refuses an index "
                f"with absent children",
                hint="--index rewrite makes an index of those, --index single takes one, --all-platforms demands all",
                side="destination",
            )
        return root, Partial(root, count, node.children)

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
        self._nodes[descriptor.digest] = Node(
            replace(index, descriptor=descriptor, manifests=node.selected), node.selected, fresh
        )
        return replace(root, descriptor=descriptor)

    # ------------------------------------------------------------------------------------------------------- collecting

    def collect(
        self, roots: Sequence[Root]
    ) -> tuple[dict[Digest, Node], tuple[tuple[Descriptor, ...], ...], tuple[Descriptor, ...], dict[Digest, Digest]]:
        """Gather what the settled roots reach: documents by height above the leaves, blobs once each."""
        nodes: dict[Digest, Node] = {}
        heights: dict[Digest, int] = {}
        blobs: dict[Digest, Descriptor] = {}
        parents: dict[Digest, Digest] = {}

        def visit(digest: Digest) -> int:  # recursion is bounded by MAX_DEPTH
            if digest in heights:
                return heights[digest]
            node = self._nodes[digest]
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
                        raise InvalidArgument(
                            f"{child} has {known.size} bytes in one document and {child.size} in another"
                        )
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


def read_all(source: Source, descriptor: Descriptor, limit: int = MAX_DOCUMENT) -> bytes:
    """Read a small blob into memory; InvalidArgument when it says to be larger than `limit` bytes.

    Its digest is for the caller to check, where that matters.
    """
    if descriptor.size > limit:
        raise InvalidArgument(
            f"{descriptor} has {descriptor.size} bytes; at most {limit} are read", descriptor=descriptor
        )
    data = bytearray(descriptor.size)
    with source.blob(descriptor).open() as reader:
        count = read_exactly(reader, memoryview(data))
    return bytes(data[:count])


def _called(root: Root) -> str:
    return printable(root.name) if root.name else root.descriptor.digest.short


def _check_root(root: Root) -> None:
    media_type = root.descriptor.media_type
    if media_type in mediatypes.DOCKER_SCHEMA1:
        raise retired(_called(root))
    if not root.descriptor.is_document:
        raise InvalidArgument(f"{_called(root)} is a {printable(repr(media_type))}, neither a manifest nor an index")


def _map(function: Callable[[T], R], items: Sequence[T], workers: int) -> list[R]:
    if workers <= 1 or len(items) <= 1:
        return [function(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(workers, len(items))) as pool:
        return list(pool.map(function, items))
