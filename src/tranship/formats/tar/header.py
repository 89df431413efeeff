"""Tar headers: the walk from header to header that files and pipes share, and how one header is understood.

Understood: v7, ustar (POSIX.1-1988) with its prefix, pax `x` and `g` records (POSIX.1-2001), GNU's long names `L` and
`K`, and base-256 numbers. Refused: whatever two readers in use understand differently, since an archive that shows one
content to the scanner and another to the runtime is an attack (CVE-2025-62518): a wrong checksum, a size outside 0 to
2^63 - 1, a name that is given twice, a global size or path, data behind a link or a directory, a lone zero block in
mid-archive.

The end of an archive is two zero blocks, or one and the end of the file; what follows is ignored. An archive without
them is truncated, though every member may be whole: a writer that dies between two members leaves exactly this behind.
"""

from __future__ import annotations

import posixpath
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple
from zlib import adler32

from tranship.errors import DataLoss, InvalidArgument, Truncated, Unsupported, printable

BLOCK = 512  # bytes; everything in a tar is a multiple of it
MAX_MEMBERS = 1_000_000
MAX_SIZE = (1 << 63) - 1  # bytes of one member; Go's int64
_MAX_EXTENSION = 1 << 20  # bytes of one extension header's data; Go's reader has the same limit
_MAX_EXTENSIONS = 256 << 20  # bytes of all extension headers of an archive, so that names cannot fill the memory

Kind = Literal["file", "directory", "symlink", "hardlink", "other"]
ReadAt = Callable[[int, int], bytes]  # (offset, count) -> that many bytes, fewer only at the end

# name, mode, uid, gid, size, mtime, checksum, type, link name, magic, (version, owner's names), device, prefix
_HEADER = struct.Struct("100s 8s 8s 8s 12s 12s 8s c 100s 6s 66x 8s 8s 155s 12x")
_ZEROS = bytes(BLOCK)
_NONE: Mapping[str, str] = {}
_KINDS: Mapping[bytes, Kind] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"5": "directory",
}
_WITHOUT_DATA = frozenset(b"123456")
_EXTENSIONS = {b"x": "pax header", b"g": "global pax header", b"L": "long name", b"K": "long link name"}
_REFUSED = {b"S": "a sparse file", b"M": "the continuation of another volume", b"X": "a Solaris extended header"}
_DECISIVE = frozenset({"path", "linkpath", "size"})  # pax keys that readers must agree on
_DECIMAL = re.compile(r"[0-9]{1,19}")
_DEVICES = (b"3", b"4")
_TIME = re.compile(r"(-?[0-9]{1,15})(\.[0-9]*)?")
XATTR = "SCHILY.xattr."  # begins the pax key of an extended attribute, as star, GNU tar, Go and Docker write it


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
    xattrs: Mapping[str, str] = field(
        default_factory=dict, hash=False
    )  # values are bytes, decoded with surrogateescape

    def __str__(self) -> str:
        return f"{self.kind} {printable(repr(self.name))}"


class _Header(NamedTuple):
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


def walk(read_at: ReadAt, *, max_members: int = MAX_MEMBERS) -> Iterator[Member]:
    """Yield the members in order; between two of them only headers are read, never data.

    `read_at` is asked for rising offsets only, so that a pipe can serve it by passing over what lies between.
    """
    offset, count, extended = 0, 0, 0
    defaults: dict[str, str] = {}  # by `g` headers, for all members that follow
    extensions: dict[bytes, dict[str, str]] = {}  # by the headers that stand before the next member
    while (block := _next_block(read_at, offset, extensions)) is not None:
        header = _Header._make(_HEADER.unpack(block))
        _check_sum(block, header.checksum, offset)
        if header.type in _EXTENSIONS:
            data = _extension_data(read_at, header, offset)
            extended += BLOCK + len(data) + padding(len(data))
            if extended > _MAX_EXTENSIONS:
                raise InvalidArgument(f"tar at byte {offset}: over {_MAX_EXTENSIONS} bytes of extension headers")
            _extend(header.type, data, offset, defaults, extensions)
            offset += BLOCK + len(data) + padding(len(data))
            continue
        count += 1
        if count > max_members:
            raise InvalidArgument(f"tar at byte {offset}: more than {max_members} members")
        member = _member(header, offset, defaults, extensions)
        if extensions:
            extensions = {}
        yield member
        offset = member.data_offset + member.size + padding(member.size)


def _next_block(read_at: ReadAt, offset: int, extensions: Mapping[bytes, object]) -> bytes | None:
    """The header block at `offset`, or None at the end of the archive."""
    block = read_at(offset, BLOCK)
    if len(block) < BLOCK:
        missing = "inside a header" if block or extensions else "without the zero blocks that mark an archive's end"
        raise Truncated(f"tar ends at byte {offset + len(block)} {missing}", count=offset + len(block))
    if block != _ZEROS:
        return block
    if extensions:
        raise DataLoss(f"tar at byte {offset}: {_named(extensions)} describes a member that does not follow")
    if any(read_at(offset + BLOCK, BLOCK)):
        raise DataLoss(f"tar at byte {offset}: one zero block and more data after it; the end has two")
    return None


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


# ---------------------------------------------------------------------------------------------------- extension headers


def _extension_data(read_at: ReadAt, header: _Header, offset: int) -> bytes:
    size = _size(header.size, offset)
    if size > _MAX_EXTENSION:
        raise InvalidArgument(
            f"tar at byte {offset}: a {_EXTENSIONS[header.type]} of {size} bytes; at most {_MAX_EXTENSION} are read"
        )
    data = read_at(offset + BLOCK, size + padding(size))
    if len(data) < size + padding(size):
        end = offset + BLOCK + len(data)
        raise Truncated(f"tar ends at byte {end} inside a {_EXTENSIONS[header.type]}", count=end)
    return data[:size]


def _extend(
    kind: bytes, data: bytes, offset: int, defaults: dict[str, str], extensions: dict[bytes, dict[str, str]]
) -> None:
    """Note what an extension header says, in the words of pax records."""
    if kind in extensions:
        raise InvalidArgument(f"tar at byte {offset}: a second {_EXTENSIONS[kind]} for one member")
    if kind == b"g":
        records = _records(data, offset)
        unclear = records.keys() & _DECISIVE
        if unclear:  # Go's reader ignores global records, GNU tar and Python's apply them
            raise InvalidArgument(
                f"tar at byte {offset}: a global {min(unclear)}, which readers understand differently"
            )
        defaults.update(records)
    elif kind == b"x":
        extensions[kind] = _records(data, offset)
    else:
        name = _text(data)
        if not name:
            raise InvalidArgument(f"tar at byte {offset}: an empty {_EXTENSIONS[kind]}")
        extensions[kind] = {"path" if kind == b"L" else "linkpath": name}


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
        name = _decode(key)
        if name.startswith("GNU.sparse."):
            raise _unsupported("a sparse file", offset)
        if name in _DECISIVE and (b"\0" in value or not value):  # empty: the header's own counts, or nothing at all
            raise InvalidArgument(f"tar at byte {offset}: a pax {name} that is empty or has a zero byte in it")
        records[name] = _decode(value)
        at += length
    return records


def _named(extensions: Mapping[bytes, object]) -> str:
    return "a " + _EXTENSIONS[next(iter(extensions))]


# -------------------------------------------------------------------------------------------------------------- members


def _member(
    header: _Header, offset: int, defaults: Mapping[str, str], extensions: Mapping[bytes, dict[str, str]]
) -> Member:
    """Make the member of its own header and what stood before it."""
    if header.type in _REFUSED:
        raise _unsupported(_REFUSED[header.type], offset)
    records = _merged(offset, defaults, extensions) if defaults or extensions else defaults
    name, linkname = records.get("path") or _path(header), records.get("linkpath") or _text(header.linkname)
    said = records.get("size")
    size = _decimal(said, "size", offset) if said else _size(header.size, offset)
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
        {k[len(XATTR) :]: v for k, v in records.items() if k.startswith(XATTR)} if records else _NONE,
    )


def _merged(offset: int, defaults: Mapping[str, str], extensions: Mapping[bytes, dict[str, str]]) -> Mapping[str, str]:
    """All that was said before a member; a name given in both ways is refused: readers differ on which one counts."""
    merged: dict[str, str] = {}
    for records in extensions.values():
        if not merged.keys().isdisjoint(records):
            raise InvalidArgument(f"tar at byte {offset}: a member with two long names")
        merged.update(records)
    return {**defaults, **merged}


def clean(name: str) -> str:
    """The name without `.` and empty steps, as Go's `path.Clean` has it (containerd reads names so)."""
    if name and "//" not in name and "/." not in name and name[0] != "." and name[-1] != "/":
        return name
    cleaned = posixpath.normpath(name)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _path(header: _Header) -> str:
    name = _text(header.name)
    # GNU's old magic, `ustar  `, keeps times and sparse maps where ustar has the prefix.
    if header.magic == b"ustar\0" and header.prefix[0]:
        return f"{_text(header.prefix)}/{name}"
    return name


def _text(field: bytes) -> str:
    return _decode(field.partition(b"\0")[0])


def _decode(data: bytes) -> str:
    # Other encodings than UTF-8 happen in old archives; a lone surrogate keeps each byte apart.
    return data.decode("utf-8", "surrogateescape")


def _unsupported(what: str, offset: int) -> Unsupported:
    return Unsupported(f"tar at byte {offset}: {what}, which no image archive holds")


# -------------------------------------------------------------------------------------------------------------- numbers


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


def _size(field: bytes, offset: int) -> int:
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
