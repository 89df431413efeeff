"""HTTP/1.1 over one accepted connection: strict reading, plain writing, nothing about registries.

What other servers forgive is refused with 400, so that a client's slip shows: two lengths, a length beside `chunked`, folded
header lines, a bare line feed, an absolute request target, more or less than one Host.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from tranship.testing.registry.messages import ClientGone, Exchange, Hangup, Headers, Refusal, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HEAD = 64 * 1024  # bytes of request line and header fields
DRAIN = 256 * 1024  # bytes of an unread body that are read on to keep the connection; as Go's server does
_TOGETHER = 8 * 1024  # bytes of a body that go out with what follows it
_STEP = 4 << 20  # bytes of a file that are handed to the kernel, and counted, at once
_REQUEST_LINE = re.compile(r"([A-Z]+) (/[!-~]*) HTTP/1\.([01])")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}(?:;[^\r\n]*)?")
_RDHUP: int = getattr(select, "POLLRDHUP", 0)  # Linux; elsewhere POLLHUP tells the same, later
_BODILESS = frozenset({204, 304})


class Connection:
    """One client's connection. `sock` is closed by `close` alone."""

    def __init__(self, sock: socket.socket, number: int, origin: str) -> None:
        self.sock = sock
        self.number = number
        self.origin = origin
        self._buffer = bytearray()
        self._persistent = True
        self._abandoned = False
        self._body: _BodyReader | None = None  # of the request that is being answered

    def read_request(self, kind_of: Callable[[str, str], str]) -> Request | None:
        """The next request, its body still unread; None when the client has closed. Raises Refusal for a malformed one."""
        head = self._read_head()
        if head is None:
            return None
        line, *fields = head.decode("latin-1").split("\r\n")
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            raise _malformed(f"request line {line[:100]!r}")
        method, target, minor = match.groups()
        headers = Headers()
        for text in fields:
            parts = _FIELD.fullmatch(text)
            if parts is None:
                raise _malformed(f"header line {text[:100]!r}")
            headers.add(parts[1], parts[2])
        tokens = {token.strip().lower() for value in headers.all("Connection") for token in value.split(",")}
        self._persistent = "close" not in tokens if minor == "1" else "keep-alive" in tokens
        length = _body_length(headers)
        exchange = Exchange(method, target, headers, kind_of(method, target), self.number)
        if isinstance(self.sock, ssl.SSLSocket):
            exchange.certificate = self.sock.getpeercert() or None
        expects = (headers.get("Expect") or "").lower() == "100-continue"
        self._body = _BodyReader(self, exchange, length, expects=expects)
        return Request(method, target, headers, self._body, length, exchange, self.origin, self.stop_reading, self.wait)

    def send(self, response: Response, request: Request | None) -> bool:
        """Answer; False when the connection cannot serve another request."""
        unread = self._body is not None and not self._drain(self._body)
        if unread or request is None or not self._persistent:
            response.close = True
        head = response.head()
        if request is not None:
            request.exchange.status = response.status
        for raw in response.before:
            self.sock.sendall(raw)
        has_body = (request is None or request.method != "HEAD") and response.status not in _BODILESS
        if response.after and response.framing == "length" and response.body.size <= _TOGETHER:
            # In one piece, so that the client has all of it before it can ask again.
            body = b"".join(map(bytes, response.body.chunks())) if has_body else b""
            self.sock.sendall(head + body + response.after)
        else:
            if response.pause:
                self._drip(head, response.pause)
            else:
                self.sock.sendall(head)
            if has_body:
                self._send_body(response, request.exchange if request is not None else None)
            if response.after:
                self.sock.sendall(response.after)
        ends = response.close or response.framing == "close"
        if ends:
            self._linger()
        return not ends

    def close(self, *, reset: bool = False) -> None:
        """Close the socket; `reset` makes the kernel send RST and forget what it had not delivered."""
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def stop_reading(self) -> None:
        """Let the reader find the end of what has arrived. Called from other threads."""
        self._abandoned = True
        with suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RD)

    def wait(self, seconds: float) -> bool:
        """Pause; True as soon as the client has closed its side, or the server closes ours."""
        poll = select.poll()
        poll.register(self.sock, _RDHUP | select.POLLHUP | select.POLLERR)
        end = time.monotonic() + seconds
        while not self._abandoned:
            left = end - time.monotonic()
            if left <= 0:
                return False
            if poll.poll(min(left, 0.1) * 1000):
                break
        return True

    def receive(self, view: memoryview) -> int:
        """Bytes from the buffer, or else from the socket; 0 is the client's end."""
        if self._buffer:
            got = min(len(view), len(self._buffer))
            view[:got] = self._buffer[:got]
            del self._buffer[:got]
            return got
        return self.sock.recv_into(view)

    def read_line(self, limit: int) -> bytes:
        """The next line without its CRLF."""
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > limit or not self._fill():
                raise ClientGone
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _read_head(self) -> bytes | None:
        searched = 0
        while (end := self._buffer.find(b"\r\n\r\n", max(0, searched - 3))) < 0:
            searched = len(self._buffer)
            if (
                searched and not 0x41 <= self._buffer[0] <= 0x5A
            ):  # clients try TLS first, and wait for an answer to that
                raise _malformed("it does not begin with a method")
            if searched > MAX_HEAD:
                raise Refusal(431, "UNSUPPORTED", f"the request's header has more than {MAX_HEAD} bytes")
            if not self._fill():
                return None
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        return head

    def _fill(self) -> bool:
        data = self.sock.recv(64 * 1024)
        self._buffer += data
        return bool(data)

    def _drain(self, body: _BodyReader) -> bool:
        """Read the rest of a body that the handler did not want; False when that would be long."""
        if body.awaited or (
            body.left is not None and body.left > DRAIN
        ):  # awaited: the client waits for leave to send it
            return False
        view, start = memoryview(bytearray(64 * 1024)), body.received
        while body.readinto(view):
            if body.received - start > DRAIN:
                return False
        return True

    def _send_body(self, response: Response, exchange: Exchange | None) -> None:
        body = response.body
        if body.file is not None and response.framing == "length" and not isinstance(self.sock, ssl.SSLSocket):
            self._send_file(*body.file, body.size, exchange)
            return
        for chunk in body.chunks():
            if exchange is not None:
                exchange.sent += len(chunk)
            if response.framing != "chunked":
                self.sock.sendall(chunk)
            elif chunk:  # an empty one would be the end
                self.sock.sendall(b"%x\r\n" % len(chunk))
                self.sock.sendall(chunk)
                self.sock.sendall(b"\r\n")
        if response.framing == "chunked":
            self.sock.sendall(b"0\r\n\r\n")

    def _send_file(self, path: str, offset: int, count: int, exchange: Exchange | None) -> None:
        with open(path, "rb") as file:
            while count:
                step = min(count, _STEP)
                if exchange is not None:
                    exchange.sent += step
                self.sock.sendfile(file, offset, step)
                offset, count = offset + step, count - step

    def _drip(self, data: bytes, pause: float) -> None:
        for place in range(len(data)):
            self.sock.sendall(data[place : place + 1])
            if self.wait(pause):
                raise ClientGone

    def _linger(self) -> None:
        """Let the client read our answer before the socket closes: closing over unread bytes would reset it."""
        with suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
            self.sock.settimeout(1.0)
            for _ in range(1024):
                if not self.sock.recv(64 * 1024):
                    break


class _BodyReader:
    """A request's body: by its length, or chunked when that is None."""

    def __init__(self, connection: Connection, exchange: Exchange, length: int | None, *, expects: bool) -> None:
        self._connection = connection
        self._exchange = exchange
        self._chunked = length is None
        self._left = length or 0  # bytes of the body, or of the current chunk
        self._ended = False
        self.awaited = expects and length != 0
        self.stop: tuple[int, Callable[[], Hangup]] | None = None

    @property
    def left(self) -> int | None:
        """Bytes that are still to come; None: chunked, nobody knows."""
        return None if self._chunked else self._left

    @property
    def received(self) -> int:
        return self._exchange.received

    @received.setter
    def received(self, count: int) -> None:
        self._exchange.received = count

    def readinto(self, buffer: memoryview, /) -> int:
        if self.awaited:
            self._connection.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.awaited = False
        if self._chunked and not self._left and not self._ended:
            self._next_chunk()
        want = min(len(buffer), self._left)
        if self.stop is not None:
            allowed, hangup = self.stop
            if self.received >= allowed:
                raise hangup()
            want = min(want, allowed - self.received)
        if not want:
            return 0
        try:
            got = self._connection.receive(buffer[:want])
        except OSError:
            raise ClientGone from None
        if not got:
            raise ClientGone
        self._left -= got
        self.received += got
        if self._chunked and not self._left and self._connection.read_line(2):
            raise ClientGone
        return got

    def _next_chunk(self) -> None:
        line = self._connection.read_line(1024)
        if not _CHUNK_SIZE.fullmatch(line):
            raise ClientGone
        self._left = int(line.partition(b";")[0], 16)
        if not self._left:
            self._ended = True
            while self._connection.read_line(MAX_HEAD):
                pass


def _body_length(headers: Headers) -> int | None:
    lengths, codings = headers.all("Content-Length"), headers.all("Transfer-Encoding")
    if len(headers.all("Host")) != 1:
        raise _malformed("exactly one Host is needed")
    if codings:
        if lengths or [coding.lower() for coding in codings] != ["chunked"]:
            raise _malformed("Transfer-Encoding must be chunked, and without a Content-Length")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not re.fullmatch(r"[0-9]{1,19}", lengths[0]):
        raise _malformed("Content-Length must be one number")
    return int(lengths[0])


def _malformed(what: str) -> Refusal:
    return Refusal(400, "UNSUPPORTED", f"malformed request: {what}")
