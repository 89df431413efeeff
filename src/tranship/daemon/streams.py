"""The streams that clients have opened, by namespace and id: how a transfer finds the other end of what its request names.

A stream lives until the daemon closes it, its client goes away, or the lease under which it was opened is gone and a
collection comes by (containerd, plugins/streaming). It holds one thread, the RPC's own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from tranship.containerd.outbox import Outbox
from tranship.errors import (
    AlreadyExists,
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    RateLimited,
    TranshipError,
    Unavailable,
    printable,
)
from tranship.formats.stream_window import WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tranship._api.wellknown import Any

MAX_STREAMS = 256  # of one namespace
UNUSED = 600.0  # seconds; clients open a stream a moment before the transfer that names it
GRANTED = 32 << 20  # bytes of window that may be granted to all clients together
LARGE_WINDOW = 4 << 20  # bytes; Go's sender cuts at 32 KiB all the same, but is spared the waiting


class OpenStream:
    """A registered stream, seen from the daemon; a Duplex. One thread may send while another receives."""

    def __init__(self, namespace: str, stream_id: str, lease: str | None, requests: Iterator[Any]) -> None:
        self.namespace = namespace
        self.id = stream_id
        self.lease = lease
        self._requests = requests
        self._outgoing: Outbox[Any] = Outbox()
        self._reading = threading.Lock()
        self.unused_since: float | None = time.monotonic()  # None: a transfer has asked for it
        self._closed = threading.Event()
        self._error: TranshipError | None = None

    @property
    def backlog(self) -> int:
        """Messages that wait for the client to take them."""
        return len(self._outgoing)

    def send(self, message: Any | bytes) -> None:
        """Send a message, soon; see `Outbox`. Cancelled when the stream is closed or its client gone."""
        if not self._outgoing.put(message):
            raise self._gone()

    def receive(self, timeout: float | None = None) -> Any | None:
        """The client's next message; None when it has said that there are no more, Cancelled when it is gone.

        When it takes longer than `timeout` seconds, the stream is closed and DeadlineExceeded raised. FailedPrecondition when
        another transfer waits for it too.
        """
        if not self._reading.acquire(blocking=False):
            raise FailedPrecondition(f'stream "{printable(self.id)}" is read by another transfer')
        timer = threading.Timer(timeout, self._expire, (timeout,)) if timeout is not None else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            message = next(self._requests, None)
        except TranshipError as error:
            raise (self._error or error) from None
        finally:
            self._reading.release()
            if timer is not None:
                timer.cancel()
        if message is None and self._closed.is_set():
            raise self._gone()
        return message

    def flush(self, timeout: float) -> None:
        """Wait, for `timeout` seconds at most, until gRPC has passed on all that was sent, or the client is gone."""
        self._outgoing.drained(timeout)

    def close(self, error: TranshipError | None = None) -> None:
        """End the stream: with OK, so that the client sees its end, or with a status that tells of the error."""
        if not self._closed.is_set():
            self._error = error
            self._closed.set()
            self._outgoing.end()

    def outgoing(self) -> Iterator[Any | bytes]:
        """What goes to the client, for the RPC that serves the stream."""
        yield from self._outgoing
        if self._error is not None:
            raise self._error

    def _expire(self, seconds: float) -> None:
        self.close(
            DeadlineExceeded(f'the client did not answer on stream "{printable(self.id)}" for {seconds:g} seconds')
        )

    def _gone(self) -> TranshipError:
        return self._error or Cancelled(f'stream "{printable(self.id)}" is closed')


class Streams:
    """All open streams of the daemon."""

    def __init__(self, lease_exists: Callable[[str, str], bool]) -> None:
        """`lease_exists(namespace, lease)` is asked when leases may have gone."""
        self._lease_exists = lease_exists
        self._streams: dict[tuple[str, str], OpenStream] = {}
        self._lock = threading.Lock()
        self._stopping = False
        self._users = 0
        self._unused = threading.Condition()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._streams)

    def register(self, stream: OpenStream) -> None:
        """Let transfers find a stream. AlreadyExists when its id is taken, RateLimited when there are too many, Unavailable
        when the daemon is stopping.
        """  # fmt: skip
        self._expire()
        with self._lock:
            if self._stopping:
                raise _stopping(stream.id)
            if (stream.namespace, stream.id) in self._streams:
                raise AlreadyExists(f'stream "{printable(stream.id)}": already exists')
            if sum(namespace == stream.namespace for namespace, _ in self._streams) >= MAX_STREAMS:
                raise RateLimited(f"namespace {stream.namespace} has {MAX_STREAMS} open streams, the most it may have")
            self._streams[stream.namespace, stream.id] = stream

    def get(self, namespace: str, stream_id: str) -> OpenStream:
        """The stream; NotFound, or Unavailable when the daemon is stopping. It may be looked up more than once."""
        with self._lock:
            stream = self._streams.get((namespace, stream_id))
            if stream is not None:
                stream.unused_since = None
        if stream is None and self._stopping:
            raise _stopping(stream_id)
        if stream is None:
            raise NotFound(f'stream "{printable(stream_id)}": not found')
        return stream

    def drop(self, stream: OpenStream) -> None:
        """Forget a stream whose RPC has ended."""
        with self._lock:
            if self._streams.get((stream.namespace, stream.id)) is stream:
                del self._streams[stream.namespace, stream.id]

    def collect(self) -> None:
        """Close the streams whose lease is gone."""
        with self._lock:
            leased = [stream for stream in self._streams.values() if stream.lease]
        for stream in leased:
            if stream.lease and not self._lease_exists(stream.namespace, stream.lease):
                stream.close()

    def _expire(self) -> None:
        """Close the streams that no transfer has asked for, before others are refused for them."""
        latest = time.monotonic() - UNUSED
        with self._lock:
            streams = tuple(self._streams.values())
        for stream in streams:
            if stream.unused_since is not None and stream.unused_since <= latest:
                stream.close(DeadlineExceeded(f"no transfer has named this stream for {UNUSED:g} seconds"))

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Within it, `close` waits."""
        with self._unused:
            self._users += 1
        try:
            yield
        finally:
            with self._unused:
                self._users -= 1
                self._unused.notify_all()

    def close(self, grace: float = 0.0) -> None:
        """Close all of them for good, as soon as nobody uses any, or after `grace` seconds: the daemon is stopping."""
        with self._unused:
            self._unused.wait_for(lambda: not self._users, grace)
        with self._lock:
            self._stopping = True
            streams = tuple(self._streams.values())
        for stream in streams:
            stream.close(_stopping(stream.id))


def _stopping(stream_id: str) -> Unavailable:
    return Unavailable(f'stream "{printable(stream_id)}": the daemon is stopping')


class WindowBudget:
    """How much all clients together may have under way: large windows while there is room, containerd's own after that."""

    def __init__(self, total: int = GRANTED) -> None:
        self._left = total
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def window(self) -> Iterator[int]:
        """A window for one byte stream, for as long as the block lasts; the peer may be ahead by twice as much."""
        with self._lock:
            window = max(WINDOW, min(LARGE_WINDOW, self._left // 4))
            self._left -= 2 * window
        try:
            yield window
        finally:
            with self._lock:
                self._left += 2 * window
