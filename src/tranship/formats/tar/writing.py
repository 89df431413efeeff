"""Writing a tar: the whole archive is laid out before a byte of it is written.

The sizes of all members are in their descriptors, so each header and offset is a pure function of the list of entries:
the same entries give the same bytes on every machine, and several threads can write data to its place at once.

Headers are ustar as containerd's exporter has them: owner 0, no names, time 0. A pax header stands before a member only
for what ustar cannot say (a name without a place to split it, 8 GiB and more), or to move the data to an aligned place.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tranship.errors import InvalidArgument, printable
from tranship.formats.tar.header import BLOCK, MAX_SIZE, clean, padding

if TYPE_CHECKING:
    from collections.abc import Iterable

TRAILER = bytes(2 * BLOCK)
ALIGNED_FROM = 1 << 20  # bytes; data of this size and more starts at a multiple of ALIGNMENT
ALIGNMENT = 4096  # bytes; the block of nearly every file system: aligned data can be cloned in and out of the archive
MAX_OCTAL = 8**11 - 1  # the largest size a ustar header can say, 8 GiB - 1
_HEADER = struct.Struct("100s 8s 8s 8s 12s 12s 8s c 100s 8s 64x 8s 8s 155s 12x")
_PAX_NAME = b"././@PaxHeader"


@dataclass(frozen=True, slots=True)
class Entry:
    """What shall become a member: its name, the size of its data, and its permissions."""

    name: str
    size: int = 0  # bytes
    mode: int = 0o644
    kind: Literal["file", "directory"] = "file"


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry and its place: `header` goes to `header_offset`, `entry.size` bytes of data to `data_offset`."""

    entry: Entry
    header: bytes  # with the pax header before it, if it needs one; ends where the data begins
    header_offset: int

    @property
    def data_offset(self) -> int:
        """Where the data begins."""
        return self.header_offset + len(self.header)

    @property
    def padding(self) -> int:
        """Zero bytes after the data."""
        return padding(self.entry.size)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A laid out archive: its members in order, where the TRAILER goes, and the size of the whole."""

    members: tuple[Placed, ...]
    trailer_offset: int

    @property
    def size(self) -> int:
        """Bytes of the whole archive."""
        return self.trailer_offset + len(TRAILER)


def arrange(entries: Iterable[Entry]) -> Arrangement:
    """Lay out an archive of these entries, in this order.

    Raises InvalidArgument for a name that stands there twice or would not be read back as it is.
    """
    placed: list[Placed] = []
    names: set[str] = set()
    offset = 0
    for entry in entries:
        _check(entry, names)
        member = Placed(entry, _header(entry, offset), offset)
        placed.append(member)
        offset = member.data_offset + entry.size + member.padding
    return Arrangement(tuple(placed), offset)


def _check(entry: Entry, names: set[str]) -> None:
    name = entry.name
    if not name or clean(name) != name or name.startswith(("/", "../")) or name in (".", "..") or "\0" in name:
        raise InvalidArgument(f"{printable(repr(name))} is no name for a member of an archive")
    if name in names:
        raise InvalidArgument(f"two members of an archive are to be called {printable(repr(name))}")
    if not 0 <= entry.size <= (MAX_SIZE if entry.kind == "file" else 0):
        raise InvalidArgument(f"{entry.kind} {printable(repr(name))} of an archive cannot have {entry.size} bytes")
    names.add(name)


def _header(entry: Entry, offset: int) -> bytes:
    """Everything that stands before the data of a member that begins at `offset`."""
    name = entry.name.encode("utf-8", "surrogateescape") + (b"/" if entry.kind == "directory" else b"")
    prefix, short, records = b"", name, b""
    if parts := split(name):
        prefix, short = parts
    else:
        short, records = name[:100], record(b"path", name)
    size = entry.size
    if size > MAX_OCTAL:
        size, records = 0, records + record(b"size", b"%d" % size)
    own = ustar(short, size, entry.mode, b"5" if entry.kind == "directory" else b"0", prefix)
    if entry.size >= ALIGNED_FROM:
        records += _filler(offset, len(records))
    return pax(records) + own


def split(name: bytes) -> tuple[bytes, bytes] | None:
    """The name as ustar's prefix and name; None when it does not fit or is not plain ASCII."""
    if not name.isascii():
        return None
    if len(name) <= 100:
        return b"", name
    slash = name.rfind(b"/", 0, 156)
    return (name[:slash], name[slash + 1 :]) if slash > 0 and 0 < len(name) - slash - 1 <= 100 else None


def _filler(offset: int, others: int) -> bytes:
    """The comment record that lets the data begin at a multiple of ALIGNMENT; empty when it does so anyway.

    `others` counts the bytes of other records in the same pax header. Readers ignore comments; spaces, since a few
    print them.
    """
    plain = BLOCK + (BLOCK + others + padding(others) if others else 0)
    if (offset + plain) % ALIGNMENT == 0:
        return b""
    room = -(offset + 2 * BLOCK) % ALIGNMENT - others  # bytes of the pax header's data, less the other records
    while room < len(b"NNNN comment=\n"):
        room += ALIGNMENT
    head = b"%d comment=" % room
    return head + b" " * (room - len(head) - 1) + b"\n"


def record(key: bytes, value: bytes) -> bytes:
    """A pax record; its length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def pax(records: bytes) -> bytes:
    """The pax header that says `records` of the next member; nothing when there are none."""
    if not records:
        return b""
    return ustar(_PAX_NAME, len(records), 0o644, b"x", b"") + records + bytes(padding(len(records)))


def ustar(
    name: bytes,
    size: int,
    mode: int,
    kind: bytes,
    prefix: bytes,
    *,
    owner: tuple[int, int] = (0, 0),
    mtime: int = 0,
    linkname: bytes = b"",
    device: tuple[int, int] = (0, 0),
) -> bytes:
    """The header block of one member; every number and name must fit its field."""
    fields = [
        *(name, b"%07o\0" % mode, b"%07o\0" % owner[0], b"%07o\0" % owner[1], b"%011o\0" % size, b"%011o\0" % mtime),
        *(b" " * 8, kind, linkname, b"ustar\x0000", b"%07o\0" % device[0], b"%07o\0" % device[1], prefix),
    ]
    checksum = b"%06o\0 " % sum(_HEADER.pack(*fields))
    fields[6] = checksum
    return _HEADER.pack(*fields)
