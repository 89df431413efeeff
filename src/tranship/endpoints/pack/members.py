"""What goes into a layer, from a directory or from a tar: entries, each with a way to read its data."""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
from typing import TYPE_CHECKING, NamedTuple

from tranship import pump
from tranship.endpoints.pack import tree
from tranship.errors import InvalidArgument, NotFound, Truncated, printable
from tranship.formats import tar
from tranship.formats.tar import layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tranship.endpoints.pack.tree import Node
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
    """One member to be: `copy` hands all of its data to a sink, and is None where there is none."""

    entry: layer.LayerEntry
    copy: Callable[[Callable[[memoryview], object]], object] | None = None


def of_tree(top: int, excluded: Callable[[bytes], bool], notice: Callable[[str], None]) -> Iterator[Item]:
    """Everything below an open directory. A file with several names is stored once, by the first; the others link to it."""
    first_names: dict[tuple[int, int], bytes] = {}
    with contextlib.closing(tree.walk(top, excluded)) as nodes:
        for node in nodes:
            status = node.status
            kind = _TYPES.get(stat.S_IFMT(status.st_mode))
            if kind is None:
                notice(f"{node} is a socket, which no image can hold; it is left out")
                continue
            first = node.path
            if kind == layer.FILE and status.st_nlink > 1:
                first = first_names.setdefault((status.st_dev, status.st_ino), node.path)
            yield _found(node, kind) if first == node.path else Item(_linked(node, first))


def _found(node: Node, kind: bytes) -> Item:
    if kind != layer.FILE:
        linkname = node.target() if kind == layer.SYMLINK else b""
        number = node.status.st_rdev if kind in (layer.CHARACTER_DEVICE, layer.BLOCK_DEVICE) else 0
        return Item(_entry(node, kind, linkname=linkname, device=(os.major(number), os.minor(number))))
    fd = node.open()
    try:
        entry = _entry(node, kind, size=node.status.st_size, xattrs=tree.capability(fd))
    except BaseException:
        os.close(fd)
        raise
    return Item(entry, lambda sink: _copy(node, fd, sink))


def _linked(node: Node, first: bytes) -> layer.LayerEntry:
    return _entry(node, layer.HARDLINK, linkname=first)
