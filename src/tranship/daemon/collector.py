"""When content is collected: containerd's schedule (plugins/gc/scheduler.go), over the store's own collection.

A deletion brings a run about at once, or at the next slot when the last run was a moment ago; so do a hundred changes of other
kinds. Slots are as far apart as keeps collection below a fiftieth of the time.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from tranship.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

STARTUP_DELAY = 0.1  # seconds; containerd's startup_delay
SHARE = 0.02  # of the time at most; containerd's pause_threshold
SHORTEST = 0.005  # seconds that a run is taken to last at least
MUTATIONS = 100  # changes that make a run worthwhile; containerd's mutation_threshold

log = logging.getLogger(__name__)


class Collector:
    """Runs collections in a thread of its own, from `start` to `stop`."""

    def __init__(self, collect: Callable[[], object]) -> None:
        """`collect` does the work of one run."""
        self._collect = collect
        self._condition = threading.Condition()
        self._due: float | None = None  # monotonic time of the planned run
        self._slot = time.monotonic() + STARTUP_DELAY  # no run of its own accord before this
        self._average = SHORTEST
        self._changes = 0
        self._waiting: list[Future[None]] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="collector", daemon=True)

    def start(self) -> None:
        """Begin to work. What was left over from before is collected first."""
        self.deleted()
        self._thread.start()

    def stop(self) -> None:
        """Finish the run that is going on, and end."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        if self._thread.is_alive():
            self._thread.join()

    def deleted(self) -> None:
        """Something was deleted, so something may have become garbage."""
        with self._condition:
            if self._due is None:
                self._due = self._slot
                self._condition.notify()

    def changed(self) -> None:
        """Something was made or changed."""
        self._changes += 1  # that a race loses one does not matter
        if self._changes >= MUTATIONS:
            self.deleted()

    def run(self) -> None:
        """Collect now, and return when that is done; raises what the run raises."""
        done: Future[None] = Future()
        with self._condition:
            self._waiting.append(done)
            self._condition.notify()
            if self._stopping:
                done.set_exception(_stopping())
        done.result()

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._stopping and not self._waiting and not self._is_due():
                    self._condition.wait(None if self._due is None else max(0.0, self._due - time.monotonic()))
                waiting, self._waiting, self._due, self._changes = self._waiting, [], None, 0
                if self._stopping:
                    for done in waiting:
                        if not done.done():
                            done.set_exception(_stopping())
                    return
            self._one(waiting)

    def _is_due(self) -> bool:
        return self._due is not None and self._due <= time.monotonic()

    def _one(self, waiting: list[Future[None]]) -> None:
        started = time.monotonic()
        try:
            self._collect()
        except Exception as error:  # the next run may succeed, and whoever waits hears of it
            log.exception("collection failed")
            for done in waiting:
                done.set_exception(error)
        else:
            for done in waiting:
                done.set_result(None)
        ended = time.monotonic()
        self._average = max(SHORTEST, (self._average + (ended - started)) / 2)
        self._slot = ended + self._average / SHARE - self._average


def _stopping() -> Unavailable:
    return Unavailable("gc failed: the daemon is stopping")
