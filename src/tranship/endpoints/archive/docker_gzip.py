"""Layers of docker's archives, which are mostly uncompressed, as gzip: made in scratch while the archive is read.

An image keeps its ID by that, since a config names layers by their uncompressed digests (`ctr images import --compress-blobs`).
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from tranship import files, pump
from tranship.endpoints.archive import scratch
from tranship.endpoints.files import SpanReader, whole_file
from tranship.formats import compression
from tranship.model.digest import Digest, new_hash

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from hashlib import _Hash as Hash

    from tranship.endpoints.archive.contents import Contents
    from tranship.endpoints.archive.scratch import Scratch
    from tranship.engine.protocols import FileSpan
    from tranship.engine.run import Run
    from tranship.formats.tar import Member
    from tranship.pump import Reader


class Packing:
    """The members of an archive, and beside them those that were packed."""

    def __init__(self, inner: Contents, run: Run, folder: Scratch) -> None:
        self.members: Mapping[str, Member] = inner.members
        self._inner = inner
        self._run = run
        self._scratch = folder
        self._packed: dict[str, str] = {}  # a member's name, which no archive can give, and its file

    def span(self, name: str) -> contextlib.AbstractContextManager[FileSpan]:
        """Open a member's bytes, packed ones too, which may be moved away."""
        path = self._packed.get(name)
        if path is None:
            return self._inner.span(name)
        return whole_file(files.open_regular(path), trusted=True, path=path, owned=True)

    def digest(self, name: str) -> Digest | None:
        """As the archive knows it."""
        return self._inner.digest(name)

    def pack(self, member: Member) -> tuple[Member, Digest, Digest]:
        """A member as gzip, with its digest, and the digest that it had before."""
        name, before = f"{len(self._packed)}.gz", new_hash("sha256")
        with self._inner.span(member.name) as span:
            reader = SpanReader(span.fd, span.offset, span.size)
            digest, size = gzipped(reader, self._scratch, name, f"{member}", self._run, hasher=before)
        packed = replace(member, name=f"\0{name}", size=size)
        self._packed[packed.name] = self._scratch.path(name)
        return packed, digest, Digest.from_hash("sha256", before)


def gzipped(
    reader: Reader, folder: Scratch, name: str, what: str, run: Run, *, hasher: Hash | None = None
) -> tuple[Digest, int]:
    """Pack all that `reader` gives into a new file of scratch; its digest and size. NoSpace speaks of `what`, as gzip."""
    state, size = new_hash("sha256"), 0
    with folder.file(name) as fd:

        def write(chunk: memoryview) -> None:
            nonlocal size
            folder.take(len(chunk), f"{what} as gzip")
            state.update(chunk)
            pump.write_all(fd, chunk)
            size += len(chunk)

        gzip = compression.Compressing(write, "gzip")
        pump.pump(reader, gzip.write, hasher=hasher, advance=lambda _count: run.check())
        gzip.finish()
    return Digest.from_hash("sha256", state), size


@contextlib.contextmanager
def packing(contents: Contents, run: Run) -> Iterator[Packing]:
    """The archive with a folder for what is packed."""
    with scratch.opened(run) as folder:
        yield Packing(contents, run, folder)
