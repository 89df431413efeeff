"""Reading a tar: the walk from header to header, over a file that can be read anywhere and through a pipe.

Understood: v7, ustar (POSIX.1-1988) with its prefix, pax `x` and `g` records (POSIX.1-2001), GNU's long names `L` and
`K`, and base-256 numbers. Refused: whatever two readers in use understand differently, since an archive that shows one
content to the scanner and another to the runtime is an attack (CVE-2025-62518): a wrong checksum, a size outside 0 to
2^63 - 1, a name that is given twice, a global size or path, data behind a link or a directory, a lone zero block in
mid-archive.

The end of an archive is two zero blocks, or one and the end of the file; what follows is ignored. An archive without
them is truncated, though every member may be whole: a writer that dies between two members leaves exactly this behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tranship.errors import DataLoss, InvalidArgument, Truncated
from tranship.formats.tar.extensions import NAMES, Extensions
from tranship.formats.tar.header import BLOCK, Member, make_member, padding, unpack
from tranship.pump import Reader, buffer, read_exactly

MAX_MEMBERS = 1_000_000
MAX_NAMES = 256 << 20  # characters of what an archive's members are called and say of themselves
_ZEROS = bytes(BLOCK)

ReadAt = Callable[[int, int], bytes]  # (offset, count) -> that many bytes, fewer only at the end


def read_index(
    read_at: ReadAt, size: int, *, max_members: int = MAX_MEMBERS, max_names: int = MAX_NAMES
) -> list[Member]:
    """List the members of an archive of `size` bytes by its headers alone; `read_at(offset, count)` is a pread.

    Raises InvalidArgument for what is no tar, Truncated, DataLoss or Unsupported, each naming the byte.
    """
    index = []
    for member in _walk(read_at, max_members, max_names):
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

    def __init__(self, source: Reader, *, max_members: int = MAX_MEMBERS, max_names: int = MAX_NAMES) -> None:
        self._source = source
        self._at = 0  # bytes taken from the source
        self._member: Member | None = None
        self._walk = _walk(self._read_at, max_members, max_names)

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


# --- the walk ---------------------------------------------------------------------------------------------------------


def _walk(read_at: ReadAt, max_members: int, max_names: int) -> Iterator[Member]:
    """Yield the members in order; between two of them only headers are read, never data.

    `read_at` is asked for rising offsets only, so that a pipe can serve it by passing over what lies between.
    """
    offset, count, names, extensions = 0, 0, 0, Extensions()
    while (block := _next_block(read_at, offset, extensions)) is not None:
        header = unpack(block, offset)
        if header.type in NAMES:
            offset = extensions.take(read_at, header, offset)
            continue
        count += 1
        if count > max_members:
            raise InvalidArgument(f"tar at byte {offset}: more than {max_members} members")
        member = make_member(header, offset, extensions.records(offset))
        names += len(member.name) + len(member.linkname)
        if member.xattrs:
            names += sum(len(key) + len(value) for key, value in member.xattrs.items())
        if names > max_names:
            raise InvalidArgument(f"tar at byte {offset}: over {max_names} characters of names")
        yield member
        offset = member.data_offset + member.size + padding(member.size)


def _next_block(read_at: ReadAt, offset: int, extensions: Extensions) -> bytes | None:
    """The header block at `offset`, or None at the end of the archive."""
    block = read_at(offset, BLOCK)
    if len(block) < BLOCK:
        if not block and not offset:
            raise Truncated("it is empty", count=0, hint="did the command that was to write it fail?")
        missing = "inside a header" if block or extensions else "without the zero blocks that mark an archive's end"
        raise Truncated(f"tar ends at byte {offset + len(block)} {missing}", count=offset + len(block))
    if block != _ZEROS:
        return block
    if extensions:
        raise DataLoss(f"tar at byte {offset}: {extensions} describes a member that does not follow")
    if any(read_at(offset + BLOCK, BLOCK)):
        raise DataLoss(f"tar at byte {offset}: one zero block and more data after it; the end has two")
    return None
