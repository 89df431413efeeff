"""Every byte loop of tranship: between two open files (`copy_range`) and from a reader into a file or a sink (`pump`).

Both hash the buffer that they have just filled, while it is hot in the cache: hashing costs 0.53 CPU seconds a gigabyte, and
a second pass over the file would cost a read on top. Buffers are one a thread and are reused, so memory does not grow with
the number or the size of blobs.

Why plain reads and writes: on a file system without reflinks (ext4) `copy_file_range` needs 0.26-0.38 CPU seconds a
gigabyte, a `preadv`/`pwrite` loop over one buffer into a preallocated file 0.13-0.16. Cloning is in `files.py`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

BEHIND = 8 << 20  # bytes written before the disk is asked to begin with them
CHUNK = 512 * 1024  # bytes; 256 KiB to 1 MiB copy and hash at the same rate, larger ones fall out of the L2 cache
_local = threading.local()

Advance = Callable[[int], None]  # told how many bytes have just passed; may raise to stop the transfer


class Reader(Protocol):
    """A stream of bytes: fills as much of the buffer as it can and returns the count; 0 is the end."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...  # the class says it


def buffer() -> memoryview:
    """This thread's own buffer of CHUNK bytes. Its content lasts until the thread's next byte loop."""
    view: memoryview | None = getattr(_local, "buffer", None)
    if view is None:
        view = _local.buffer = memoryview(bytearray(CHUNK))
    return view


def release() -> None:
    """Let go of this thread's buffer: for a thread that lives on after its work, in a pool."""
    _local.__dict__.clear()


def nothing(_count: int) -> None:
    """The Advance that nobody listens to."""


class WriteBehind:
    """Lets the disk begin with what has been written while the rest is still on its way, so that the fsync at the end finds
    little left to do: 5 ms instead of 220 for a gigabyte here.

    POSIX_FADV_DONTNEED begins to write dirty pages back (mm/fadvise.c) and lets go of clean ones, of which a stretch that
    was written just now has none. Nothing happens where the system lacks the call.
    """

    __slots__ = ("_at", "_fd", "_from")

    def __init__(self, fd: int, at: int = 0) -> None:
        self._fd = fd
        self._from = self._at = at

    def wrote(self, count: int) -> None:
        """Note that `count` more bytes were written, one stretch after another."""
        self._at += count
        if self._at - self._from >= BEHIND and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._fd, self._from, self._at - self._from, os.POSIX_FADV_DONTNEED)
            self._from = self._at


def copy_range(
    source: int,
    offset: int,
    count: int,
    destination: int,
    at: int,
    *,
    hasher: Hash | None = None,
    advance: Advance = nothing,
    behind: bool = False,
) -> int:
    """Copy `count` bytes between open files, each at its own offset; return how many were there.

    Positional: neither file's own position moves, so several threads may fill one file. A result below `count` means that the
    source ends early; the caller says so in its own words. `behind` lets the disk begin early (WriteBehind).
    """
    view, done = buffer(), 0
    follower = WriteBehind(destination, at) if behind else None
    while done < count:
        want = min(CHUNK, count - done)
        got = read_at(source, view[:want], offset + done)
        if not got:
            break
        chunk = view[:got]
        if hasher is not None:
            hasher.update(chunk)
        write_all_at(destination, chunk, at + done)
        if follower is not None:
            follower.wrote(got)
        done += got
        advance(got)
    return done


def hash_range(source: int, offset: int, count: int, hasher: Hash, *, advance: Advance = nothing) -> int:
    """Feed `count` bytes of an open file to `hasher`; return how many were there."""
    if not count:  # a writer is asked for its digest again and again
        return 0
    view, done = buffer(), 0
    while done < count:
        got = read_at(source, view[: min(CHUNK, count - done)], offset + done)
        if not got:
            break
        hasher.update(view[:got])
        done += got
        advance(got)
    return done


def pump(
    reader: Reader,
    write: Callable[[memoryview], object],
    *,
    limit: int | None = None,
    hasher: Hash | None = None,
    advance: Advance = nothing,
) -> int:
    """Hand everything that `reader` gives to `write`, chunk by chunk, at most `limit` bytes; return how many there were.

    `write` takes all of the chunk before it returns; the chunk is valid only during the call.
    """
    view, done = buffer(), 0
    while limit is None or done < limit:
        want = CHUNK if limit is None else min(CHUNK, limit - done)
        got = reader.readinto(view[:want])
        if not got:
            break
        chunk = view[:got]
        if hasher is not None:
            hasher.update(chunk)
        write(chunk)
        done += got
        advance(got)
    return done


def read_exactly(reader: Reader, view: memoryview) -> int:
    """Fill `view` from `reader`; fewer bytes only at the end. Returns the count."""
    done = 0
    while done < len(view):
        got = reader.readinto(view[done:])
        if not got:
            break
        done += got
    return done


def read_whole(reader: Reader, size: int) -> bytes:
    """At most `size` bytes, which are few; fewer only at the end."""
    data = bytearray(size)
    del data[read_exactly(reader, memoryview(data)) :]
    return bytes(data)


def write_all(fd: int, chunk: memoryview) -> None:
    """Write the whole chunk at the file's position; a pipe or a full disk may take it in pieces."""
    done = os.write(fd, chunk)
    while done < len(chunk):
        done += os.write(fd, chunk[done:])


def write_all_at(fd: int, chunk: memoryview, offset: int) -> None:
    """Write the whole chunk at `offset`."""
    done = os.pwrite(fd, chunk, offset)
    while done < len(chunk):
        done += os.pwrite(fd, chunk[done:], offset + done)


if hasattr(os, "preadv"):

    def read_at(fd: int, view: memoryview, offset: int) -> int:
        """Read into `view` at `offset`; return the count, 0 at the end."""
        return os.preadv(fd, [view], offset)

else:  # macOS before 11

    def read_at(fd: int, view: memoryview, offset: int) -> int:
        """Read into `view` at `offset`; return the count, 0 at the end."""
        data = os.pread(fd, len(view), offset)
        view[: len(data)] = data
        return len(data)
