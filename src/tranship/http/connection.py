"""One connection: requests go out, heads and bodies of answers come in, each within its bounds.

- The head of an answer has one deadline and one cap, however slowly it drips (and however many "100 Continue" come before it).
- Bytes must keep moving in both directions (`limits.Progress`).
- A read gives what has arrived within a moment of its first byte, instead of waiting until the whole buffer is full.
- Bytes that follow an answer without having been asked for end the connection, so that they are never taken for an answer.
"""

from __future__ import annotations

import contextlib
import errno
import re
import select
import socket
import struct
import time
from typing import TYPE_CHECKING, TypeVar

from tranship.errors import Unavailable
from tranship.formats import response_head
from tranship.http.failures import BadAnswer, EndedEarly, NoAnswer
from tranship.http.limits import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tranship.http.dial import Socket
    from tranship.http.limits import Timeouts

Room = TypeVar("Room")
Got = TypeVar("Got")
MAX_HEAD = 64 * 1024  # bytes of a response's status line and headers, with what came before it
_MOMENT = 0.1  # seconds
_GLANCE = 0.5  # seconds: so often a thread that waits for bytes looks whether it is to go on waiting
_BUFFER = 16 * 1024  # bytes asked for while a head is read, so at most as many of the body come with it
_END_OF_HEAD = re.compile(rb"(?:\A|\n)\r?\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_JOINED = 16 * 1024  # bytes of a body that go out with their head: one system call, and one packet, less


class Connection:
    """A socket that one request after another goes through.

    kept   takes it back when another request may follow
    check  asked now and then by who waits for bytes; raises to end the waiting
    """

    def __init__(
        self,
        sock: Socket,
        timeouts: Timeouts,
        kept: Callable[[Connection], None],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._sock = sock
        self._timeouts = timeouts
        self._kept = kept
        self._check = check
        self._seconds = -1.0  # the socket's timeout, so that it is not set anew for each request
        self._ahead = memoryview(b"")  # what has come and nobody has read
        self._unanswered = False
        self.used = False  # has it brought an answer?
        self.failed: Exception | None = None  # met after bytes that were good: for the next read
        self._progress = Progress(timeouts)
        # Of TLS: bytes that have come, and of which the kernel knows nothing.
        self._pending = getattr(sock, "pending", None)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    @property
    def silent(self) -> bool:
        """Is it open, with nothing to read? What has come between two requests is an end, or nobody's answer."""
        return not self._poll.poll(0) and not (self._pending is not None and self._pending())

    @property
    def ready(self) -> bool:
        """Has something come that can be read at once?"""
        return bool(self._ahead) or not self.silent

    def ask(self, head: bytes, body: Iterator[memoryview] | None, method: str, head_seconds: float) -> Incoming:
        """Send a request, and read the head of its answer, which is there `head_seconds` after the request has gone out."""
        self._unanswered = True
        self._progress = Progress(self._timeouts)
        if body is not None or len(head) > _JOINED:  # what is less goes into the socket's buffer at once
            self._within(self._timeouts.stall)
        hung_up: OSError | None = None
        try:
            self._send_all(head, body)
        except OSError as error:
            if not _hung_up(error):
                raise
            hung_up = error  # it may have answered before
        try:
            answer = self._read_head(head_seconds)
        except NoAnswer:
            if isinstance(hung_up, ConnectionResetError):  # the kernel says so once
                raise hung_up from None
            raise
        incoming = Incoming(self, method, answer, reusable=hung_up is None)
        self._unanswered = False
        self.used = True
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
        if reusable and not self._ahead and self.failed is None:
            self._kept(self)
        else:
            self.close()

    def detached(self) -> Socket:
        """The socket, after an answer that makes a tunnel of it; BadAnswer if more has come than that."""
        if self._ahead:
            raise BadAnswer("bytes came before the tunnel was used")
        return self._sock

    def read(self, view: memoryview) -> int:
        """Fill `view` with what comes within a moment, at least a byte; 0 at the end of the connection."""
        got, until = min(len(view), len(self._ahead)), 0.0
        if got:
            view[:got], self._ahead = self._ahead[:got], self._ahead[got:]
            until = time.monotonic() + _MOMENT
        elif self.failed is not None:
            raise self.failed
        while got < len(view) and self.failed is None:
            if got and time.monotonic() > until:
                break
            try:
                count = self._received(view[got:], _MOMENT if got else self._timeouts.stall)
            except TimeoutError:
                if not got:
                    raise
                break
            except OSError as error:
                if not got:
                    raise
                self.failed = error
                break
            if not count:
                break
            until = until or time.monotonic() + _MOMENT
            got += count
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
            if self.failed is not None:
                raise self.failed
            room = memoryview(bytearray(_BUFFER))
            count = self._received(room, self._timeouts.stall)
            if not count:
                raise EndedEarly
            self._ahead = room[:count]

    def _received(self, room: memoryview, seconds: float) -> int:
        before = time.monotonic()
        try:
            count = self._waiting(self._sock.recv_into, room, seconds)
        except TimeoutError:
            self._progress.moved(0, time.monotonic() - before)
            raise
        try:
            self._progress.moved(count, time.monotonic() - before)
        except TimeoutError as error:
            self.failed = error  # too slow, but what has come is good
        return count

    def _waiting(self, receive: Callable[[Room], Got], room: Room, seconds: float) -> Got:
        """Receive within so many seconds; TimeoutError. Now and then, see whether the transfer goes on at all."""
        while True:
            self._within(min(seconds, _GLANCE))
            try:
                return receive(room)
            except TimeoutError:
                self._check()
                seconds -= _GLANCE
                if seconds <= 0:
                    raise

    def _within(self, seconds: float) -> None:
        if seconds != self._seconds:
            self._sock.settimeout(seconds)
            self._seconds = seconds

    def _send_all(self, head: bytes, body: Iterator[memoryview] | None) -> None:
        first = next(body, None) if body is not None else None
        if first is not None and len(first) <= _JOINED:
            head, first = head + first, None
        self._send(memoryview(head))
        if first is not None:
            self._send(first)
        for piece in body or ():
            self._send(piece)

    def _send(self, view: memoryview) -> None:
        """Send all of it, as long as it keeps moving."""
        while view:
            before = time.monotonic()
            sent = self._sock.send(view)
            self._progress.moved(sent, time.monotonic() - before)
            view = view[sent:]

    def _read_head(self, seconds: float) -> response_head.Head:
        """The head of the answer. What comes before it ("100 Continue", early hints) says nothing to us."""
        until = time.monotonic() + seconds
        data, passed, searched = bytearray(self._ahead), 0, 0
        self._ahead = memoryview(b"")
        while True:
            end = _END_OF_HEAD.search(data, max(0, searched - 2))
            searched = len(data)
            if passed + (searched if end is None else end.end()) > MAX_HEAD:
                raise BadAnswer(f"more than {MAX_HEAD} bytes of headers")
            if end is None:
                data += self._more_of_head(until, some=bool(data or passed))
                continue
            try:
                head = response_head.parse(bytes(data[: end.end()]))
            except Unavailable as error:
                raise BadAnswer(error.message) from None
            del data[: end.end()]
            passed, searched = passed + end.end(), 0
            if head.status >= 200:
                self._ahead = memoryview(data)
                return head

    def _more_of_head(self, until: float, *, some: bool) -> bytes:
        left = until - time.monotonic()
        if some:
            if left <= 0:
                raise TimeoutError("the head of the response does not end")
            left = min(left, self._timeouts.stall)
        received = self._waiting(self._sock.recv, _BUFFER, left)
        if not received:
            if some:
                raise BadAnswer("the head of the response ends early")
            raise NoAnswer
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
        self._reusable = reusable and framing.stays
        self._connection = connection

    def readinto(self, view: memoryview) -> int:
        """Fill `view` with what comes within a moment, at least a byte; 0 at the end of the body, or of the connection."""
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
        """Read over the borders of chunks (RFC 9112, section 7.1) until `view` is full or nothing more has come."""
        if self._connection.failed is not None:
            raise self._connection.failed
        got = 0
        try:
            while got < len(view):
                if not self._chunk_left and ((got and not self._connection.ready) or not self._next_chunk()):
                    break
                wanted = min(len(view) - got, self._chunk_left)
                count = self._connection.read(view[got : got + wanted])
                if not count:
                    raise EndedEarly
                got += count
                self._chunk_left -= count
                if not self._chunk_left and self._connection.read_line(2) not in (b"\r\n", b"\n"):
                    raise BadAnswer("a chunk of the body is longer than it says")
                if count < wanted:
                    break
        except (OSError, BadAnswer, EndedEarly) as error:
            if not got:
                raise
            self._connection.failed = error
        return got

    def _next_chunk(self) -> bool:
        size = _CHUNK.fullmatch(self._connection.read_line(4096))
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


def _hung_up(error: OSError) -> bool:
    """Is it what sending meets when the other side has closed? (macOS may say EPROTOTYPE in that moment.)"""
    import ssl

    gone = (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
    return isinstance(error, gone) or error.errno == errno.EPROTOTYPE
