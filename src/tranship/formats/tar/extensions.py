"""Headers that say more of the next member than its own header has room for: pax records, and GNU's long names.

Both are kept in the words of pax. Of the records only those are kept that somebody reads, so that a member costs no more
for what stands in a global header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.errors import InvalidArgument, Truncated
from tranship.formats.tar.header import (
    BLOCK,
    XATTR,
    Header,
    check_numbers,
    decode,
    padding,
    size_of,
    text_of,
    unsupported,
)

if TYPE_CHECKING:
    from tranship.formats.tar.reading import ReadAt

NAMES = {b"x": "pax header", b"g": "global pax header", b"L": "long name", b"K": "long link name"}  # by type
MAX_EXTENSION = 1 << 20  # bytes of one header's data; Go's reader has the same limit
MAX_EXTENSIONS = 256 << 20  # bytes of all of an archive, so that names cannot fill the memory
_DECISIVE = frozenset({"path", "linkpath", "size"})  # readers must agree on these
_OTHERS = frozenset({"uid", "gid", "mtime"})


class Extensions:
    """What the headers before a member say of it, and what global ones say of all that follow."""

    def __init__(self) -> None:
        self._global: dict[str, str] = {}
        self._next: dict[bytes, dict[str, str]] = {}  # by the type of header
        self._bytes = 0

    def __bool__(self) -> bool:
        """Does anything stand before the next member?"""
        return bool(self._next)

    def __str__(self) -> str:
        return f"a {NAMES[next(iter(self._next))]}"

    def take(self, read_at: ReadAt, header: Header, offset: int) -> int:
        """Read the extension whose header stands at `offset`; return where the next header stands."""
        check_numbers(header, offset)
        data, rest = _data(read_at, header, offset)
        end = offset + BLOCK + len(data) + len(rest)
        self._bytes += end - offset
        if self._bytes > MAX_EXTENSIONS:
            raise InvalidArgument(f"tar at byte {offset}: over {MAX_EXTENSIONS} bytes of extension headers")
        if header.type in self._next:
            raise InvalidArgument(f"tar at byte {offset}: a second {NAMES[header.type]} for one member")
        if header.type == b"g":
            self._global.update(_global_records(data, offset))
        elif header.type == b"x":
            self._next[b"x"] = _records(data, offset)
        else:
            self._next[header.type] = {
                "path" if header.type == b"L" else "linkpath": _long_name(data, rest, header, offset)
            }
        return end

    def records(self, offset: int) -> dict[str, str]:
        """All that holds for the member whose own header stands at `offset`; the next member starts afresh."""
        said: dict[str, str] = {}
        for records in self._next.values():
            if not said.keys().isdisjoint(records):  # readers differ on which one counts
                raise InvalidArgument(f"tar at byte {offset}: a member with two long names")
            said.update(records)
        self._next.clear()
        return {**self._global, **said}


def _data(read_at: ReadAt, header: Header, offset: int) -> tuple[bytes, bytes]:
    """The data, and what fills the last block."""
    size = size_of(header.size, offset)
    if size > MAX_EXTENSION:
        raise InvalidArgument(
            f"tar at byte {offset}: a {NAMES[header.type]} of {size} bytes; at most {MAX_EXTENSION} are read"
        )
    data = read_at(offset + BLOCK, size + padding(size))
    if len(data) < size + padding(size):
        end = offset + BLOCK + len(data)
        raise Truncated(f"tar ends at byte {end} inside a {NAMES[header.type]}", count=end)
    return data[:size], data[size:]


def _long_name(data: bytes, rest: bytes, header: Header, offset: int) -> str:
    if b"\0" not in data and rest[:1] not in (b"", b"\0"):  # GNU tar and Python read on to a zero byte, Go does not
        raise InvalidArgument(
            f"tar at byte {offset}: a {NAMES[header.type]} that goes on where its header says it ends"
        )
    name = text_of(data)
    if not name:
        raise InvalidArgument(f"tar at byte {offset}: an empty {NAMES[header.type]}")
    return name


def _global_records(data: bytes, offset: int) -> dict[str, str]:
    records = _records(data, offset)
    unclear = records.keys() & _DECISIVE
    if unclear:  # Go's reader ignores global records, GNU tar and Python's apply them
        raise InvalidArgument(f"tar at byte {offset}: a global {min(unclear)}, which readers understand differently")
    return {key: value for key, value in records.items() if key in _OTHERS}


def _records(data: bytes, offset: int) -> dict[str, str]:
    """Read pax records: `LENGTH KEY=VALUE`, a line each; LENGTH counts the whole line, itself included."""
    records: dict[str, str] = {}
    at = 0
    while at < len(data):
        digits = data[at : data.find(b" ", at, at + 8)] if b" " in data[at : at + 8] else b""
        length = int(digits) if digits.isdigit() else 0
        record = data[at + len(digits) + 1 : at + length]
        key, equals, value = record[:-1].partition(b"=")
        if at + length > len(data) or record[-1:] != b"\n" or not key or not equals:
            raise InvalidArgument(f"tar at byte {offset}: malformed pax record at byte {at} of the header's data")
        name = decode(key)
        if name.startswith("GNU.sparse."):
            raise unsupported("a sparse file", offset)
        if name in _DECISIVE and (b"\0" in value or not value):  # empty: the header's own counts, or nothing at all
            raise InvalidArgument(f"tar at byte {offset}: a pax {name} that is empty or has a zero byte in it")
        if name in _DECISIVE or name in _OTHERS or name.startswith(XATTR):
            records[name] = decode(value)
        at += length
    return records
