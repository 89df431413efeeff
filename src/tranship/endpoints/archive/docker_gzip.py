"""Layers of docker's archives, which are mostly uncompressed, as gzip: made in scratch while the archive is read.

An image keeps its ID by that, since a config names layers by their uncompressed digests (`ctr images import --compress-blobs`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING

from tranship import files, pump
from tranship.endpoints.files import SpanReader, whole_file
from tranship.formats import compression
from tranship.model.digest import Digest, new_hash

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tranship.endpoints.archive.contents import Contents
    from tranship.engine.protocols import FileSpan
    from tranship.engine.run import Run
    from tranship.formats.tar import Member


class Packing:
    """The members of an archive, and beside them those that were packed."""

    def __init__(self, inner: Contents, run: Run, folder: str) -> None:
        self.members: Mapping[str, Member] = inner.members
        self._inner = inner
        self._run = run
        self._folder = folder
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
        path = os.path.join(self._folder, f"{len(self._packed)}.gz")
        before, after = new_hash("sha256"), new_hash("sha256")
        with self._inner.span(member.name) as span, open(path, "xb", buffering=0) as file:

            def write(chunk: memoryview) -> None:
                after.update(chunk)
                pump.write_all(file.fileno(), chunk)

            gzip = compression.Compressing(write, "gzip")
            reader = SpanReader(span.fd, span.offset, span.size)
            pump.pump(reader, gzip.write, hasher=before, advance=lambda _count: self._run.check())
            gzip.finish()
            packed = replace(member, name=f"\0{path}", size=file.tell())
        self._packed[packed.name] = path
        return packed, Digest.from_hash("sha256", after), Digest.from_hash("sha256", before)


@contextlib.contextmanager
def packing(contents: Contents, run: Run) -> Iterator[Packing]:
    """The archive with a folder for what is packed, on the destination's file system where it has one."""
    folder = tempfile.mkdtemp(prefix="tranship-", dir=run.scratch_folder)
    try:
        with files.no_space_as_error(folder):
            yield Packing(contents, run, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
