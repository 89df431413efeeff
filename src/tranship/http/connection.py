"""urllib3's connections with our bounds: deadlines by progress, capped headers, and bodies at the speed of the socket.

The only module that imports urllib3 at its top and the only one that knows its insides; it is imported when the first
connection is made. What it adds:

- the head of a response has one deadline and one cap, however slowly it drips (and however many "100 Continue" come before it);
- bytes must keep moving in both directions (`limits.Progress`);
- `readinto` gives what has arrived after a moment, instead of waiting until the whole buffer is full;
- bytes that follow a response without having been asked for close the connection, so that they are never taken for an answer.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import logging
import socket
import ssl
import struct
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from tranship.errors import Unavailable
from tranship.formats import response_head
from tranship.http.limits import Progress, Timeouts

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]  # 3.12; only for the checker

    from tranship.http.proxies import Proxy

MAX_HEAD = 64 * 1024  # bytes of a response's status line and headers; http.client caps them at 100 lines of 64 KiB
_MOMENT = 0.1  # seconds after which a read gives what it has
_BUFFER = 16 * 1024  # bytes read ahead of the body


class _WithoutQueries(logging.Filter):
    """Takes the queries out of urllib3's debug messages: object stores keep their signatures there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_WithoutQueries())


class _Source(io.RawIOBase):
    """What a response reads from: the socket, with a deadline while its head comes and a watch on its progress after that."""

    def __init__(self, sock: socket.socket, timeouts: Timeouts, head_seconds: float) -> None:
        self._raw: Any = sock.makefile("rb", buffering=0)
        self._sock = sock
        self._progress = Progress(timeouts)
        self._stall = timeouts.stall
        self._head_until: float | None = time.monotonic() + head_seconds
        self._head_left = MAX_HEAD + _BUFFER
        self._partial_from: float | None = None
        self._failed: OSError | None = None
        self.ended = False

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What http.client asks a socket for."""
        return io.BufferedReader(self, _BUFFER)

    def readable(self) -> bool:
        return True

    def head_is_over(self) -> None:
        """From here on it is the body."""
        self._head_until = None
        self._sock.settimeout(self._stall)

    def allow_partial(self) -> None:
        """Let the next read of the buffer above end when it has something and a moment has passed."""
        self._partial_from = 0.0

    def readinto(self, buffer: Buffer, /) -> int | None:
        if self.ended:
            return 0
        before = time.monotonic()
        if self._head_until is not None:
            left = self._head_until - before
            if left <= 0:
                raise TimeoutError("the head of the response does not end")
            self._sock.settimeout(min(left, self._stall))
        elif self._partial_from and before - self._partial_from > _MOMENT:
            return None  # the buffer above hands over what it has
        if self._failed is not None:
            raise self._failed
        try:
            count: int = self._raw.readinto(buffer)
        except OSError as error:
            if not self._partial_from:
                raise
            self._failed = error  # for the next read; what came before is good, and the buffer above hands it over
            return None
        if self._head_until is not None:
            self._head_left -= count
            if self._head_left < 0:
                raise http.client.HTTPException(f"more than {MAX_HEAD} bytes of headers")
        else:
            after = time.monotonic()
            self._progress.moved(count, after - before)
            if self._partial_from == 0.0:
                self._partial_from = after
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """http.client's response on a `_Source`."""

    def __init__(
        self,
        sock: socket.socket,
        debuglevel: int = 0,
        method: str | None = None,
        url: str | None = None,
        *,
        connection: _Bounded,
    ) -> None:
        # urllib3 sets the connection's timeout to the request's read timeout just before this: the head's deadline.
        head_seconds = (
            connection.timeout if isinstance(connection.timeout, (int, float)) else connection.timeouts.headers
        )
        self._connection = connection
        self._asked = method or "GET"
        self._source = _Source(sock, connection.timeouts, head_seconds)
        super().__init__(self._source, debuglevel, method, url)  # type: ignore[arg-type]  # it asks for a file, and no more

    def begin(self) -> None:
        """Read the head. What comes before the answer itself ("100 Continue", early hints) says nothing to us."""
        try:
            head = response_head.parse(self._head())
            while head.status < 200:
                head = response_head.parse(self._head())
            framing = response_head.framing(head, self._asked)
        except Unavailable as error:  # told as http.client tells its own, so that urllib3 ends the connection
            raise http.client.HTTPException(error.message) from None
        self.version, self.code, self.status, self.reason = 10 + head.minor, head.status, head.status, head.reason
        self.headers = self.msg = http.client.HTTPMessage()
        for name, value in head.fields:
            self.msg[name] = value
        self.chunked, self.length, self.will_close = framing.chunked, framing.length, not framing.stays
        self.chunk_left = None
        self._source.head_is_over()

    def _head(self) -> bytes:
        """The lines up to an empty one, as many as the source lets through."""
        lines = []
        while True:
            line = self.fp.readline()
            lines.append(line)
            if line in (b"\r\n", b"\n"):
                return b"".join(lines)
            if not line.endswith(b"\n"):
                if not any(lines):
                    raise http.client.RemoteDisconnected("the connection was closed without an answer")
                raise http.client.HTTPException("the head of the response ends early")

    def readinto(self, buffer: Buffer) -> int:
        """Read at least a byte of the body, at most what fits; 0 at its end."""
        if not self.chunked:  # http.client reads a chunk whole and takes less for a broken connection
            self._source.allow_partial()
        return super().readinto(buffer)

    def _read_and_discard_trailer(self) -> None:
        """Read what follows the last chunk: it means nothing to us, and is no longer than a head."""
        assert self.fp is not None  # noqa: S101  # the body has not been closed
        left = MAX_HEAD
        while left > 0:
            line = self.fp.readline(left)
            if line in (b"\r\n", b"\n", b""):
                return
            left -= len(line)
        raise http.client.HTTPException(f"more than {MAX_HEAD} bytes of trailers")

    def _close_conn(self) -> None:
        """The response has been read, or is given up. What has come beyond its end is nobody's answer."""
        fp = self.fp
        self._source.ended = True
        surplus = fp is not None and not fp.closed and bool(fp.peek(1))
        super()._close_conn()  # type: ignore[misc]  # http.client's own hook, absent from the type stubs
        if surplus:
            self._connection.close()


class _Bounded(HTTPConnection):
    """A connection that sends by progress and reads through `_Response`."""

    timeouts = Timeouts()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unanswered = False
        self.response_class = partial(_Response, connection=self)  # type: ignore[assignment]  # called like the class

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request."""
        self._unanswered = True
        super().request(*args, **kwargs)

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 does
        """Read the head of the response."""
        response = super().getresponse()
        self._unanswered = False
        return response

    def close(self) -> None:
        """Close; by a reset when a request is under way.

        A plain close would wait behind the bytes that the other side does not take, and it would never hear of it: a registry
        that hangs in the middle of an upload holds the upload's session until then.
        """
        if self._unanswered and self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._unanswered = False
        super().close()

    def send(self, data: Any) -> None:  # bytes or a view of them
        """Send all of `data`, as long as it keeps moving."""
        if self.sock is None:
            self.connect()
        sock = self.sock
        if sock.gettimeout() != self.timeouts.stall:
            sock.settimeout(self.timeouts.stall)
        view = memoryview(data)
        progress = Progress(self.timeouts)
        while view:
            before = time.monotonic()
            sent = sock.send(view)
            progress.moved(sent, time.monotonic() - before)
            view = view[sent:]


class _BoundedTls(_Bounded, HTTPSConnection):
    """The same over TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Bounded
    timeouts = Timeouts()

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.timeouts = self.timeouts
        return connection


class _TlsPool(_Pool, urllib3.HTTPSConnectionPool):
    ConnectionCls = _BoundedTls

    def _validate_conn(self, conn: Any) -> None:
        """Connect; without the warning about unverified certificates, since whoever asked for that was told."""
        if conn.is_closed:
            conn.connect()


def manager(timeouts: Timeouts, context: ssl.SSLContext | None, proxy: Proxy | None) -> urllib3.PoolManager:
    """Connections of one TLS setting, direct or through a proxy, kept open for reuse."""
    if proxy is None:
        found = urllib3.PoolManager(num_pools=32, maxsize=16, ssl_context=context)
    else:
        headers = urllib3.make_headers(proxy_basic_auth=proxy.login.reveal() if proxy.login else None)
        found = urllib3.ProxyManager(proxy.url, num_pools=32, maxsize=16, ssl_context=context, proxy_headers=headers)
    found.pool_classes_by_scheme = {
        "http": type("Pool", (_Pool,), {"timeouts": timeouts}),
        "https": type("TlsPool", (_TlsPool,), {"timeouts": timeouts}),
    }
    return found
