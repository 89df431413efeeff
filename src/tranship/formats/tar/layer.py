"""Headers of a layer's members: every kind of file, with what an image's file system keeps of it.

An archive of images (writing.py) holds plain files that are known in advance; a layer holds links, devices and owners, and
is written as it is found. The bytes of a header depend on the entry alone, not on the version of Python or the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tranship.errors import InvalidArgument, printable
from tranship.formats.tar.header import XATTR
from tranship.formats.tar.writing import MAX_OCTAL, pax, record, split, ustar

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE, HARDLINK, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO = (b"%d" % n for n in range(7))
_XATTR = XATTR.encode()
_MAX_SMALL = 8**7 - 1  # of an owner, or half of a device's number


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEntry:
    """One member of a layer.

    name      relative, without a slash at either end; bytes, since a file's name need not be text
    type      one of FILE, HARDLINK, … of this module
    size      bytes of data that follow; only a FILE has any
    linkname  of a SYMLINK its target as it stands, of a HARDLINK the name of an earlier member
    device    (major, minor)
    """

    name: bytes
    type: bytes = FILE
    size: int = 0
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)  # uid, gid
    mtime: int = 0  # seconds since 1970
    linkname: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)

    def __str__(self) -> str:
        return printable(self.name.decode("utf-8", "backslashreplace"))


def header(entry: LayerEntry) -> bytes:
    """Everything that stands before the entry's data: its ustar header, after a pax header for what ustar cannot say.

    Raises InvalidArgument for a device number that no tar can hold.
    """
    name = entry.name + b"/" * (entry.type == DIRECTORY)
    records: dict[bytes, bytes] = {_XATTR + key: value for key, value in entry.xattrs.items()}
    prefix, short = split(name) or (b"", b"")
    if not short:
        short, records[b"path"] = name[:100], name
    linkname = entry.linkname
    if len(linkname) > 100 or not linkname.isascii():
        linkname, records[b"linkpath"] = linkname[:100], linkname
    if not all(0 <= number <= _MAX_SMALL for number in entry.device):
        raise InvalidArgument(f"device {entry} has the number {entry.device}, which no tar can hold")

    def fitting(key: bytes, value: int, most: int) -> int:
        if 0 <= value <= most:
            return value
        records[key] = b"%d" % value
        return 0

    own = ustar(
        short,
        fitting(b"size", entry.size, MAX_OCTAL),
        entry.mode,
        entry.type,
        prefix,
        owner=(fitting(b"uid", entry.owner[0], _MAX_SMALL), fitting(b"gid", entry.owner[1], _MAX_SMALL)),
        mtime=fitting(b"mtime", entry.mtime, MAX_OCTAL),
        linkname=linkname,
        device=entry.device,
    )
    return pax(b"".join(record(key, records[key]) for key in sorted(records))) + own
