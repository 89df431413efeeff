"""Faults of the connection: cut, slow, endless, or no HTTP at all."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tranship.testing.registry.faults.kinds import ALWAYS, BLOB_BYTES, EVERYTHING, Strike, fault
from tranship.testing.registry.messages import Body, Chunk, Hangup, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LONG = 3600.0  # seconds


@fault("drop", aim=BLOB_BYTES, times=1)
def drop(strike: Strike, *, after: int = 0) -> Response | None:
    """The connection closes after `after` bytes of the body, of the request's if it has one, else of the answer's."""
    return _cut(strike, after, Hangup)


@fault("reset", aim=BLOB_BYTES, times=1)
def reset(strike: Strike, *, after: int = 0) -> Response | None:
    """As drop, with a TCP reset: what was under way is lost."""
    return _cut(strike, after, lambda: Hangup(reset=True))


@fault("stall", aim=BLOB_BYTES, times=1)
def stall(strike: Strike, *, after: int = 0, seconds: float = _LONG) -> Response | None:
    """Nothing moves after `after` bytes of the body, for `seconds` or until the client gives up; then the connection closes."""

    def wait() -> Hangup:
        strike.request.wait(seconds)
        return Hangup()

    return _cut(strike, after, wait)


@fault("slow-head", aim=EVERYTHING, times=1)
def slow_head(strike: Strike, *, pause: float = 0.05) -> Response | None:
    """Status line and header come byte by byte, `pause` seconds apart."""
    response = strike.proceed()
    response.pause = pause
    return response


@fault("silence", aim=EVERYTHING, times=1)
def silence(strike: Strike, *, seconds: float = _LONG) -> Response | None:
    """The request is obeyed, and no answer comes, for `seconds` or until the client gives up."""
    strike.proceed()
    strike.request.wait(seconds)
    raise Hangup


@fault("slow-body", aim=("blob.get",), times=1)
def slow_body(strike: Strike, *, size: int = 1, pause: float = 0.05) -> Response | None:
    """The body comes `size` bytes at a time, `pause` seconds apart."""

    def drip(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        for chunk in chunks:
            for place in range(0, len(chunk), size):
                yield chunk[place : place + size]
                if strike.request.wait(pause):
                    raise Hangup

    return _bend_body(strike, drip)


@fault("truncate", aim=("blob.get",), times=1)
def truncate(strike: Strike, *, to: int = 0) -> Response | None:
    """The body ends after `to` bytes, and Content-Length agrees: only the descriptor tells that it is short."""
    response = _good(strike)
    if response is None or to >= response.body.size:
        return None
    chunks = response.body.chunks
    response.body = Body(to, lambda: _first(chunks(), to))
    return response


@fault("endless", aim=("blob.get",), times=1)
def endless(strike: Strike, *, limit: int = 1 << 30) -> Response | None:
    """After the body come zeros without end (at most `limit` bytes), chunked, so that no length gives them away."""

    def go_on(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        yield from chunks
        zeros = bytes(64 * 1024)
        yield from itertools.repeat(zeros, limit // len(zeros))
        raise Hangup

    response = _bend_body(strike, go_on)
    if response is not None:
        response.framing = "chunked"
    return response


@fault("chunked-junk", aim=("blob.get",), times=1)
def chunked_junk(strike: Strike, *, after: int = 0, line: bytes = b"xyz\r\n") -> Response | None:
    """The body is chunked, and after `after` bytes of it comes `line` where a chunk's size should be; the connection closes."""

    def first(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        sent = b"".join(bytes(chunk) for chunk in _first(chunks, after))
        yield b"%x\r\n%b\r\n" % (after, sent) + line if sent else line
        raise Hangup

    response = _bend_body(strike, first, over=after)
    if response is not None:
        response.headers.set("Transfer-Encoding", "chunked")
        response.framing = "none"  # the chunks are ours
    return response


@fault("wrong-length", aim=("blob.get",), times=1)
def wrong_length(strike: Strike, *, by: int = 1) -> Response | None:
    """Content-Length says `by` bytes more than come (then the connection closes), or fewer, if negative (and it stays open)."""

    def end(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        yield from chunks
        if by > 0:
            raise Hangup

    response = _bend_body(strike, end)
    if response is not None:
        response.headers.set("Content-Length", str(max(0, response.body.size + by)))
    return response


@fault("bytes-after", aim=EVERYTHING, times=1)
def bytes_after(strike: Strike, *, data: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad") -> Response | None:
    """Behind the answer come bytes that nobody asked for, by default a forged answer; the connection stays open."""
    response = strike.proceed()
    response.after = data
    return response


@fault("header-flood", aim=EVERYTHING, times=1)
def header_flood(strike: Strike, *, count: int = 10_000) -> Response | None:
    """The answer has `count` header fields."""
    response = strike.proceed()
    response.headers.pairs[:0] = [(f"X-Flood-{n}", "x" * 32) for n in range(count)]
    return response


@fault("long-header", aim=EVERYTHING, times=1)
def long_header(strike: Strike, *, size: int = 1 << 20) -> Response | None:
    """One header field of the answer has `size` bytes."""
    response = strike.proceed()
    response.headers.pairs.insert(0, ("X-Long", "x" * size))
    return response


@fault("junk-status", aim=EVERYTHING, times=1)
def junk_status(strike: Strike, *, line: bytes = b"\x16\x03\x01 this is no HTTP\r\n\r\n") -> Response | None:
    """Instead of an answer come other bytes, and the connection closes."""
    response = strike.proceed()
    response.before = _then(iter((line,)), Hangup)
    return response


@fault("endless-continue", aim=EVERYTHING, times=1)
def endless_continue(strike: Strike, *, count: int = 100_000) -> Response | None:
    """`100 Continue` comes again and again, `count` times, and no answer."""
    response = strike.proceed()
    response.before = _then(itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n", count), Hangup)
    return response


@fault("connection-close", aim=EVERYTHING, times=ALWAYS)
def connection_close(strike: Strike) -> Response | None:
    """Each answer says `Connection: close`, and the connection closes behind it."""
    response = strike.proceed()
    response.close = True
    return response


@fault("hang-up", aim=EVERYTHING, times=1)
def hang_up(_strike: Strike, *, reset: bool = False) -> Response | None:
    """The request is neither obeyed nor answered; the connection closes, or is reset."""
    raise Hangup(reset=reset)


@fault("connect-reset", aim=("connection",), times=1)
def connect_reset(_strike: Strike) -> Response | None:
    """A new connection is reset as soon as it is accepted."""
    return None


@fault("refuse", aim=EVERYTHING, times=1)
def refuse(strike: Strike, *, seconds: float = 0.5) -> Response | None:
    """The request and every open connection end unanswered, and for `seconds` the port refuses connections, as in a restart."""
    strike.server.refuse_connections(seconds)
    raise Hangup


def _cut(strike: Strike, after: int, ending: Callable[[], Hangup]) -> Response | None:
    request = strike.request
    if request.length != 0:
        request.body.stop = (after, ending)
        strike.proceed()  # raises what `ending` gives, if the body is that long and is read at all
        request.body.stop = None
        return None

    def first(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        yield from _first(chunks, after)
        raise ending()

    return _bend_body(strike, first, over=after)


def _good(strike: Strike) -> Response | None:
    """The proper answer when it carries content."""
    response = strike.proceed()
    return response if response.status in (200, 206) else None


def _bend_body(
    strike: Strike, bend: Callable[[Iterator[Chunk]], Iterator[Chunk]], *, over: int = -1
) -> Response | None:
    """Change how a body that is larger than `over` bytes comes, and leave its length as it was said to be."""
    response = _good(strike)
    if response is None or response.body.size <= over:
        return None
    chunks = response.body.chunks
    response.body = Body(response.body.size, lambda: bend(chunks()))
    return response


def _first(chunks: Iterator[Chunk], count: int) -> Iterator[Chunk]:
    for chunk in chunks:
        if count <= 0:
            return
        yield chunk[:count]
        count -= len(chunk)


def _then(parts: Iterator[bytes], ending: Callable[[], Hangup]) -> Iterator[bytes]:
    yield from parts
    raise ending()
