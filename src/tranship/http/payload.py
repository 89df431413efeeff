"""Bodies of uploads: stretches of a blob, from a reader that can be opened again or straight from a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from tranship.errors import TranshipError, Truncated
from tranship.pump import CHUNK, Reader, nothing, read_at

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from contextlib import AbstractContextManager

PIECE = 1 << 20  # bytes handed to the kernel at once; between two pieces progress is told and cancelling is heard


class FilePiece:
    """A stretch of an open regular file, to be sent by the kernel where the connection allows it.

    `seek` and `read` are there for `socket.sendfile`, which tries them after any error of the first call of the kernel's: then
    the file system cannot, or the connection is broken, and sending says so.
    """

    __slots__ = ("_at", "count", "fd", "offset")

    def __init__(self, fd: int, offset: int, count: int) -> None:
        self.fd = fd
        self.offset = self._at = offset
        self.count = count

    def __len__(self) -> int:
        return self.count

    def fileno(self) -> int:
        """The file's descriptor, as `socket.sendfile` asks for it."""
        return self.fd

    def seek(self, offset: int) -> None:
        """Go to a byte of the file; the descriptor's own position stays, since others use it."""
        self._at = offset

    def read(self, count: int) -> bytes:
        """The next bytes."""
        data = os.pread(self.fd, count, self._at)
        self._at += len(data)
        return data


class Payload(Protocol):
    """The content of a blob, as an upload needs it: from anywhere, as often as necessary."""

    def pieces(self, offset: int, count: int) -> Generator[memoryview | FilePiece]:
        """Give `count` bytes from `offset` on; each piece is valid until the next is asked for. Close it in the end.

        What goes wrong on this side is raised as BodyFailed, so that nobody takes it for the connection's fault.
        """
        ...


class BodyFailed(Exception):  # carries an error across urllib3, which would wrap an OSError as its own
    """The source of a body failed: `cause` is its error."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class ReaderPayload:
    """A payload that opens a reader at the offset: `open` is a blob's."""

    def __init__(self, open_at: Callable[[int], AbstractContextManager[Reader]]) -> None:
        self._open = open_at

    def pieces(self, offset: int, count: int) -> Generator[memoryview]:
        """See Payload."""
        if not count:
            return
        # Not the thread's own buffer: the reader may be using that.
        view, left = memoryview(bytearray(min(CHUNK, count))), count
        try:
            with self._open(offset) as reader:
                while left:
                    got = reader.readinto(view[: min(len(view), left)])
                    if not got:
                        raise Truncated(f"the content ends after {offset + count - left} bytes; {left} are missing")
                    left -= got
                    yield view[:got]
        except (TranshipError, OSError) as error:
            raise BodyFailed(_of_source(error)) from error


def _of_source(error: TranshipError | OSError) -> TranshipError | OSError:
    """Let whoever sends the bytes see that it is not the other side that failed."""
    if isinstance(error, TranshipError):
        error.side = error.side or "source"
    return error


class FilePayload:
    """A payload that lies in an open regular file from `base` on. `advance` hears of each piece after it has been sent."""

    def __init__(self, fd: int, base: int = 0, advance: Callable[[int], None] = nothing) -> None:
        self._fd = fd
        self._base = base
        self._advance = advance

    def pieces(self, offset: int, count: int) -> Generator[FilePiece]:
        """See Payload."""
        try:
            there = os.fstat(self._fd).st_size - self._base - offset
            if there < count:
                raise Truncated(f"the file ends {count - there} bytes too early")
            for start in range(0, count, PIECE):
                piece = FilePiece(self._fd, self._base + offset + start, min(PIECE, count - start))
                yield piece
                self._advance(piece.count)
        except (TranshipError, OSError) as error:
            raise BodyFailed(_of_source(error)) from error


def cut(piece: memoryview | FilePiece, most: int) -> Iterator[memoryview | FilePiece]:
    """The same piece in pieces of at most `most` bytes."""
    for start in range(0, len(piece), most):
        if isinstance(piece, FilePiece):
            yield FilePiece(piece.fd, piece.offset + start, min(most, piece.count - start))
        else:
            yield piece[start : start + most]


def read_piece(piece: FilePiece) -> Iterator[memoryview]:
    """A file's piece as memory, for a connection that the kernel cannot fill (TLS)."""
    view, done = memoryview(bytearray(min(CHUNK, piece.count))), 0
    while done < piece.count:
        got = read_at(piece.fd, view[: min(len(view), piece.count - done)], piece.offset + done)
        if not got:
            raise BodyFailed(Truncated("the file has been cut while it was sent"))
        yield view[:got]
        done += got
