"""Messages on their way out: from whoever has something to say to the thread in which gRPC takes them."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

Q = TypeVar("Q")
ROOM = 2  # encoded messages; those are of byte streams, and large


class Outbox(Generic[Q]):
    """Iterating gives the messages in order, until `end` was said and all that was put before it is given out.

    What is encoded already waits for room: a peer may grant a window of gigabytes and take nothing from it.
    """

    def __init__(self) -> None:
        self._waiting: deque[Q | bytes] = deque()
        self._encoded = 0  # of those
        self._ended = False
        self._taken = False  # all that was given out is dealt with
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Messages that wait to be taken."""
        return len(self._waiting)

    def put(self, message: Q | bytes) -> bool:
        """Send one more. False: `end` was said before, or while this waited for room."""
        with self._changed:
            if isinstance(message, bytes):
                self._changed.wait_for(lambda: self._ended or self._encoded < ROOM)
            if self._ended:
                return False
            self._waiting.append(message)
            self._encoded += isinstance(message, bytes)
            self._changed.notify_all()
            return True

    def end(self) -> None:
        """There will be no more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def drained(self, timeout: float) -> bool:
        """Wait, for `timeout` seconds at most, until every message was taken, and whoever takes them came back for more."""
        with self._changed:
            return self._changed.wait_for(lambda: self._taken and not self._waiting, timeout)

    def __iter__(self) -> Iterator[Q | bytes]:
        try:
            while True:
                with self._changed:
                    self._taken = True
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._waiting or self._ended)
                    if not self._waiting:
                        return
                    message = self._waiting.popleft()
                    self._encoded -= isinstance(message, bytes)
                    self._taken = False
                    self._changed.notify_all()
                yield message
        finally:
            with self._changed:
                self._taken = self._ended = True  # nobody comes for more
                self._waiting.clear()
                self._changed.notify_all()
