"""The documents below the roots of a transfer: read level by level, each once, within bounds; and what refers to them."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from tranship.engine.protocols import ListsReferrers, ReadsInParallel
from tranship.errors import DigestMismatch, InvalidArgument, NotFound, blamed_on, printable
from tranship.model import mediatypes, strict_json
from tranship.model.descriptor import Descriptor, Root
from tranship.model.manifest import MAX_DEPTH, MAX_DOCUMENT, Document, Index, parse, retired
from tranship.pump import read_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from tranship.engine.protocols import Source
    from tranship.engine.run import Run
    from tranship.engine.selection import Selection
    from tranship.model.digest import Digest

MAX_DESCRIPTORS = 10_000  # below one root, on average; the largest images have some hundreds
READ_FOR_ONE = 6 * 1024 * 1024  # bytes of the documents of one image
READ_FOR_MORE = 1024 * 1024  # … of each, besides
MAX_READ = 64 * 1024 * 1024  # … of all images of a transfer
MEMORY_FOR_MORE = 8 * 1024 * 1024  # what is kept of those of each further image may take, as strict_json weighs it
MOST_MEMORY = 448 * 1024 * 1024  # … of all images; those of one take no more than one document
DOCUMENTS_KEPT = 16 * 1024 * 1024  # bytes of documents held in memory from planning to writing; others are read again


class Graph:
    """What has been read of the source's images.

    documents  by digest, without their bytes; None: the source lacks it
    raw        their bytes, while the budget lasted
    """

    def __init__(
        self, source: Source, selection: Selection, run: Run, held: Callable[[Descriptor], bytes | None] | None
    ) -> None:
        self.documents: dict[Digest, Document | None] = {}
        self.raw: dict[Digest, bytes] = {}
        self._source = source
        self._selection = selection
        self._run = run
        self._held = held
        self._budget = DOCUMENTS_KEPT
        self._keeping = threading.Lock()  # documents come from several threads
        self._seen = 0  # edges read
        self._most = 0  # edges allowed
        self._images = 0
        self._bytes = 0  # of documents read
        self._memory = 0  # that they may take

    def read(self, roots: Sequence[Root]) -> None:
        """Read the documents below the roots, one level at a time, in parallel where the source gains by it."""
        for root in roots:
            _check_root(root)
        self._most += MAX_DESCRIPTORS * len(roots)
        self._images += len(roots)
        most_bytes = min(MAX_READ, READ_FOR_ONE + READ_FOR_MORE * self._images)
        level = [root.descriptor for root in roots]
        for _ in range(MAX_DEPTH + 1):
            wanted = list({d.digest: d for d in level if d.digest not in self.documents}.values())
            self._bytes = check_total(wanted, self._bytes, most_bytes)
            found = self._load_all(wanted)
            self.documents.update(zip((d.digest for d in wanted), found, strict=True))
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

    def _load_all(self, wanted: Sequence[Descriptor]) -> list[Document | None]:
        workers = min(self._source.readers if isinstance(self._source, ReadsInParallel) else 1, len(wanted))
        if workers <= 1:
            return [self._load(descriptor) for descriptor in wanted]
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(workers) as pool:
            try:
                return list(pool.map(self._load, wanted))
            except BaseException:  # Ctrl-C too: those that run need not go on
                self._run.give_up()
                raise

    def _load(self, descriptor: Descriptor) -> Document | None:
        self._run.check()
        with blamed_on("destination"):
            raw = self._held(descriptor) if self._held is not None else None
            document = self._parse(raw, descriptor) if raw is not None else None
        if raw is None or document is None:
            try:
                raw = read_all(self._source, descriptor)
            except NotFound:
                return None
            document = self._parse(raw, descriptor)
        with self._keeping:
            if self._budget >= len(raw):
                self._budget -= len(raw)
                self.raw[descriptor.digest] = raw
        return replace(document, raw=b"")

    def _parse(self, raw: bytes, descriptor: Descriptor) -> Document:
        """Parse a document, if there is room for it."""
        most = min(MOST_MEMORY, strict_json.MAX_MEMORY + MEMORY_FOR_MORE * (self._images - 1))
        with self._keeping:
            self._memory += len(raw) + strict_json.weight(raw)
            if self._memory > most:
                raise InvalidArgument(
                    f"the manifests and indexes of these images would take more than {most} bytes of memory",
                    hint="select fewer images at once, or fewer platforms",
                )
        return parse(raw, descriptor)

    def _check_same(self, descriptor: Descriptor) -> None:
        """Refuse a document that is listed in several places as different things; it was parsed as one of them."""
        document = self.documents[descriptor.digest]
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
        subjects = [d for d in self.documents if self.documents[d] is not None]
        if not isinstance(self._source, ListsReferrers):
            return []
        for _ in range(MAX_DEPTH):
            fresh: list[Root] = []
            for subject in subjects:
                document = self.documents.get(subject)
                if document is None or subject in asked:
                    continue
                asked.add(subject)
                for descriptor in self._source.referrers(document.descriptor, self._selection.referrers or None):
                    if descriptor.digest not in found and descriptor.is_document:
                        fresh.append(Root(descriptor, None, subject))
                        found[descriptor.digest] = fresh[-1]
            if not fresh:
                break
            self.read(fresh)
            subjects = [r.descriptor.digest for r in fresh]
        named = {r.descriptor.digest for r in roots}
        return [found[d] for d in sorted(found) if d not in named]


def check_total(documents: Collection[Descriptor], before: int = 0, most: int | None = None) -> int:
    """Add their sizes to those `before`; InvalidArgument when that is more than `most`, or else MAX_READ."""
    most = MAX_READ if most is None else most
    total = before + sum(document.size for document in documents)
    if total > most and len(documents) > 1:  # one alone has a limit of its own
        raise InvalidArgument(
            f"the manifests and indexes of these images have more than {most} bytes",
            hint="select fewer images at once",
        )
    return total


def read_all(source: Source, descriptor: Descriptor, limit: int = MAX_DOCUMENT) -> bytes:
    """Read a small blob into memory; InvalidArgument when it says to be larger than `limit` bytes.

    Its digest is for the caller to check, where that matters.
    """
    if descriptor.size > limit:
        raise InvalidArgument(
            f"{descriptor} has {descriptor.size} bytes; at most {limit} are read", descriptor=descriptor
        )
    try:
        with source.blob(descriptor).open() as reader:
            return read_whole(reader, descriptor.size)
    except OSError as error:
        error.add_note(f"while reading {descriptor}")
        raise


def called(root: Root) -> str:
    """A root for people: its name, or else its digest."""
    return printable(root.name) if root.name else root.descriptor.digest.short


def _check_root(root: Root) -> None:
    media_type = root.descriptor.media_type
    if media_type in mediatypes.DOCKER_SCHEMA1:
        raise retired(called(root))
    if not root.descriptor.is_document:
        raise InvalidArgument(f"{called(root)} is a {printable(repr(media_type))}, neither a manifest nor an index")
