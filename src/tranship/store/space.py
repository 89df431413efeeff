"""Room: a quota for the whole store, and the disk's free bytes."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from tranship import files
from tranship.errors import NoSpace, printable

if TYPE_CHECKING:
    import sqlite3

    from tranship.store.database import Database

MARGIN = 256 << 20  # bytes of the disk that a transfer leaves free, at most; less on a small one:
MARGIN_PART = 100  # a hundredth of it
RECOUNT = 1.0  # seconds for which a count of the recorded bytes is good enough while writing


class Space:
    """Counts what is written against the quota. Nothing is counted when there is none."""

    def __init__(self, root: str, database: Database, quota: int | None) -> None:
        """`quota` in bytes, for blobs and unfinished ones of all namespaces together."""
        self._root = root
        self._database = database
        self.quota = quota
        self._lock = threading.Lock()
        self._in_flight = 0
        self._recorded = 0
        self._counted_at = float("-inf")

    def need(self, count: int) -> None:
        """NoSpace unless `count` more bytes fit, on the disk and within the quota. A look, not a booking."""
        import os

        usage = os.statvfs(self._root)
        margin = min(MARGIN, usage.f_blocks * usage.f_frsize // MARGIN_PART)
        free = files.free_bytes(self._root) - margin
        if count > free:
            self._refuse(count, max(free, 0), "the disk has")
        if self.quota is not None:
            self._counted_at = float("-inf")
            self._fits(count)

    def claim(self, count: int) -> None:
        """Count bytes that are about to be written; NoSpace when they exceed the quota. `free` them when named or gone."""
        if self.quota is not None and count:
            with self._lock:
                self._fits(count)
                self._in_flight += count

    def free(self, count: int) -> None:
        """Take back a claim."""
        if self.quota is not None:
            with self._lock:
                self._in_flight -= count
                self._counted_at = float("-inf")

    def check(self, connection: sqlite3.Connection, count: int) -> None:
        """NoSpace unless `count` new bytes fit beside what is recorded, exactly: within the transaction that adds them."""
        if self.quota is not None and count:
            recorded = _recorded(connection)
            if recorded + count > self.quota:
                self._refuse(count, max(self.quota - recorded, 0), f"the store's quota of {self.quota} bytes has")

    def _fits(self, count: int) -> None:
        if self.quota is None:
            return
        fresh = time.monotonic() - self._counted_at > RECOUNT
        if fresh:
            with self._database.read() as connection:
                self._recorded = _recorded(connection)
            self._counted_at = time.monotonic()
        left = self.quota - self._recorded - self._in_flight
        if count > left and not fresh:  # somebody may have collected since
            self._counted_at = float("-inf")
            self._fits(count)
        elif count > left:
            self._refuse(count, max(left, 0), f"the store's quota of {self.quota} bytes has")

    def _refuse(self, needed: int, free: int, owner: str) -> None:
        raise NoSpace(
            f"no space for {needed} bytes in store {printable(self._root)}: {owner} {free} bytes left",
            path=self._root,
            needed=needed,
            free=free,
        )


def _recorded(connection: sqlite3.Connection) -> int:
    blobs, ingests = connection.execute(
        "SELECT (SELECT coalesce(sum(size), 0) FROM blobs), (SELECT coalesce(sum(length), 0) FROM ingests)"
    ).fetchone()
    return int(blobs + ingests)
