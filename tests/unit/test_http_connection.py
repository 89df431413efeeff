"""A connection, from the bytes of its other end."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tranship.errors import Cancelled
from tranship.http import connection as connection_module
from tranship.http.connection import Connection
from tranship.http.failures import FAILURES, BadAnswer, EndedEarly
from tranship.http.limits import Timeouts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tranship.http.connection import Incoming

ASK = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FIVE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


class Ends:
    """Our end of a connection, and the other one; `kept` are the connections that came back for another request."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.kept: list[Connection] = []
        self.connection = Connection(ours, Timeouts(headers=2, stall=2), self.kept.append)

    def ask(self, answer: bytes = b"", body: Iterator[memoryview] | None = None, *, ends: bool = False) -> Incoming:
        self.theirs.sendall(answer)
        if ends:
            self.theirs.shutdown(socket.SHUT_WR)
        return self.connection.ask(ASK, body, "GET", 2)


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    with made.theirs, contextlib.closing(made.connection):
        yield made


def whole(incoming: Incoming, size: int = 1000) -> bytes:
    found, view = b"", memoryview(bytearray(size))
    while count := incoming.readinto(view):
        found += view[:count]
    return found


def test_requests_follow_each_other(ends: Ends) -> None:
    for _ in range(3):
        incoming = ends.ask(FIVE + b"hello")
        assert whole(incoming, 2) == b"hello"
        incoming.close()
        assert ends.kept.pop() is ends.connection
        assert ends.connection.silent
    assert ends.theirs.recv(1000) == ASK * 3


def test_a_small_body_goes_out_with_its_head(ends: Ends) -> None:
    ends.ask(FIVE, iter([memoryview(b"small"), memoryview(b"er")])).close()
    assert ends.theirs.recv(len(ASK) + 5) == ASK + b"small"
    assert ends.theirs.recv(10) == b"er"


def test_a_body_left_unread_ends_the_connection(ends: Ends) -> None:
    ends.ask(FIVE + b"hel").close()
    assert not ends.kept


@pytest.mark.parametrize("answer", [FIVE + b"helloHTTP/1.1 200 OK", CHUNKED + b"0\r\n\r\nmore"])
def test_bytes_behind_a_body_end_the_connection(ends: Ends, answer: bytes) -> None:
    incoming = ends.ask(answer)
    whole(incoming)
    incoming.close()
    assert not ends.kept


def test_a_connection_that_has_something_to_say_is_not_silent(ends: Ends) -> None:
    assert ends.connection.silent
    ends.theirs.sendall(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert not ends.connection.silent


def test_an_end_that_was_closed_is_not_silent(ends: Ends) -> None:
    ends.theirs.close()
    assert not ends.connection.silent


def test_an_answer_that_came_before_the_body_was_sent_is_heard(ends: Ends) -> None:
    def pieces() -> Iterator[memoryview]:
        for number in range(1000):
            if number == 1:
                ends.theirs.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
                ends.theirs.shutdown(socket.SHUT_RD)  # sending fails from here on
            yield memoryview(bytes(100_000))

    threading.Thread(target=ends.theirs.recv, args=(200_000, socket.MSG_WAITALL)).start()
    incoming = ends.ask(body=pieces())
    assert incoming.head.status == 413
    incoming.close()
    assert not ends.kept


def test_what_comes_before_the_answer_is_passed_over(ends: Ends) -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    assert whole(ends.ask(early + FIVE + b"hello")) == b"hello"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "ends early"),
        (b"\r\n", "no HTTP status line"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-More: yes\r\n" * 8000, "more than 65536 bytes of headers"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 4000, "more than 65536 bytes of headers"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no HTTP status line"),
    ],
)
def test_what_is_no_answer_is_told(ends: Ends, answer: bytes, words: str) -> None:
    sending = threading.Thread(target=_send_and_end, args=(ends.theirs, answer))  # more than the socket holds
    sending.start()
    with pytest.raises(BadAnswer, match=words):
        ends.connection.ask(ASK, None, "GET", 2)
    ends.connection.close()
    sending.join()


def _send_and_end(theirs: socket.socket, answer: bytes) -> None:
    with contextlib.suppress(OSError):
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)


def test_a_body_without_a_length_ends_with_the_connection(ends: Ends) -> None:
    incoming = ends.ask(b"HTTP/1.1 200 OK\r\n\r\nhello", ends=True)
    assert incoming.left is None
    assert whole(incoming) == b"hello"
    incoming.close()
    assert not ends.kept


def test_what_came_too_slowly_is_not_lost() -> None:
    ours, theirs = socket.socketpair()
    connection = Connection(ours, Timeouts(headers=2, stall=0.01, floor=1 << 30), lambda _: None)
    with theirs, contextlib.closing(connection):
        theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\nhello")
        incoming, view = connection.ask(ASK, None, "GET", 2), memoryview(bytearray(100))
        later = threading.Timer(0.05, theirs.sendall, [b"world"])  # within the moment, and slower than the floor
        later.start()
        found = b""
        with pytest.raises(TimeoutError):
            while count := incoming.readinto(view):
                found += view[:count]
        later.join()
    assert found == b"helloworld"


def test_a_reset_that_the_sender_was_told_of_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    connection = Connection(ours, Timeouts(headers=2, stall=2), lambda _: None)
    with contextlib.closing(connection), pytest.raises(ConnectionResetError):
        connection.ask(ASK, None, "GET", 2)


def test_who_waits_looks_now_and_then_whether_it_is_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_GLANCE", 0.01)
    ours, theirs = socket.socketpair()
    looks: list[bool] = []

    def check() -> None:
        looks.append(True)
        if len(looks) % 3 == 0:
            raise Cancelled("enough")

    connection = Connection(ours, Timeouts(headers=60, stall=60), lambda _: None, check)
    with theirs, contextlib.closing(connection):
        with pytest.raises(Cancelled):
            connection.ask(ASK, None, "GET", 60)
        theirs.sendall(FIVE)
        incoming = connection.ask(ASK, None, "GET", 60)
        with pytest.raises(Cancelled):
            incoming.readinto(memoryview(bytearray(5)))
    assert len(looks) == 6


def test_looking_does_not_make_the_wait_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_GLANCE", 0.04)
    ours, theirs = socket.socketpair()
    looks: list[bool] = []
    connection = Connection(ours, Timeouts(), lambda _: None, lambda: looks.append(True))
    with theirs, contextlib.closing(connection), pytest.raises(TimeoutError):
        connection.ask(ASK, None, "GET", 0.1)
    assert len(looks) <= 3


# --------------------------------------------------------------------------------------------------------------- chunks


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.sampled_from([b"", b";name=value", b' ; name="quoted"']),
    st.sampled_from([b"", b"X-Trailer: 1\r\nX-Other: 2\r\n"]),
    st.integers(1, 50),
)
def test_chunks_are_put_together(chunks: list[bytes], extension: bytes, trailers: bytes, size: int) -> None:
    framed = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    made = Ends()
    with made.theirs, contextlib.closing(made.connection):
        incoming = made.ask(CHUNKED + framed + b"0" + extension + b"\r\n" + trailers + b"\r\n")
        assert whole(incoming, size) == b"".join(chunks)
        incoming.close()
        assert made.kept


class Sent:
    """A socket of which somebody has sent something."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self.raw)


@given(st.lists(st.sampled_from([b"0", b"1", b"a", b"5", b"\r\n", b"\n", b";x", b" ", b"-", b"hello"]), max_size=14))
@settings(max_examples=300)
def test_whatever_is_taken_for_chunks_is_read_as_python_reads_it(parts: list[bytes]) -> None:
    raw = CHUNKED + b"".join(parts)
    made = Ends()
    with made.theirs, contextlib.closing(made.connection):
        incoming = made.ask(raw, ends=True)
        try:
            ours = whole(incoming)
        except FAILURES:
            return  # Python takes some of these: signs, spaces, a chunk without a line end
    theirs = http.client.HTTPResponse(Sent(raw))  # type: ignore[arg-type]  # of a socket it uses this alone
    theirs.begin()
    assert theirs.read() == ours


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", EndedEarly),
        (b"5\r\nhel", EndedEarly),
        (b"5\r\nhello\r\n", EndedEarly),
        (b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\n", EndedEarly),
        (b"5\r\nhello!\r\n0\r\n\r\n", BadAnswer),
        (b"0x5\r\nhello\r\n0\r\n\r\n", BadAnswer),
        (b"-5\r\nhello\r\n0\r\n\r\n", BadAnswer),
        (b"+5\r\nhello\r\n0\r\n\r\n", BadAnswer),
        (b"5_0\r\nhello\r\n0\r\n\r\n", BadAnswer),
        (b"\r\nhello\r\n0\r\n\r\n", BadAnswer),
        (b"5;" + b"x" * 5000 + b"\r\nhello\r\n0\r\n\r\n", BadAnswer),
        (b"ffffffffffffffffffff\r\nhello", BadAnswer),
        (b"0\r\n" + b"X-Trailer: 1\r\n" * 6000 + b"\r\n", BadAnswer),
    ],
)
def test_chunks_that_are_none_are_refused(ends: Ends, body: bytes, error: type[Exception]) -> None:
    incoming = ends.ask(CHUNKED)
    sending = threading.Thread(target=_send_and_end, args=(ends.theirs, body))
    sending.start()
    with pytest.raises(error):
        whole(incoming)
    ends.connection.close()
    sending.join()


def test_what_came_before_a_bad_chunk_is_good(ends: Ends) -> None:
    incoming = ends.ask(CHUNKED + b"5\r\nhello\r\nnone\r\n")
    view = memoryview(bytearray(100))
    assert incoming.readinto(view) == 5
    with pytest.raises(BadAnswer, match="no number"):
        incoming.readinto(view)
    incoming.close()
    assert not ends.kept
