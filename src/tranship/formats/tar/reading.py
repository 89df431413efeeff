"""Reading a tar: the index of one that can be read anywhere, and the members of one that comes through a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.errors import Truncated
from tranship.formats.tar.header import MAX_MEMBERS, Member, ReadAt, padding, walk
from tranship.pump import Reader, buffer, read_exactly

if TYPE_CHECKING:
    from collections.abc import Iterator


def read_index(read_at: ReadAt, size: int, *, max_members: int = MAX_MEMBERS) -> list[Member]:
    """List the members of an archive of `size` bytes by its headers alone; `read_at(offset, count)` is a pread.

    Raises InvalidArgument for what is no tar, Truncated, DataLoss or Unsupported, each naming the byte.
    """
    index = []
    for member in walk(read_at, max_members=max_members):
        if member.data_offset + member.size + padding(member.size) > size:
            raise _truncated(member, size)
        index.append(member)
    return index


class TarStream:
    """The members of an archive that can only be read forwards.

    Iterating gives the members; the stream itself is the Reader of the current one's data: `readinto` gives 0 at its
    end, and the next step passes over what was left. After the last member the source stands behind the end-of-archive
    blocks, where more zeros may follow.
    """

    def __init__(self, source: Reader, *, max_members: int = MAX_MEMBERS) -> None:
        self._source = source
        self._at = 0  # bytes taken from the source
        self._member: Member | None = None
        self._walk = walk(self._read_at, max_members=max_members)

    def __iter__(self) -> Iterator[Member]:
        return self

    def __next__(self) -> Member:
        """The next member; Truncated, DataLoss and the like as `read_index`."""
        member = next(self._walk, None)
        self._member = member
        if member is None:
            raise StopIteration
        return member

    def readinto(self, view: memoryview, /) -> int:
        """Read the current member's data straight into `view`; Truncated when the source ends too early."""
        member = self._member
        left = member.data_offset + member.size - self._at if member is not None else 0
        if left <= 0 or not len(view):
            return 0
        return self._take(view[:left])

    def _read_at(self, offset: int, count: int) -> bytes:
        """Pass over what lies before `offset`, and read."""
        self._pass_over(offset - self._at)
        data = bytearray(count)
        got = read_exactly(self._source, memoryview(data))
        self._at += got
        return bytes(data[:got])

    def _pass_over(self, count: int) -> None:
        view = buffer()
        while count:
            count -= self._take(view[:count])

    def _take(self, view: memoryview) -> int:
        got = self._source.readinto(view)
        if not got:
            raise _truncated(self._member, self._at)
        self._at += got
        return got


def _truncated(member: Member | None, end: int) -> Truncated:
    where = f"{member}, which has {member.size} bytes from byte {member.data_offset} on" if member else "a header"
    return Truncated(f"tar ends at byte {end} inside {where}", count=end)
