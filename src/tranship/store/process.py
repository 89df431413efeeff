"""This process' own folder under `run/`: the sign that it lives, and its scratch.

Whoever holds the flock on `run/ID/alive` lives; no clock, pid or boot id is asked, so it is right in containers too. What a
process left behind is found by the next one that opens the store.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from typing import TYPE_CHECKING

from tranship.errors import Unavailable, printable
from tranship.store import locks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tranship.store.layout import Layout

REPAIR_WAIT = 2.0  # seconds that an opener waits for a repair to end, before it says that one is going on


class Process:
    """The folder, alive from `enter` to `close`."""

    def __init__(self, layout: Layout) -> None:
        """Not in the store yet."""
        self._layout = layout
        self._names = itertools.count()
        self.id = f"{os.getpid()}-{os.urandom(4).hex()}"
        self.folder = f"{layout.run}/{self.id}"
        self._alive = -1
        self._shared = -1

    def share(self) -> None:
        """Hold `lock` with the others; Unavailable while a repair has it for itself."""
        self._shared = os.open(self._layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + REPAIR_WAIT
        while not locks.try_lock(self._shared, shared=True):
            if time.monotonic() > deadline:
                raise Unavailable(f"store {printable(self._layout.root)} is being repaired by another process")
            time.sleep(0.02)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold `lock` against everyone else; Unavailable when another process has the store open."""
        if not locks.try_lock(self._shared):
            self._shared_again()
            raise Unavailable(
                f"store {printable(self._layout.root)} is open in another process",
                hint="stop the daemon and other transfers, then try again",
            )
        try:
            yield
        finally:
            self._shared_again()

    def _shared_again(self) -> None:
        while not locks.try_lock(self._shared, shared=True):  # turning a lock over may lose it for a moment
            time.sleep(0.01)

    def enter(self) -> None:
        """Make the folder and hold its lock. The caller holds the gate, so nobody can take it for abandoned meanwhile."""
        os.mkdir(self.folder, 0o700)
        self._alive = os.open(f"{self.folder}/alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        locks.try_lock(self._alive)

    def staging(self) -> str:
        """A path for a new file of ours."""
        return f"{self.folder}/{next(self._names)}"

    def scratch(self) -> str:
        """A new folder of ours."""
        path = self.staging()
        os.mkdir(path, 0o700)
        return path

    def close(self) -> None:
        """Leave the store."""
        if self._alive >= 0:
            bury(self._layout, self.id)
            os.close(self._alive)
        if self._shared >= 0:
            os.close(self._shared)
        self._alive = self._shared = -1


@contextlib.contextmanager
def gate(layout: Layout) -> Iterator[None]:
    """Let one process at a time enter or be found dead."""
    with locks.waiting(f"{layout.run}/gate"):
        yield


def lives(layout: Layout, process_id: str) -> bool:
    """Does the process of this id still have the store open?"""
    return locks.is_locked(f"{layout.run}/{process_id}/alive")


def abandoned(layout: Layout) -> list[str]:
    """The ids of processes that ended without closing the store. The caller holds the gate."""
    return [name for name in os.listdir(layout.run) if name != "gate" and not lives(layout, name)]


def began(layout: Layout, process_id: str) -> float:
    """When an abandoned process opened the store, in seconds since 1970."""
    with contextlib.suppress(OSError):
        return os.stat(f"{layout.run}/{process_id}/alive").st_mtime
    return time.time()


def bury(layout: Layout, process_id: str) -> None:
    """Remove a process' folder, with whatever is left in it."""
    folder = f"{layout.run}/{process_id}"
    try:
        os.unlink(f"{folder}/alive")
        os.rmdir(folder)
    except OSError:
        import shutil  # costs more than all of the above

        shutil.rmtree(folder, ignore_errors=True)
