"""What requests may cost: time without progress, requests at once, and bytes a second."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from. Durations are monotonic; only dates from servers are compared with the wall clock.

    `sleep` may raise to end the waiting (Cancelled), and then nothing is waited for. So may `check`, which is asked every half
    second by who waits for a server.
    """

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    check: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds, each of them by progress: a transfer of any length is fine while it moves.

    connect  for each step to a connection: an address that is tried, a TLS handshake, the tunnel of a proxy
    headers  from the end of a request until the whole head of its response is there
    commit   the same after an upload: registries hash and move the blob before they answer
    stall    without a byte in either direction; and that long may less than `floor` bytes a second arrive
    """

    connect: float = 10.0
    headers: float = 30.0
    commit: float = 300.0
    stall: float = 60.0
    floor: int = 1024  # bytes a second

    @classmethod
    def of(cls, silence: float) -> Timeouts:
        """The usual ones, none of them longer than a user wants to wait for a silent server (but for a commit, which works)."""
        usual = cls()
        return cls(
            connect=min(usual.connect, silence),
            headers=min(usual.headers, silence),
            commit=max(usual.commit, silence),
            stall=silence,
        )


class Progress:
    """Judges whether bytes move: `floor` bytes a second, averaged over `stall` seconds of waiting for the other side.

    Only time spent waiting counts, so a slow disk of ours, or a limit that the user set, is not held against a server.
    """

    __slots__ = ("_bytes", "_floor", "_stall", "_waited")

    def __init__(self, timeouts: Timeouts) -> None:
        self._stall = timeouts.stall
        self._floor = timeouts.floor
        self._waited = 0.0
        self._bytes = 0

    def moved(self, count: int, waited: float) -> None:
        """Note `count` bytes after `waited` seconds; TimeoutError when it has been too slow for too long."""
        self._bytes += count
        self._waited += waited
        if self._waited >= self._stall:
            if self._bytes < self._floor * self._waited:
                raise TimeoutError(f"{self._bytes} bytes in {self._waited:.0f} seconds")
            self._waited, self._bytes = 0.0, 0


class Slots:
    """How many threads talk to a host at once.

    Nobody who holds a slot waits for another: a thread that reads from one host while it writes to another (or to the
    same) takes the second slot at once, whether it is free or not. So there is no order of hosts in which threads could
    block each other; the price is that a host which is only ever second in line may see a few connections more.
    """

    def __init__(self, per_host: int) -> None:
        self._per_host = per_host
        self._free = threading.Condition()
        self._used: dict[str, int] = {}
        self._mine = threading.local()

    @contextlib.contextmanager
    def slot(self, host: str) -> Iterator[None]:
        """Hold a slot of `host` (acquired and released by the same thread)."""
        self.acquire(host)
        try:
            yield
        finally:
            self.release(host)

    def acquire(self, host: str) -> None:
        """Take a slot, and wait for it only as a thread that has none."""
        held: int = getattr(self._mine, "held", 0)
        with self._free:
            if not held:
                self._free.wait_for(lambda: self._used.get(host, 0) < self._per_host)
            self._used[host] = self._used.get(host, 0) + 1
        self._mine.held = held + 1

    def release(self, host: str) -> None:
        """Give a slot back."""
        self._mine.held = max(0, getattr(self._mine, "held", 0) - 1)
        with self._free:
            self._used[host] -= 1
            self._free.notify_all()


class Throttle:
    """At most `rate` bytes a second through everybody who shares this, in both directions; None: no limit.

    Each taker is given a time before which it may not go on; so the rate holds over any number of threads, and nobody computes
    more than an addition under the lock.
    """

    def __init__(self, rate: int | None, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._until = 0.0

    def share(self, count: int) -> int:
        """How many of `count` bytes to move at once, so that they come in a stream and not in gulps."""
        return count if self._rate is None else min(count, max(4096, self._rate // 8))

    def take(self, count: int) -> None:
        """Wait until `count` bytes more have passed no faster than the rate."""
        if self._rate is None or count <= 0:
            return
        with self._lock:
            now = self._clock.monotonic()
            self._until = max(self._until, now) + count / self._rate
            wait = self._until - now
        if wait > 0:
            self._clock.sleep(wait)
