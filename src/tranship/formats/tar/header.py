"""One tar header: a block of 512 bytes, its numbers and names, and the member that it makes."""

from __future__ import annotations

import posixpath
import re
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple
from zlib import adler32

from tranship.errors import DataLoss, InvalidArgument, Unsupported, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

BLOCK = 512  # bytes; everything in a tar is a multiple of it
MAX_SIZE = (1 << 63) - 1  # bytes of one member; Go's int64
XATTR = "SCHILY.xattr."  # begins the pax key of an extended attribute, as star, GNU tar, Go and Docker write it

Kind = Literal["file", "directory", "symlink", "hardlink", "other"]

# name, mode, uid, gid, size, mtime, checksum, type, link name, magic, (version, owner's names), device, prefix
_HEADER = struct.Struct("100s 8s 8s 8s 12s 12s 8s c 100s 6s 66x 8s 8s 155s 12x")
_KINDS: Mapping[bytes, Kind] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"5": "directory",
}
_WITHOUT_DATA = frozenset(b"123456")
_REFUSED = {b"S": "a sparse file", b"M": "the continuation of another volume", b"X": "a Solaris extended header"}
_DEVICES = (b"3", b"4")
_NO_RECORDS: Mapping[str, str] = {}
_DECIMAL = re.compile(r"[0-9]{1,19}")
_TIME = re.compile(r"(-?[0-9]{1,15})(\.[0-9]*)?")


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an archive.

    `name` is cleaned lexically (`./a//b/` is `a/b`); an absolute or climbing name stays absolute or climbing, a key
    that matches nothing. `linkname` is the target of a link as it stands there. `data_offset` counts from the archive's
    first byte. `type` is the header's own letter, which tells `other` kinds apart; `device` is (major, minor) of a device.
    """

    name: str
    kind: Kind
    size: int  # bytes
    data_offset: int
    linkname: str
    mode: int
    uid: int
    gid: int
    mtime: int  # seconds
    type: bytes = b"0"
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, str] = field(default_factory=dict, hash=False)  # values as `decode` has them

    def __str__(self) -> str:
        return f"{self.kind} {printable(repr(self.name))}"


class Header(NamedTuple):
    """The fields of a header block as they stand there."""

    name: bytes
    mode: bytes
    uid: bytes
    gid: bytes
    size: bytes
    mtime: bytes
    checksum: bytes
    type: bytes
    linkname: bytes
    magic: bytes
    major: bytes
    minor: bytes
    prefix: bytes


def padding(size: int) -> int:
    """Zero bytes that follow `size` bytes of data, up to the next block."""
    return -size % BLOCK


def unpack(block: bytes, offset: int) -> Header:
    """Take a header block apart; DataLoss, or InvalidArgument at offset 0, when its checksum is wrong."""
    header = Header._make(_HEADER.unpack(block))
    _check_sum(block, header.checksum, offset)
    return header


def _check_sum(block: bytes, field: bytes, offset: int) -> None:
    """Compare the header's checksum: the sum of its bytes, with the field itself taken as blanks.

    With 0 to start from, Adler-32's low half is the plain sum modulo 65521, which 257 bytes cannot reach: ten times
    faster than `sum`. Some old writers summed signed bytes.
    """
    found = (adler32(block[:256], 0) & 0xFFFF) + (adler32(block[256:], 0) & 0xFFFF) - (adler32(field, 0) & 0xFFFF) + 256
    stated = _octal(field)
    if found == stated:
        return
    if stated is not None and found - 256 * sum(b > 0x7F for b in block[:148] + block[156:]) == stated:
        return
    if offset == 0:
        raise InvalidArgument("this is no tar archive: its first 512 bytes are no tar header")
    raise DataLoss(
        f"tar at byte {offset}: expected a header, found something else (checksum {stated}, bytes give {found})"
    )


def make_member(header: Header, offset: int, records: Mapping[str, str] = _NO_RECORDS) -> Member:
    """Make a member of its own header and of the pax records that hold for it."""
    if header.type in _REFUSED:
        raise unsupported(_REFUSED[header.type], offset)
    name, linkname = records.get("path") or _path(header), records.get("linkpath") or text_of(header.linkname)
    _check_agreement(header, name, offset)
    said = records.get("size")
    size = _decimal(said, "size", offset) if said else size_of(header.size, offset)
    kind: Kind = _KINDS.get(header.type, "other")
    if kind == "file" and name.endswith("/"):  # how v7 wrote a directory
        kind = "directory"
    if size and (kind == "directory" or header.type[0] in _WITHOUT_DATA):
        raise InvalidArgument(f"tar at byte {offset}: {kind} {printable(repr(name))} claims {size} bytes of data")
    return Member(
        clean(name),
        kind,
        size,
        offset + BLOCK,
        linkname,
        _number(header.mode, offset) & 0o7777,
        _decimal(records["uid"], "uid", offset) if records.get("uid") else _number(header.uid, offset),
        _decimal(records["gid"], "gid", offset) if records.get("gid") else _number(header.gid, offset),
        _time(records["mtime"], offset) if records.get("mtime") else _number(header.mtime, offset),
        header.type,
        (_number(header.major, offset), _number(header.minor, offset)) if header.type in _DEVICES else (0, 0),
        {k[len(XATTR) :]: v for k, v in records.items() if k.startswith(XATTR)} if records else _NO_RECORDS,
    )


def _check_agreement(header: Header, name: str, offset: int) -> None:
    """Refuse what Python's reader understands in another way than Go's and GNU tar do."""
    if header.type == b"\0" and name[-1:] != "/" and header.name.partition(b"\0")[0].endswith(b"/"):
        raise InvalidArgument(f"tar at byte {offset}: a directory in the header, a file in the pax header before it")
    if header.prefix[0] and header.magic not in (b"ustar\0", b"ustar "):
        raise InvalidArgument(f"tar at byte {offset}: a prefix to the name in a format that has none")
    if header.major != header.minor or header.major[1:7] != b"000000":  # as nearly everybody writes them
        _number(header.major, offset)
        _number(header.minor, offset)


def clean(name: str) -> str:
    """The name without `.` and empty steps, as Go's `path.Clean` has it (containerd reads names so)."""
    if name and "//" not in name and "/." not in name and name[0] != "." and name[-1] != "/":
        return name
    cleaned = posixpath.normpath(name)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _path(header: Header) -> str:
    name = text_of(header.name)
    # GNU's old magic, `ustar  `, keeps times and sparse maps where ustar has the prefix.
    if header.magic == b"ustar\0" and header.prefix[0]:
        return f"{text_of(header.prefix)}/{name}"
    return name


def text_of(field: bytes) -> str:
    """What stands before the first zero byte."""
    return decode(field.partition(b"\0")[0])


def decode(data: bytes) -> str:
    """A name or value as text."""
    # Other encodings than UTF-8 happen in old archives; a lone surrogate keeps each byte apart.
    return data.decode("utf-8", "surrogateescape")


def unsupported(what: str, offset: int) -> Unsupported:
    """The error for what tar knows and no image needs."""
    return Unsupported(f"tar at byte {offset}: {what}, which no image archive holds")


# --- numbers ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)  # modes, owners and times repeat
def _octal(field: bytes) -> int | None:
    """An octal number with blanks or a zero byte around it; an empty field is 0; None: it is something else."""
    digits = field.partition(b"\0")[0].strip(b" ")
    if not digits:
        return 0
    # int() alone would take signs, underscores and prefixes
    return int(digits, 8) if digits.isdigit() and not digits.strip(b"01234567") else None


def _number(field: bytes, offset: int) -> int:
    """A number field: octal, or base-256 two's complement when its first byte is 0x80 or 0xff (GNU)."""
    if field[0] in (0x80, 0xFF):
        return int.from_bytes(field[1:], "big") - (field[0] == 0xFF) * (1 << 8 * (len(field) - 1))
    number = _octal(field)
    if number is None:
        raise DataLoss(f"tar at byte {offset}: malformed number {printable(repr(field))} in a header")
    return number


def check_numbers(header: Header, offset: int) -> None:
    """Refuse numbers that are none where nobody needs them: Python's reader takes such a header for the archive's end."""
    for number in (header.mode, header.uid, header.gid, header.mtime):
        _number(number, offset)


def size_of(field: bytes, offset: int) -> int:
    """The bytes of data behind a header."""
    size = _number(field, offset)
    if not 0 <= size <= MAX_SIZE:
        raise InvalidArgument(f"tar at byte {offset}: a member of {size} bytes; a size is 0 to 2^63 - 1")
    return size


def _decimal(text: str, key: str, offset: int) -> int:
    number = int(text) if _DECIMAL.fullmatch(text) else -1
    if not 0 <= number <= MAX_SIZE:
        raise InvalidArgument(f"tar at byte {offset}: malformed pax {key} {printable(repr(text))}")
    return number


def _time(text: str, offset: int) -> int:
    match = _TIME.fullmatch(text)
    if match is None:
        raise InvalidArgument(f"tar at byte {offset}: malformed pax mtime {printable(repr(text))}")
    return int(match[1])
