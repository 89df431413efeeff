"""The connections of a client: those that are free are used again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tranship.http.connection import Connection
from tranship.http.dial import Dialer, Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from tranship.http.limits import Timeouts

_MOST_IDLE = 64  # connections that wait for a request, over all hosts; whoever has waited longest makes room


class Pool:
    """Gives connections out, each to one user at a time. Threads share it."""

    def __init__(self, timeouts: Timeouts, check: Callable[[], None] = lambda: None) -> None:
        self._timeouts = timeouts
        self._check = check
        self._dialer = Dialer(timeouts)
        self._lock = threading.Lock()
        self._idle: list[tuple[Route, Connection]] = []  # who came back last stands last
        self._closed = False

    def take(self, route: Route, seconds: float) -> Connection:
        """A connection that waits, or a new one, which stands within `seconds`. Raises what `Dialer.dial` does."""
        while (found := self._waiting(route)) is not None:
            if found.silent:
                return found
            found.close()
        sock = self._dialer.dial(route, seconds)
        return Connection(sock, self._timeouts, lambda connection: self._keep(route, connection), self._check)

    def close(self) -> None:
        """Close those that wait, and those that come back later."""
        with self._lock:
            idle, self._idle, self._closed = self._idle, [], True
        for _, connection in idle:
            connection.close()

    def _waiting(self, route: Route) -> Connection | None:
        with self._lock:
            for at in range(len(self._idle) - 1, -1, -1):
                if self._idle[at][0] == route:
                    return self._idle.pop(at)[1]
        return None

    def _keep(self, route: Route, connection: Connection) -> None:
        with self._lock:
            self._idle.append((route, connection))
            oldest = self._idle.pop(0)[1] if self._closed or len(self._idle) > _MOST_IDLE else None
        if oldest is not None:
            oldest.close()
