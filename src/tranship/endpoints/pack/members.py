"""What goes into a layer, from a directory or from a tar: entries, each with a reader of its data."""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
from typing import TYPE_CHECKING, NamedTuple

from tranship import pump
from tranship.endpoints.pack import tree
from tranship.errors import InvalidArgument, printable
from tranship.formats.tar import TarStream, layer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tranship.endpoints.pack.tree import Node
    from tranship.formats.tar import Member
    from tranship.pump import Reader

_TYPES = {
    stat.S_IFREG: layer.FILE,
    stat.S_IFLNK: layer.SYMLINK,
    stat.S_IFCHR: layer.CHARACTER_DEVICE,
    stat.S_IFBLK: layer.BLOCK_DEVICE,
    stat.S_IFDIR: layer.DIRECTORY,
    stat.S_IFIFO: layer.FIFO,
}  # a socket is none of these: it means nothing without its process


class Item(NamedTuple):
    """A member to be. `data` gives all of its bytes and is valid until the next item is asked for; None: it has none."""

    entry: layer.LayerEntry
    data: Reader | None = None


# --- of a directory ---------------------------------------------------------------------------------------------------


def of_tree(top: int, excluded: Callable[[bytes], bool], notice: Callable[[str], None]) -> Generator[Item]:
    """Everything below an open directory. A file with several names is stored by the first of them; the others link to it.

    FailedPrecondition when something changes while it is read.
    """
    names: dict[tuple[int, int], bytes] = {}
    with contextlib.closing(tree.walk(top, excluded)) as nodes:
        for node in nodes:
            kind = _TYPES.get(stat.S_IFMT(node.status.st_mode))
            if kind is None:
                notice(f"{node} is a socket, which no image can hold: left out")
            elif kind != layer.FILE:
                yield Item(_special(node, kind))
            elif node.status.st_nlink > 1 and (first := names.setdefault(_inode(node), node.path)) != node.path:
                yield Item(_entry(node, layer.HARDLINK, linkname=first))
            else:
                fd = node.open()
                try:
                    xattrs = tree.capability(fd)
                    yield Item(_entry(node, kind, size=node.status.st_size, xattrs=xattrs), _FileData(node, fd))
                    if not node.is_unchanged(fd):
                        raise tree.changed(node)
                finally:
                    os.close(fd)


def bytes_of_tree(top: int, excluded: Callable[[bytes], bool]) -> int:
    """The bytes that `of_tree` will read, by a walk that opens no file."""
    with contextlib.closing(tree.walk(top, excluded)) as nodes:
        sizes = {_inode(n): n.status.st_size for n in nodes if stat.S_ISREG(n.status.st_mode)}
    return sum(sizes.values())


class _FileData:
    """Reads a file to the size that the walk saw, or raises."""

    def __init__(self, node: Node, fd: int) -> None:
        self._node = node
        self._fd = fd
        self._at = 0

    def readinto(self, buffer: memoryview, /) -> int:
        want = min(len(buffer), self._node.status.st_size - self._at)
        got = pump.read_at(self._fd, buffer[:want], self._at) if want else 0
        if want and not got:
            raise tree.changed(self._node)
        self._at += got
        return got


def _special(node: Node, kind: bytes) -> layer.LayerEntry:
    if kind == layer.SYMLINK:
        return _entry(node, kind, linkname=node.target())
    if kind in (layer.CHARACTER_DEVICE, layer.BLOCK_DEVICE):
        return _entry(node, kind, device=(os.major(node.status.st_rdev), os.minor(node.status.st_rdev)))
    return _entry(node, kind)


def _entry(
    node: Node,
    kind: bytes,
    *,
    size: int = 0,
    linkname: bytes = b"",
    device: tuple[int, int] = (0, 0),
    xattrs: dict[bytes, bytes] | None = None,
) -> layer.LayerEntry:
    status = node.status
    return layer.LayerEntry(
        name=node.path,
        type=kind,
        size=size,
        # the permissions of a link mean nothing; Linux says 0777, others 0755
        mode=0o777 if kind == layer.SYMLINK else stat.S_IMODE(status.st_mode),
        owner=(status.st_uid, status.st_gid),
        mtime=status.st_mtime_ns // 10**9,
        linkname=linkname,
        device=device,
        xattrs=xattrs or {},
    )


def _inode(node: Node) -> tuple[int, int]:
    return node.status.st_dev, node.status.st_ino


# --- of a tar ---------------------------------------------------------------------------------------------------------


def of_tar(source: Reader, excluded: Callable[[bytes], bool]) -> Generator[Item]:
    """The members of a tar, in its order, by relative names; its own entry for the top is left out.

    InvalidArgument for a member that leaves the top, and for a hard link to what is not there before it.
    """
    stream = TarStream(source)
    names: set[bytes] = set()
    for member in stream:
        name = relative(_bytes(member.name))
        if not name or _is_excluded(name, excluded):
            continue
        linkname = _bytes(member.linkname)
        if member.kind == "hardlink":
            linkname = relative(linkname)
            if linkname not in names:
                raise InvalidArgument(
                    f"{member} links to {printable(repr(member.linkname))}, which is not there before it",
                    hint="leave both out with --exclude, or neither",
                )
        names.add(name)
        kind = _type(member)
        yield Item(
            layer.LayerEntry(
                name=name,
                type=kind,
                size=member.size,
                mode=0o777 if kind == layer.SYMLINK else member.mode,
                owner=(member.uid, member.gid),
                mtime=member.mtime,
                linkname=linkname if kind in (layer.SYMLINK, layer.HARDLINK) else b"",
                device=member.device,
                xattrs={key.encode(): _bytes(value) for key, value in member.xattrs.items()},
            ),
            stream if member.size else None,
        )


def check_tar(source: Reader) -> None:
    """Read a tar to the end of its file; raise where `of_tar` would for what is no tar."""
    for _ in TarStream(source):
        pass
    while source.readinto(pump.buffer()):
        pass


def relative(name: bytes) -> bytes:
    """The name below the top, cleaned; InvalidArgument when it climbs out."""
    cleaned = posixpath.normpath(name.lstrip(b"/")).lstrip(b"/") if name else b"."
    if cleaned.split(b"/", 1)[0] == b"..":
        raise InvalidArgument(f"{tree.shown(name)} climbs out of the directory that it is to lie in")
    return b"" if cleaned == b"." else cleaned


def _is_excluded(name: bytes, excluded: Callable[[bytes], bool]) -> bool:
    """Is it excluded, or anything that it lies in?"""
    steps = name.split(b"/")
    return any(excluded(b"/".join(steps[:count])) for count in range(1, len(steps) + 1))


def _type(member: Member) -> bytes:
    if member.kind == "directory":
        return layer.DIRECTORY
    if member.kind == "file":
        return layer.FILE
    if member.type != layer.HARDLINK and member.type not in _TYPES.values():
        raise InvalidArgument(f"{member} is of type {printable(repr(member.type))}, which no image can hold")
    return member.type


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
