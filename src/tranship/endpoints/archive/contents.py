"""The members of an archive by name, whether the archive is a file that can be read anywhere or bytes from a pipe.

A file is indexed by its headers, and members are stretches of it. Bytes from a pipe (or compressed ones) are received into
scratch (the store's own, where that is the destination), each member into a file of its own, hashed as it arrives: one write,
one hash, and a destination may then move the file to its place. No name from an archive ever becomes a path.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tranship import pump
from tranship.endpoints.archive import scratch
from tranship.endpoints.files import read_span, whole_file
from tranship.engine.progress import Progress, Stage
from tranship.engine.protocols import FileSpan
from tranship.errors import DigestMismatch, InvalidArgument, NotFound, printable
from tranship.files import open_regular
from tranship.formats import layout
from tranship.formats.tar import Member, TarStream, read_index
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest, new_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tranship.endpoints.archive.scratch import Scratch
    from tranship.engine.run import Run
    from tranship.pump import Reader

MAX_MEMBERS = 200_000  # of an archive of images: ten thousand images of twenty blobs each
MAX_NAMES = 32 << 20  # bytes of all their names together: 160 for each


class Contents(Protocol):
    """What the readers of both kinds of archives need to know of one."""

    members: Mapping[str, Member]

    def span(self, name: str) -> contextlib.AbstractContextManager[FileSpan]:
        """Open a member's bytes; NotFound when there is no such file."""
        ...

    def digest(self, name: str) -> Digest | None:
        """The SHA-256 of a member, where it had to be computed anyway."""
        ...


def read(contents: Contents, name: str, limit: int) -> bytes:
    """Read a small member whole."""
    with contents.span(name) as span:
        return read_span(span, limit, f"{name} of the archive")


class _Table:
    """Members by name, but for directories. A name that stands twice is harmless with the same bytes; other bytes would be
    read differently by different readers, and are refused.
    """

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}

    def add(self, member: Member, same_bytes: Callable[[Member, Member], bool]) -> bool:
        """Note a member; is its name new?"""
        first = self.members.setdefault(member.name, member)
        if first is member:
            return True
        same = (first.kind, first.size, first.linkname) == (member.kind, member.size, member.linkname)
        if not same or not same_bytes(first, member):
            raise InvalidArgument(f"{member} stands twice in the archive, with different content")
        return False


class IndexedFile:
    """An archive that is a regular file: its members are stretches of it."""

    def __init__(self, fd: int, base: int, run: Run) -> None:
        self._fd = fd
        self._base = base  # where the archive begins in the file
        self._run = run
        size = os.fstat(fd).st_size - base
        table = _Table()
        for member in read_index(
            lambda offset, count: os.pread(fd, count, base + offset), size, max_members=MAX_MEMBERS, max_names=MAX_NAMES
        ):
            if member.kind != "directory":
                table.add(member, self._same)
        self.members: Mapping[str, Member] = table.members

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[FileSpan]:
        """The stretch of the file that a member is."""
        member = regular(self.members, name)
        yield FileSpan(self._fd, self._base + member.data_offset, member.size)

    def digest(self, _name: str) -> Digest | None:
        """Not known: nothing has been read."""
        return None

    def _same(self, first: Member, second: Member) -> bool:
        hashes = [new_hash("sha256"), new_hash("sha256")]
        for member, state in zip((first, second), hashes, strict=True):
            at = self._base + member.data_offset
            pump.hash_range(self._fd, at, member.size, state, advance=lambda _count: self._run.check())
        return hashes[0].digest() == hashes[1].digest()


@dataclass(frozen=True, slots=True)
class _Received:
    number: int  # of its file in scratch
    digest: Digest


class ReceivedPipe:
    """An archive that came through a pipe: its members are files in scratch."""

    def __init__(self, folder: Scratch, members: Mapping[str, Member], received: Mapping[str, _Received]) -> None:
        self._scratch = folder
        self._received = received
        self.members = members

    def span(self, name: str) -> contextlib.AbstractContextManager[FileSpan]:
        """A member's own file, which may be moved away; it was verified as it came."""
        regular(self.members, name)
        path = self._scratch.path(str(self._received[name].number))
        return whole_file(open_regular(path), trusted=True, path=path, owned=True)

    def digest(self, name: str) -> Digest | None:
        """The digest of what arrived."""
        received = self._received.get(name)
        return received.digest if received is not None else None


def regular(members: Mapping[str, Member], name: str) -> Member:
    """The regular file of that name; NotFound when there is none, InvalidArgument when it is something else."""
    member = members.get(name)
    if member is None:
        raise NotFound(f"the archive has no file {printable(name)}", side="source")
    if member.kind != "file":
        raise InvalidArgument(f"{member} of the archive is no file", side="source")
    return member


@contextlib.contextmanager
def received(reader: Reader, run: Run) -> Iterator[ReceivedPipe]:
    """Receive a whole tar from `reader` into scratch, which is removed in the end."""
    with scratch.opened(run) as folder:
        yield _Receiver(folder, run).receive(TarStream(reader, max_members=MAX_MEMBERS, max_names=MAX_NAMES))


class _Receiver:
    def __init__(self, folder: Scratch, run: Run) -> None:
        self._scratch = folder
        self._run = run
        self._table = _Table()
        self._received: dict[str, _Received] = {}
        self._written = 0  # files
        self._count = 0  # bytes so far
        self._total = 0  # bytes to come, once an index that came first has said it
        self._due = time.monotonic()

    def receive(self, stream: TarStream) -> ReceivedPipe:
        for member in stream:
            if member.kind == "file":
                self._keep(member, self._write(stream, member))
            elif member.kind != "directory":
                self._table.add(member, lambda _first, _second: True)
        return ReceivedPipe(self._scratch, self._table.members, self._received)

    def _write(self, stream: TarStream, member: Member) -> _Received:
        self._scratch.take(member.size, f"{member} of the archive")
        named = layout.digest_of_path(member.name)
        algorithm = named.algorithm if named is not None else "sha256"
        state = new_hash(algorithm)
        self._written += 1
        with self._scratch.file(str(self._written)) as fd:
            pump.pump(stream, lambda chunk: pump.write_all(fd, chunk), hasher=state, advance=self._advance)
        digest = Digest.from_hash(algorithm, state)
        if named is not None and digest != named:
            blob = Descriptor(media_type="", digest=named, size=member.size)
            raise DigestMismatch(
                f"{member} of the archive is corrupt: its bytes have digest {digest}",
                descriptor=blob,
                actual=digest,
                side="source",
            )
        return _Received(self._written, digest)

    def _keep(self, member: Member, new: _Received) -> None:
        if self._table.add(member, lambda first, _second: self._received[first.name].digest == new.digest):
            self._received[member.name] = new
        else:
            os.unlink(self._scratch.path(str(new.number)))

    def _advance(self, count: int) -> None:
        self._run.check()
        self._count += count
        now = time.monotonic()
        if now >= self._due:
            self._due = now + 0.1
            self._run.report(
                Progress(stage=Stage.RECEIVING, event="downloading", progress=self._count, total=self._total)
            )
