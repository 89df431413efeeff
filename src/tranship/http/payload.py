"""Bodies of uploads: stretches of a blob, from a reader that can be opened again or from a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from tranship.errors import TranshipError, Truncated
from tranship.pump import CHUNK, Reader, nothing, read_at

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

# Bytes of a file that go out at once. Small pieces are still in the cache when a registry on the same machine takes them:
# 1 GB in 1.09 s by 64 KiB, in 1.14 by 256, and in 1.21 by sendfile(2), whose pages come from the memory.
PIECE = 64 * 1024


class Payload(Protocol):
    """The content of a blob, as an upload needs it: from anywhere, as often as necessary."""

    def pieces(self, offset: int, count: int) -> Generator[memoryview]:
        """Give `count` bytes from `offset` on; each piece is valid until the next is asked for. Close it in the end.

        What goes wrong on this side is raised as BodyFailed, so that nobody takes it for the connection's fault.
        """
        ...


class BodyFailed(Exception):  # carries an error past those who would take it for the connection's
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

    def pieces(self, offset: int, count: int) -> Generator[memoryview]:
        """See Payload."""
        view, end = memoryview(bytearray(min(PIECE, count))), offset + count
        try:
            there = os.fstat(self._fd).st_size - self._base - offset
            if there < count:
                raise Truncated(f"the file ends {count - there} bytes too early")
            while offset < end:
                got = read_at(self._fd, view[: end - offset], self._base + offset)
                if not got:
                    raise Truncated("the file has been cut while it was sent")
                offset += got
                yield view[:got]
                self._advance(got)
        except (TranshipError, OSError) as error:
            raise BodyFailed(_of_source(error)) from error
