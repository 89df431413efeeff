"""Scratch: a folder for what must be a file before it can be used, and the bound on what may lie there."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from tranship.errors import NoSpace
from tranship.files import free_bytes, no_space_as_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tranship.engine.run import Run

_SPARE = 64 << 20  # bytes that are left free on the file system, at most; less on a small one:
_SPARE_PART = 100  # a hundredth of it


class Scratch:
    """A folder of files, which together take no more than the user allows (`Limits.max_scratch`) and the disk has."""

    def __init__(self, folder: str, run: Run) -> None:
        self.folder = folder
        usage = os.statvfs(folder)
        spare = min(_SPARE, usage.f_blocks * usage.f_frsize // _SPARE_PART)
        room = max(0, free_bytes(folder) - spare)
        self._left = min(room, run.limits.max_scratch) if run.limits.max_scratch is not None else room

    def path(self, name: str) -> str:
        """Where a file of that name lies; names are ours, never a stranger's."""
        return os.path.join(self.folder, name)

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[int]:
        """Give the descriptor of a new file, to write what `take` has allowed."""
        fd = os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with no_space_as_error(self.folder):
                yield fd
        finally:
            os.close(fd)

    def take(self, count: int, what: str) -> None:
        """Note that `count` bytes more are about to be written; NoSpace when there is no room. `what` is safe to print."""
        if count > self._left:
            raise NoSpace(
                f"{what} needs {count} bytes more of scratch, which has room for {self._left}",
                path=self.folder,
                needed=count,
                free=self._left,
            )
        self._left -= count


@contextlib.contextmanager
def opened(run: Run) -> Iterator[Scratch]:
    """A new folder, where the destination lends a place (the store does) there, else in TMPDIR; removed in the end."""
    import shutil  # two that cost more than reading an archive that is a file
    import tempfile

    folder = tempfile.mkdtemp(prefix="tranship-", dir=run.scratch_folder)
    try:
        yield Scratch(folder, run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
