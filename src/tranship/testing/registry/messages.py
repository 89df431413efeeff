"""Requests and responses as values, and the two ways a handler leaves its path: `Refusal` and `Hangup`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import parse_qsl

from tranship.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

Chunk = bytes | memoryview
SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})


class Headers:
    """Header fields in the order they came or go; names compare without case, and a name may stand there twice."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs: list[tuple[str, str]] = list(pairs)

    def get(self, name: str) -> str | None:
        """The first value of that name."""
        wanted = name.lower()
        return next((value for key, value in self.pairs if key.lower() == wanted), None)

    def all(self, name: str) -> list[str]:
        """Every value of that name."""
        wanted = name.lower()
        return [value for key, value in self.pairs if key.lower() == wanted]

    def set(self, name: str, value: str) -> None:
        """Let `value` be the only one of that name."""
        self.remove(name)
        self.pairs.append((name, value))

    def add(self, name: str, value: str) -> None:
        """Add a field, whatever stands there."""
        self.pairs.append((name, value))

    def remove(self, name: str) -> None:
        """Take every field of that name away."""
        wanted = name.lower()
        self.pairs = [pair for pair in self.pairs if pair[0].lower() != wanted]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.pairs)

    def __repr__(self) -> str:
        shown = (
            (name, "[hidden]" if name.lower() in SECRET_HEADERS else printable(value)) for name, value in self.pairs
        )
        return f"Headers({dict(shown)!r})"


@dataclass(slots=True)
class Exchange:
    """One request as the server recorded it, and what became of it.

    It is recorded when its header has arrived, so the number of requests is right as soon as a client has its answer;
    `status` is set before the answer goes out, `sent` and `received` grow while bodies move.
    """

    method: str
    target: str  # as it was sent: path and query
    headers: Headers
    kind: str  # see KINDS
    connection: int  # 1 for the first connection that the server accepted; equal numbers mean a reused connection
    status: int | None = None  # None: no answer was sent
    received: int = 0  # bytes of the request's body
    sent: int = 0  # bytes of the response's body, as handed to the socket
    form: dict[str, str] = field(default_factory=dict, repr=False)  # what a token request POSTed
    certificate: Mapping[str, Any] | None = field(default=None, repr=False)  # the client's, as ssl.getpeercert gives it
    faults: list[str] = field(default_factory=list)  # the names of those that took part

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, decoded; the last one wins."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def authorization(self) -> str | None:
        """The Authorization header, in clear: for asserting that a secret did or did not come here."""
        return self.headers.get("Authorization")


class RequestBody(Protocol):
    """A request's body, read once."""

    received: int  # bytes so far
    stop: (
        tuple[int, Callable[[], Hangup]] | None
    )  # a fault's wish: after so many bytes, call this and raise what it gives

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer as far as bytes are at hand; 0 is the end. Raises ClientGone when the client leaves early."""
        ...


@dataclass(slots=True)
class Request:
    """A request whose header has arrived and whose body has not been read yet."""

    method: str
    target: str
    headers: Headers
    body: RequestBody
    length: int | None  # of the body, in bytes; None: chunked
    exchange: Exchange
    origin: str  # scheme://host:port of the server that got it
    abandon: Callable[[], None]  # read no more of it; what has arrived counts
    wait: Callable[[float], bool]  # pause for so many seconds; True at once when the client has gone or the server ends

    @property
    def path(self) -> str:
        """The target without its query, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, decoded; the last one wins."""
        return self.exchange.query

    @property
    def kind(self) -> str:
        """What is asked for, see KINDS."""
        return self.exchange.kind

    def read(self, limit: int) -> bytes:
        """The whole body; Refusal 413 when it is longer than `limit` bytes."""
        view, parts, count = memoryview(bytearray(64 * 1024)), [], 0
        while got := self.body.readinto(view):
            count += got
            if count > limit:
                raise Refusal(413, "SIZE_INVALID", f"the body has more than {limit} bytes")
            parts.append(bytes(view[:got]))
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Body:
    """A response's body: its size, and how to come by its bytes."""

    size: int
    chunks: Callable[[], Iterator[Chunk]]
    file: tuple[str, int] | None = None  # path and offset, where the bytes may also be sent from

    @classmethod
    def of(cls, data: bytes | memoryview) -> Body:
        """These bytes."""
        return cls(len(data), lambda: iter((data,)))


NO_BODY = Body.of(b"")


@dataclass(slots=True)
class Response:
    """An answer. The fields after `body` are normal unless a fault bends them."""

    status: int
    headers: Headers = field(default_factory=Headers)
    body: Body = NO_BODY
    framing: Literal["length", "chunked", "close", "none"] = "length"
    reason: str | None = None
    before: Iterable[bytes] = ()  # raw bytes ahead of the status line
    after: bytes = b""  # raw bytes behind the body
    pause: float = 0.0  # seconds between the bytes of status line and header
    close: bool = False  # say `Connection: close`, and do it

    def head(self) -> bytes:
        """Status line and header fields, as they go out."""
        if "Content-Length" not in self.headers and self.status not in (204, 304):
            if self.framing == "length":
                self.headers.set("Content-Length", str(self.body.size))
            elif self.framing == "chunked":
                self.headers.set("Transfer-Encoding", "chunked")
        if self.close or self.framing == "close":
            self.headers.set("Connection", "close")
        try:
            reason = self.reason or HTTPStatus(self.status).phrase
        except ValueError:
            reason = "Whatever"
        lines = [f"HTTP/1.1 {self.status} {reason}", *(f"{name}: {value}" for name, value in self.headers), "", ""]
        return "\r\n".join(lines).encode("latin-1")


def json_response(status: int, value: Any, *, media_type: str = "application/json") -> Response:
    """A JSON document as an answer."""
    return Response(status, Headers([("Content-Type", media_type)]), Body.of(json.dumps(value).encode()))


class Refusal(Exception):
    """A handler's refusal: the status, and the code of the specification's table ("Error Codes")."""

    def __init__(
        self, status: int, code: str, message: str, *, detail: Any = None, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = list(headers)
        self.errors = [(code, message, detail)]

    def response(self) -> Response:
        """The answer with the specification's error body."""
        errors = [{"code": code, "message": message, "detail": detail} for code, message, detail in self.errors]
        response = json_response(self.status, {"errors": errors})
        response.headers.pairs += self.headers
        return response


class Hangup(Exception):
    """End the connection here and now: in an orderly way, or with a reset that lets the peer lose what is under way."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__("the connection ends here")
        self.reset = reset


class ClientGone(Exception):
    """The client left before its request was whole."""
