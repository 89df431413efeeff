"""What the endpoints that keep blobs in files share: a blob of a file, and reading small files of strangers with a limit."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from tranship import pump
from tranship.engine.protocols import FileSpan
from tranship.errors import InvalidArgument, TranshipError, Truncated, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tranship.model.descriptor import Descriptor


@contextlib.contextmanager
def about(where: str) -> Iterator[None]:
    """Let every error of the block begin with the place that it speaks of, which the formats do not know.

    `where` is safe to print.
    """
    try:
        yield
    except TranshipError as error:
        name = where.partition(":")[2]  # "there is no file NAME", "NAME is a directory" need no further name
        told = error.message.startswith(f"{name} ") or error.message.endswith(f" {name}")
        if where not in error.message and not told:
            error.message = f"{where}: {error.message}"
        raise


class SpanReader:
    """Reads a stretch of an open file from `offset` on, at most `size` bytes; the file's own position does not move."""

    __slots__ = ("_at", "_end", "_fd")

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self._fd = fd
        self._at = offset
        self._end = offset + size

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill `buffer`; 0 at the end."""
        want = min(len(buffer), self._end - self._at)
        if want <= 0:
            return 0
        got = pump.read_at(self._fd, buffer[:want], self._at)
        self._at += got
        return got


class FileReader:
    """Reads an open file or pipe forwards, from where it stands."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill `buffer`; 0 at the end."""
        return os.readv(self._fd, [buffer])


class FileBlob:
    """A blob whose bytes are a stretch of a regular file.

    `opened` gives the span, opened for one use; the file is closed with its context.
    """

    __slots__ = ("_opened", "descriptor")

    def __init__(
        self, descriptor: Descriptor, opened: Callable[[], contextlib.AbstractContextManager[FileSpan]]
    ) -> None:
        self.descriptor = descriptor
        self._opened = opened

    def span(self) -> contextlib.AbstractContextManager[FileSpan]:
        """Open the file (NotFound when it is not there)."""
        return self._opened()

    @contextlib.contextmanager
    def open(self, offset: int = 0) -> Iterator[SpanReader]:
        """Open for reading from byte `offset`."""
        with self._opened() as span:
            yield SpanReader(span.fd, span.offset + offset, span.size - offset)


@contextlib.contextmanager
def whole_file(fd: int, *, trusted: bool = False, path: str | None = None, owned: bool = False) -> Iterator[FileSpan]:
    """The span of all of an open file, which is closed in the end."""
    from pathlib import Path

    try:
        yield FileSpan(fd, 0, os.fstat(fd).st_size, trusted, Path(path) if path is not None else None, owned)
    finally:
        os.close(fd)


def read_small(fd: int, limit: int, what: str) -> bytes:
    """Read a small open file whole and close it, as `read_span` does."""
    with whole_file(fd) as span:
        return read_span(span, limit, what)


def read_span(span: FileSpan, limit: int, what: str) -> bytes:
    """Read a small stretch of a file whole; InvalidArgument when it is larger than `limit` bytes."""
    if span.size > limit:
        raise InvalidArgument(f"{printable(what)} has {span.size} bytes; at most {limit} are read")
    data = bytearray(span.size)
    try:
        count = pump.read_exactly(SpanReader(span.fd, span.offset, span.size), memoryview(data))
    except OSError as error:
        error.add_note(f"while reading {printable(what)}")
        raise
    if count < span.size:
        raise Truncated(f"{printable(what)} became shorter while it was read", count=count)
    return bytes(data)
