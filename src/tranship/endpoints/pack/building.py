"""From the path of a Pack to the bytes of its layer: what is found, normalised as asked, put where it belongs."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from tranship import pump
from tranship.endpoints.files import FileReader
from tranship.endpoints.pack import members, tree
from tranship.engine.progress import Progress, Stage
from tranship.errors import InvalidArgument, NotFound, printable
from tranship.formats import compression
from tranship.formats.tar import TRAILER, layer, padding

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tranship.endpoints.pack import Pack
    from tranship.endpoints.pack.layer import LayerFile
    from tranship.endpoints.pack.members import Item
    from tranship.engine.run import Run
    from tranship.formats.tar.layer import LayerEntry
    from tranship.pump import Reader


def build(value: Pack, sink: LayerFile, run: Run) -> None:
    """Write the whole tar of the layer into `sink`."""
    path = os.fspath(value.path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFound(f"there is no directory or tar {printable(path)}", side="source") from None
    try:
        status = os.fstat(fd)
        excluded = tree.excluder(value.exclude)
        if stat.S_ISDIR(status.st_mode):
            advance = _Progress(path, members.bytes_of_tree(fd, excluded), run).advance
            _write(value, members.of_tree(fd, excluded, run.notice), sink, advance)
        elif stat.S_ISREG(status.st_mode):
            raw = _Passing(FileReader(fd), _Progress(path, status.st_size, run).note)
            _write_tar(value, compression.opened(raw)[1], excluded, sink)
        else:
            raise InvalidArgument(f"{printable(path)} is neither a directory nor a file", side="source")
    finally:
        os.close(fd)


def _write_tar(value: Pack, reader: Reader, excluded: Callable[[bytes], bool], sink: LayerFile) -> None:
    """A tar of which nothing is to be changed goes in as it is, checked on its way; any other one member by member."""
    try:
        if value.keeps_everything:
            members.check_tar(_Passing(reader, sink.write))
        else:
            _write(value, members.of_tar(reader, excluded), sink, pump.nothing)
    except InvalidArgument as error:
        if "is no tar archive" not in error.message:
            raise
        raise InvalidArgument(
            f"{printable(os.fspath(value.path))} is neither a directory nor a tar",
            hint="to pack one file, put it into a directory of its own",
            side="source",
        ) from None


def _write(value: Pack, items: Generator[Item], sink: LayerFile, advance: pump.Advance) -> None:
    prefix = members.relative(os.fsencode(value.prefix))
    for parent in _parents(value, prefix):
        sink.write(layer.header(parent))
    with contextlib.closing(items):
        for entry, data in items:
            sink.write(layer.header(_normalised(value, _placed(entry, prefix))))
            advance(0)
            if data is not None:
                pump.pump(data, sink.write, limit=entry.size, advance=advance)
                sink.write(bytes(padding(entry.size)))
    sink.write(TRAILER)


def _parents(value: Pack, prefix: bytes) -> list[LayerEntry]:
    """The directories that the prefix consists of."""
    steps = prefix.split(b"/") if prefix else []
    parent = layer.LayerEntry(
        name=b"", type=layer.DIRECTORY, mode=0o755, owner=value.owner or (0, 0), mtime=value.mtime or 0
    )
    return [replace(parent, name=b"/".join(steps[: n + 1])) for n in range(len(steps))]


def _placed(entry: LayerEntry, prefix: bytes) -> LayerEntry:
    """Below the prefix; a hard link names a member, which is there too."""
    if not prefix:
        return entry
    linkname = prefix + b"/" + entry.linkname if entry.type == layer.HARDLINK else entry.linkname
    return replace(entry, name=prefix + b"/" + entry.name, linkname=linkname)


def _normalised(value: Pack, entry: LayerEntry) -> LayerEntry:
    mode = entry.mode
    if value.mode == "normal" and entry.type != layer.SYMLINK:
        owner = mode & 0o700
        mode = owner | (owner & 0o500) >> 3 | (owner & 0o500) >> 6
    return replace(
        entry,
        mode=mode,
        owner=entry.owner if value.owner is None else value.owner,
        mtime=entry.mtime if value.mtime is None else value.mtime,
    )


class _Progress:
    """Counts the bytes that are read, tells of them now and then, and stops when asked to."""

    def __init__(self, path: str, total: int, run: Run) -> None:
        self._path = path
        self._total = total
        self._run = run
        self._done = 0
        self._due = 0.0

    def advance(self, count: int) -> None:
        """Note `count` more bytes; raise Cancelled when the transfer is to stop."""
        self._run.check()
        self._done += count
        now = time.monotonic()
        if now >= self._due or self._done == self._total:
            self._due = now + 0.1
            self._run.report(
                Progress(
                    stage=Stage.HASHING,
                    event="packing",
                    name=self._path,
                    progress=self._done,
                    total=self._total,
                )
            )

    def note(self, chunk: memoryview) -> None:
        """Count a chunk."""
        self.advance(len(chunk))


class _Passing:
    """A reader that shows to `seen` what passes through it."""

    def __init__(self, reader: Reader, seen: Callable[[memoryview], object]) -> None:
        self._reader = reader
        self._seen = seen

    def readinto(self, view: memoryview, /) -> int:
        got = self._reader.readinto(view) or 0
        if got:
            self._seen(view[:got])
        return got
