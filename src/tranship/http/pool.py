"""The connections of a client: those that are free are used again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from tranship.http.connection import Connection
from tranship.http.dial import Dialer, Route

if TYPE_CHECKING:
    from tranship.http.limits import Clock, Timeouts

_MOST_IDLE = 64  # connections that wait for a request, over all hosts; whoever has waited longest makes room
# Seconds. What lies between may have forgotten a connection that nothing went over (routers do after some minutes), and lets
# requests vanish without a word; many servers end one after 75 seconds, or 60.
_LONGEST_IDLE = 60.0


class _Idle(NamedTuple):
    """A connection that waits for a request, since `since` (monotonic seconds)."""

    route: Route
    connection: Connection
    since: float


class Pool:
    """Gives connections out, each to one user at a time. Threads share it."""

    def __init__(self, timeouts: Timeouts, clock: Clock) -> None:
        self._timeouts = timeouts
        self._clock = clock
        self._dialer = Dialer(timeouts)
        self._lock = threading.Lock()
        self._idle: list[_Idle] = []  # who came back last stands last
        self._closed = False

    def take(self, route: Route, seconds: float, *, fresh: bool = False) -> Connection:
        """A connection that waits, or a new one, which stands within `seconds`. Raises what `Dialer.dial` does.

        `fresh`: a new one in any case.
        """
        oldest = self._clock.monotonic() - _LONGEST_IDLE
        while not fresh and (found := self._waiting(route)) is not None:
            if found.since > oldest and found.connection.silent:
                return found.connection
            found.connection.close()
        sock = self._dialer.dial(route, seconds)
        return Connection(sock, self._timeouts, lambda connection: self._keep(route, connection), self._clock.check)

    def close(self) -> None:
        """Close those that wait, and those that come back later."""
        with self._lock:
            idle, self._idle, self._closed = self._idle, [], True
        for each in idle:
            each.connection.close()

    def _waiting(self, route: Route) -> _Idle | None:
        with self._lock:
            for at in range(len(self._idle) - 1, -1, -1):
                if self._idle[at].route == route:
                    return self._idle.pop(at)
        return None

    def _keep(self, route: Route, connection: Connection) -> None:
        with self._lock:
            self._idle.append(_Idle(route, connection, self._clock.monotonic()))
            first = self._idle.pop(0) if self._closed or len(self._idle) > _MOST_IDLE else None
        if first is not None:
            first.connection.close()
