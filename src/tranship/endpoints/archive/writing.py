"""Writing an archive: into a regular file at known places, from several threads; or as a stream, one member after another."""

from __future__ import annotations

import contextlib
import io
import os
from typing import TYPE_CHECKING, Protocol

from tranship import files, pump
from tranship.endpoints.archive.arranging import Arranged, arrange_images
from tranship.endpoints.choosing import patterns
from tranship.engine import spans
from tranship.errors import InvalidArgument, NoSpace
from tranship.formats.compression import Compressing
from tranship.formats.tar import TRAILER
from tranship.model import naming
from tranship.model.descriptor import MAX_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tranship.endpoints.archive import Archive
    from tranship.engine.plan import Plan
    from tranship.engine.protocols import Blob, FileSpan
    from tranship.engine.run import Run
    from tranship.formats.tar import Placed
    from tranship.model.descriptor import Descriptor, Root


class Sink(Protocol):
    """What a stream is written to: anything with `write`, as files, sockets' makefile() and HTTP responses have it."""

    def write(self, chunk: memoryview, /) -> int | None:
        """Take bytes; a count below the chunk's length means that the rest is to be written again, None that all is taken
        (but of a raw file it means that nothing was, since it does not wait).
        """
        ...


class _Writing:
    """What both ways of writing share: the plan, the names, and notes of where blobs came from."""

    def __init__(self, value: Archive, run: Run) -> None:
        self.value = value
        self.run = run
        self.names: list[Root] = []

    @property
    def single_images(self) -> bool:
        """Docker's own format holds no indexes."""
        return self.value.format == "docker"

    def rehearse(self, plan: Plan) -> list[Root]:
        """Name the images."""
        self.names = naming.rename(plan.roots, patterns(self.value.names))
        return self.names

    def arranged(self, plan: Plan) -> Arranged:
        self.rehearse(plan)
        origins = self.value.origins
        if self.value.format == "docker":
            from tranship.endpoints.archive.docker_writing import arrange_docker

            return arrange_docker(plan, self.names)
        return arrange_images(
            plan,
            self.names,
            docker_manifest=self.value.docker_manifest and self.value.format == "auto",
            origins={root.descriptor.digest: origins(root.descriptor) for root in self.names} if origins else None,
        )


class FileDestination(_Writing):
    """An archive that is a regular file: it appears under its name when everything is in it, or not at all.

    The size of every member is known, so blobs are cloned or copied to their places by several workers at once.
    """

    workers = 4

    def __init__(self, value: Archive, run: Run, path: str) -> None:
        super().__init__(value, run)
        self._path = path
        self._behind = value.durability == "full"
        self._file = contextlib.ExitStack()
        self._fd = -1
        self._arranged: Arranged | None = None

    def prepare(self, plan: Plan) -> None:
        """Make the file beside its place, and write everything but the blobs."""
        arranged = self._arranged = self.arranged(plan)
        if arranged.arrangement.size > MAX_SIZE:
            raise NoSpace(f"no file can have {arranged.arrangement.size} bytes", path=self._path)
        self._fd = self._file.enter_context(
            files.replacing(self._path, durability=self.value.durability, clobber=self.value.clobber)
        )
        os.ftruncate(self._fd, arranged.arrangement.size)  # padding and the trailer are zeros, and holes read as such
        for placed in arranged.arrangement.members:
            data = placed.header + arranged.known.get(placed.entry.name, b"")
            pump.write_all_at(self._fd, memoryview(data), placed.header_offset)

    def has(self, _descriptor: Descriptor) -> bool:
        """A new file holds nothing."""
        return False

    def write(self, blob: Blob) -> None:
        """Stream a blob to its place."""
        placed = self._place(blob.descriptor)
        if placed is not None:
            with blob.open() as reader:
                if blob.descriptor.size > pump.CHUNK:  # writing to reserved space costs a third less
                    files.preallocate(self._fd, blob.descriptor.size, placed.data_offset)
                pump.pump(reader, _Positional(self._fd, placed.data_offset, behind=self._behind).write)

    def adopt(self, descriptor: Descriptor, span: FileSpan) -> bool:
        """Clone or copy a file's bytes to their place."""
        placed = self._place(descriptor)
        if placed is not None:
            spans.take(span, descriptor, self._fd, placed.data_offset, self.run, alone=False, behind=self._behind)
        return True

    def publish(self, _roots: Sequence[Root]) -> Sequence[Root]:
        """Make it durable and give the file its name."""
        self._file.close()
        return self.names

    def abandon(self, error: BaseException) -> None:
        """Remove what was written."""
        self._file.__exit__(type(error), error, error.__traceback__)

    def _place(self, descriptor: Descriptor) -> Placed | None:
        """Where a blob goes; None for a document that docker's own format has no place for."""
        if self._arranged is None:
            raise RuntimeError("prepare() comes first")
        return self._arranged.places.get(descriptor.digest)


class _Positional:
    """Writes one chunk after another from an offset on; the file's own position does not move."""

    __slots__ = ("_at", "_behind", "_fd")

    def __init__(self, fd: int, at: int, *, behind: bool) -> None:
        self._fd = fd
        self._at = at
        self._behind = pump.WriteBehind(fd, at) if behind else None

    def write(self, chunk: memoryview) -> None:
        pump.write_all_at(self._fd, chunk, self._at)
        self._at += len(chunk)
        if self._behind is not None:
            self._behind.wrote(len(chunk))


class StreamDestination(_Writing):
    """An archive that is written forwards: a pipe, a response, or a compressed file.

    Nothing but a complete archive ends with the end-of-archive blocks: a failure in the middle shows at the other end.
    """

    workers = 1

    def __init__(self, value: Archive, run: Run, sink: Sink, *, done: Callable[[], object] | None = None) -> None:
        """Write to `sink`; `done` is called when all of the archive is there."""
        super().__init__(value, run)
        self._sink = sink
        self._done = done
        self._compressing: Compressing | None = None
        self._put: Callable[[memoryview], object] = self._write_all
        if value.compression is not None:
            self._compressing = Compressing(self._write_all, value.compression)
            self._put = self._compressing.write
        self._arranged: Arranged | None = None
        self._next = 0  # the member that is written next

    def prepare(self, plan: Plan) -> None:
        """Lay out the archive. Nothing is written before the first blob is there."""
        self._arranged = self.arranged(plan)

    def sequence(self) -> Sequence[Descriptor]:
        """The order of the archive."""
        return self._laid().order

    def has(self, _descriptor: Descriptor) -> bool:
        """A stream holds nothing."""
        return False

    def write(self, blob: Blob) -> None:
        """Write the member, with what stands before it. The blob is opened before its header is written."""
        placed = self._laid().places[blob.descriptor.digest]
        with blob.open() as reader:
            self._known_up_to(placed)
            self._put(memoryview(placed.header))
            pump.pump(reader, self._put)
        self._put(memoryview(bytes(placed.padding)))
        self._next += 1

    def publish(self, _roots: Sequence[Root]) -> Sequence[Root]:
        """End the archive."""
        self._known_up_to(None)
        self._put(memoryview(TRAILER))
        if self._compressing is not None:
            self._compressing.finish()
        if self._done is not None:
            self._done()
        return self.names

    def _known_up_to(self, last: Placed | None) -> None:
        """Write the members whose bytes are known and that stand before `last`."""
        arranged = self._laid()
        members = arranged.arrangement.members
        while self._next < len(members) and (placed := members[self._next]) is not last:
            data = arranged.known.get(placed.entry.name, b"")
            self._put(memoryview(placed.header + data + bytes(placed.padding)))
            self._next += 1

    def _write_all(self, chunk: memoryview | bytes) -> None:
        write_all(self._sink, chunk)

    def _laid(self) -> Arranged:
        if self._arranged is None:
            raise RuntimeError("prepare() comes first")
        return self._arranged


def write_all(sink: Sink, chunk: memoryview | bytes) -> None:
    """Write all of the chunk, in as many pieces as the sink takes it."""
    view = memoryview(chunk)
    while view:
        count = sink.write(view)
        if count is None and not isinstance(sink, io.RawIOBase):
            return
        if not count or count < 0:
            raise InvalidArgument(
                f"a {type(sink).__name__} takes no bytes at this moment",
                hint="give one that waits until it can",
                side="destination",
            )
        view = view[count:]
