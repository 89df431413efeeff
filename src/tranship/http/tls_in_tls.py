"""TLS over a connection of TLS: through a proxy that is itself spoken to by TLS. Python's own goes over sockets alone."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from tranship.http.dial import Socket

T = TypeVar("T")
_PIECE = 16 * 1024  # bytes: no record of TLS holds more


class TlsInTls:
    """The inner connection, with as much of a socket as a connection needs. Every call ends within the timeout."""

    def __init__(self, outer: Socket, context: ssl.SSLContext, host: str, seconds: float) -> None:
        self._outer = outer
        self._seconds = seconds
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._inner = context.wrap_bio(self._came, self._goes, server_hostname=host)
        self._unsent = bytearray()
        self._done(self._inner.do_handshake)

    def settimeout(self, seconds: float, /) -> None:
        """For each call from here on."""
        self._seconds = seconds

    def setsockopt(self, level: int, name: int, value: bytes, /) -> None:
        """Of the socket below."""
        self._outer.setsockopt(level, name, value)

    def fileno(self) -> int:
        """Of the socket below."""
        return self._outer.fileno()

    def pending(self) -> int:
        """Bytes that have come: some of them may be TLS's own, so that more than 0 says only that it is not silent."""
        outer: Callable[[], int] | None = getattr(self._outer, "pending", None)
        return self._inner.pending() + self._came.pending + (outer() if outer is not None else 0)

    def send(self, data: memoryview, /) -> int:
        """Send at most a record's worth; gives how much."""
        piece = data[:_PIECE]
        return self._done(lambda: self._inner.write(piece))

    def recv(self, count: int, /) -> bytes:
        """What has come, at least a byte; b"" at the end."""
        room = memoryview(bytearray(count))
        return bytes(room[: self.recv_into(room)])

    def recv_into(self, view: memoryview, /) -> int:
        """The same, into a buffer."""
        try:
            count = self._done(lambda: self._inner.read(len(view), view))
            return cast("int", count)  # with a buffer it is one
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return 0  # as Python's own sockets do: lengths tell whether it came too early

    def close(self) -> None:
        """Close both."""
        self._outer.close()

    def _done(self, call: Callable[[], T]) -> T:
        """Have OpenSSL do it, with as many bytes from below as that takes."""
        until = time.monotonic() + self._seconds
        while True:
            try:
                result = call()
            except ssl.SSLWantReadError:
                self._flush(until)
                self._outer.settimeout(_left(until))
                data = self._outer.recv(2 * _PIECE)
                if data:
                    self._came.write(data)
                else:
                    self._came.write_eof()
            else:
                self._flush(until)
                return result

    def _flush(self, until: float) -> None:
        self._unsent += self._goes.read()  # what did not go in time goes first the next time
        while self._unsent:
            self._outer.settimeout(_left(until))
            del self._unsent[: self._outer.send(memoryview(bytes(self._unsent)))]


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("no whole record of TLS in time")
    return left
