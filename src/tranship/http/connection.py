"""One connection: requests go out, heads and bodies of answers come in, each within its bounds.

- The head of an answer has one deadline and one cap, however slowly it drips (and however many "100 Continue" come before it).
- Bytes must keep moving in both directions (`limits.Progress`).
- `readinto` gives what has arrived after a moment, instead of waiting until the whole buffer is full.
- Bytes that follow an answer without having been asked for end the connection, so that they are never taken for an answer.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
import time
from typing import TYPE_CHECKING

from tranship.errors import Unavailable
from tranship.formats import response_head
from tranship.http.failures import BadAnswer, EndedEarly
from tranship.http.limits import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tranship.http.limits import Timeouts

MAX_HEAD = 64 * 1024  # bytes of a response's status line and headers
_MOMENT = 0.1  # seconds after which a read gives what it has
_BUFFER = 16 * 1024  # bytes asked for while a head is read, so at most as many of the body come with it
_END_OF_HEAD = re.compile(rb"(?:\A|\n)\r?\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_JOINED = 16 * 1024  # bytes of a body that go out with their head: one system call, and one packet, less


class Connection:
    """A socket that one request after another goes through. `kept` takes it back when another request may follow."""

    def __init__(self, sock: socket.socket, timeouts: Timeouts, kept: Callable[[Connection], None]) -> None:
        self._sock = sock
        self._timeouts = timeouts
        self._kept = kept
        self._seconds = -1.0  # the socket's timeout, so that it is not set anew for each request
        self._ahead = memoryview(b"")  # what has come and nobody has read
        self._unanswered = False
        self._failed: Exception | None = None  # met after bytes that were good
        self._progress = Progress(timeouts)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    @property
    def silent(self) -> bool:
        """Is it open, with nothing to read? What has come between two requests is an end, or nobody's answer."""
        return not self._poll.poll(0)

    def ask(self, head: bytes, body: Iterator[memoryview] | None, method: str, head_seconds: float) -> Incoming:
        """Send a request, and read the head of its answer, which is there `head_seconds` after the request has gone out."""
        self._unanswered = True
        self._progress = Progress(self._timeouts)
        self._within(min(head_seconds, self._timeouts.stall))
        reusable = True
        try:
            self._send_all(head, body)
        except (BrokenPipeError, ConnectionResetError):
            reusable = False  # it may have answered before it hung up
        incoming = Incoming(self, method, self._read_head(head_seconds), reusable=reusable)
        self._unanswered = False
        return incoming

    def close(self) -> None:
        """Close; by a reset when a request is under way.

        A plain close would wait behind the bytes that the other side does not take, and it would never hear of it: a registry
        that hangs in the middle of an upload holds the upload's session until then.
        """
        if self._unanswered:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            self._sock.close()

    def done(self, *, reusable: bool) -> None:
        """An answer has been read, or is given up: keep the connection for the next request, or end it."""
        if reusable and not self._ahead and self._failed is None:
            self._kept(self)
        else:
            self.close()

    def read(self, view: memoryview) -> int:
        """Fill `view` with what comes within a moment, at least a byte; 0 at the end of the connection."""
        got, until = min(len(view), len(self._ahead)), 0.0
        if got:
            view[:got], self._ahead = self._ahead[:got], self._ahead[got:]
            until = time.monotonic() + _MOMENT
        elif self._failed is not None:
            raise self._failed
        self._within(self._timeouts.stall)
        while got < len(view) and self._failed is None:
            before = time.monotonic()
            if got and before > until:
                break
            try:
                count = self._sock.recv_into(view[got:])
                after = time.monotonic()
                got += count
                self._progress.moved(count, after - before)
            except OSError as error:
                if not got:
                    raise
                self._failed = error  # for the next read; what came before is good
                break
            if not count:
                break
            until = until or after + _MOMENT
        return got

    def read_line(self, limit: int) -> bytes:
        """A line of at most `limit` bytes, its end included; EndedEarly where the connection ends before."""
        line = bytearray()
        while True:
            end = bytes(self._ahead[:limit]).find(b"\n") + 1 or len(self._ahead)
            line += self._ahead[:end]
            self._ahead = self._ahead[end:]
            if line.endswith(b"\n") and len(line) <= limit:
                return bytes(line)
            if len(line) > limit:
                raise BadAnswer(f"a line of more than {limit} bytes in the framing of a body")
            room = memoryview(bytearray(_BUFFER))
            self._ahead = room[: self._received(room)]

    def _received(self, room: memoryview) -> int:
        self._within(self._timeouts.stall)
        before = time.monotonic()
        count = self._sock.recv_into(room)
        self._progress.moved(count, time.monotonic() - before)
        if not count:
            raise EndedEarly
        return count

    def _within(self, seconds: float) -> None:
        if seconds != self._seconds:
            self._sock.settimeout(seconds)
            self._seconds = seconds

    def _send_all(self, head: bytes, body: Iterator[memoryview] | None) -> None:
        progress = Progress(self._timeouts)
        first = next(body, None) if body is not None else None
        if first is not None and len(first) <= _JOINED:
            head, first = head + first, None
        self._send(memoryview(head), progress)
        if first is not None:
            self._send(first, progress)
        for piece in body or ():
            self._send(piece, progress)

    def _send(self, view: memoryview, progress: Progress) -> None:
        """Send all of it, as long as it keeps moving."""
        while view:
            before = time.monotonic()
            sent = self._sock.send(view)
            progress.moved(sent, time.monotonic() - before)
            view = view[sent:]

    def _read_head(self, seconds: float) -> response_head.Head:
        """The head of the answer. What comes before it ("100 Continue", early hints) says nothing to us."""
        until = time.monotonic() + seconds
        data, cap = bytearray(self._ahead), MAX_HEAD + _BUFFER
        self._ahead = memoryview(b"")
        self._within(min(seconds, self._timeouts.stall))
        searched = 0
        while True:
            end = _END_OF_HEAD.search(data, max(0, searched - 2))
            if end is None:
                searched = len(data)
                if received := self._more_of_head(until, some=bool(data)):
                    cap -= len(received)
                    if cap < 0:
                        raise BadAnswer(f"more than {MAX_HEAD} bytes of headers")
                    data += received
                continue
            try:
                head = response_head.parse(bytes(data[: end.end()]))
            except Unavailable as error:
                raise BadAnswer(error.message) from None
            del data[: end.end()]
            searched = 0
            if head.status >= 200:
                self._ahead = memoryview(data)
                return head

    def _more_of_head(self, until: float, *, some: bool) -> bytes:
        if some:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the head of the response does not end")
            self._within(min(left, self._timeouts.stall))
        received = self._sock.recv(_BUFFER)
        if not received:
            raise BadAnswer(
                "the head of the response ends early" if some else "the connection was closed without an answer"
            )
        return received


class Incoming:
    """An answer: its head, and its body as it comes. `close` it in the end.

    left      bytes of the body still to come; None where the server does not say
    finished  has the body been read to its end?
    """

    def __init__(self, connection: Connection, method: str, head: response_head.Head, *, reusable: bool) -> None:
        try:
            framing = response_head.framing(head, method)
        except Unavailable as error:
            raise BadAnswer(error.message) from None
        self.head = head
        self.left = framing.length
        self.finished = framing.length == 0
        self._chunked = framing.chunked
        self._chunk_left = 0  # bytes of the chunk that is being read
        self._first = True
        self._failed: Exception | None = None
        self._reusable = reusable and framing.stays
        self._connection = connection

    def readinto(self, view: memoryview) -> int:
        """Fill as much of `view` as has come, at least a byte; 0 at the end of the body, or of the connection."""
        if self.finished or not len(view):
            return 0
        if self._chunked:
            return self._read_chunks(view)
        count = self._connection.read(view if self.left is None else view[: self.left])
        if self.left is not None:
            self.left -= count
            self.finished = not self.left
        else:
            self.finished = not count
        return count

    def close(self) -> None:
        """Leave the connection for another request if the body has been read, and end it otherwise."""
        self._connection.done(reusable=self.finished and self._reusable)

    def _read_chunks(self, view: memoryview) -> int:
        """Read over the borders of chunks (RFC 9112, section 7.1) until `view` is full."""
        if self._failed is not None:
            raise self._failed
        got = 0
        try:
            while got < len(view):
                if not self._chunk_left and not self._next_chunk():
                    break
                count = self._connection.read(view[got : got + self._chunk_left])
                if not count:
                    raise EndedEarly
                got += count
                self._chunk_left -= count
        except (OSError, BadAnswer, EndedEarly) as error:
            if not got:
                raise
            self._failed = error  # for the next read; what came before is good
        return got

    def _next_chunk(self) -> bool:
        if not self._first and self._connection.read_line(2) not in (b"\r\n", b"\n"):
            raise BadAnswer("a chunk of the body is longer than it says")
        self._first = False
        line = self._connection.read_line(4096)
        size = _CHUNK.fullmatch(line)
        if size is None:
            raise BadAnswer("the size of a chunk of the body is no number")
        self._chunk_left = int(size[1], 16)
        if not self._chunk_left:
            self._skip_trailers()
            self.finished = True
        return bool(self._chunk_left)

    def _skip_trailers(self) -> None:
        """Read what follows the last chunk: it means nothing to us, and is no longer than a head."""
        left = MAX_HEAD
        while (line := self._connection.read_line(MAX_HEAD)) not in (b"\r\n", b"\n"):
            left -= len(line)
            if left < 0:
                raise BadAnswer(f"more than {MAX_HEAD} bytes of trailers")
