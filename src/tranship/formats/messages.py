"""HTTP requests and responses as values, the URLs in them, and the origins that decide who may see a secret.

A protocol module builds Requests and reads Responses; a protocol of several steps is a *flow*, a generator that yields the
one and is sent the other, so that the steps stand in order on the page. Whoever owns a socket runs it with `drive`. URLs from
servers are read by `split` alone, which refuses what two parsers could read differently.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit

from tranship.errors import InvalidArgument, PolicyRefused, TranshipError, Unavailable, printable

if TYPE_CHECKING:
    from tranship.formats.scopes import Scopes

T = TypeVar("T")
OCTETS = "application/octet-stream"
MAX_URL = 16 * 1024  # characters; signed URLs of object stores reach 2 000
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_UNSAFE = re.compile(r"[^\x21-\x7e]|[\\\"<>^`{|}]")  # never bare in a URL (RFC 3986, appendix A)


class Origin(NamedTuple):
    """Scheme, host and port: two URLs belong together when all three are equal."""

    scheme: str
    host: str  # lower case, no brackets
    port: int

    @classmethod
    @functools.lru_cache(maxsize=256)  # a request asks a dozen times, for its own URL and its host's
    def of(cls, url: str) -> Origin:
        """The origin of an absolute http(s) URL; InvalidArgument for anything else."""
        parts = split(url)
        return cls(parts.scheme, (parts.hostname or "").rstrip("."), parts.port or _PORTS[parts.scheme])

    @property
    def authority(self) -> str:
        """`host[:port]`, without the scheme's own port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS.get(self.scheme) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


class Headers:
    """Header fields in order: names without case, repeated fields kept apart. The repr shows names only."""

    __slots__ = ("_first", "_items")

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self._items = tuple([(name.lower(), value) for name, value in items])
        self._first = dict(reversed(self._items))

    def get(self, name: str) -> str | None:
        """The first field of that name, stripped, or None."""
        value = self._first.get(name.lower())
        return None if value is None else value.strip()

    def all(self, name: str) -> tuple[str, ...]:
        """Every field of that name."""
        wanted = name.lower()
        return tuple(value for key, value in self._items if key == wanted)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._items)

    def __repr__(self) -> str:
        return f"Headers({', '.join(name for name, _ in self._items)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to send. Headers and body stay out of the repr: they may hold secrets.

    body        a document or a form
    span        (offset, count) of the blob whose bytes are the body instead; the sender has the blob
    repository  the repository it concerns, "" for none: chooses credentials
    scopes      what a token must allow
    object      what it is about, for people: "tag 1.2", "blob sha256:4f2e…"
    retry       may the sender repeat it by itself? An upload's bytes are repeated by the upload machine alone
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    span: tuple[int, int] | None = None
    repository: str = ""
    scopes: Scopes = frozenset()
    object: str = ""
    retry: bool = True

    @property
    def about(self) -> str:
        """The object and its repository, for people."""
        what = self.object or redacted(self.url)
        return f"{what} of {printable(self.repository)}" if self.repository else what


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What came back: `body` is complete for documents, what can be read for errors, and empty where the sender streams it.

    url          the URL that answered, after redirects
    attempts     how often the request was sent
    retry_after  seconds that the server asks us to wait, as the sender's clock makes them
    shown        of a refusal: with what the request went, for people ("credentials from --creds")
    """

    status: int
    url: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = field(default=b"", repr=False)
    attempts: int = 1
    retry_after: float | None = None
    shown: str = ""


Flow = Generator[Request, Response, T]  # yields what to send, is sent what came back, returns its result


def drive(flow: Flow[T], send: Callable[[Request], Response]) -> T:
    """Run a flow to its end. An error of `send` is raised inside the flow, which may know a way on."""
    try:
        request = next(flow)
        while True:
            try:
                response = send(request)
            except TranshipError as error:
                request = flow.throw(error)
            else:
                request = flow.send(response)
    except StopIteration as stop:
        result: T = stop.value
        return result


def split(url: str) -> SplitResult:
    """Take an absolute http(s) URL apart; InvalidArgument for one that is not, or that parsers may read differently.

    No user information, no control characters, ASCII host: the checks and the connection then mean the same host.
    """
    if len(url) > MAX_URL:
        raise InvalidArgument(f"a URL of {len(url)} characters; at most {MAX_URL} are read")
    if _UNSAFE.search(url):
        raise InvalidArgument(f"URL {_shown(url)} holds a character that has no place in one")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidArgument(f"URL {_shown(url)} has no valid host and port") from None
    if parts.scheme not in _PORTS:
        raise InvalidArgument(f"URL {_shown(url)} is neither http nor https")
    if "@" in parts.netloc:
        raise InvalidArgument(f"URL {redacted(url)} holds user information, which no server may ask to be sent")
    if not parts.hostname or not _HOST.fullmatch(parts.hostname) or port == 0:
        raise InvalidArgument(f"URL {_shown(url)} has no valid host and port")
    return parts


def join(base: str, location: str | None, what: str) -> str:
    """Resolve a Location against the URL that answered (RFC 3986, section 5), without its fragment.

    Raises Unavailable for one that is absent or leads elsewhere than http(s), PolicyRefused for one that leads from https to
    http. `what` begins the message.
    """
    if not location:
        raise Unavailable(f"{what} without saying where (no Location header)")
    try:
        place = location.strip()
        url = (place if place.startswith(("http://", "https://")) else urljoin(base, place)).partition("#")[0]
        target = split(url)
    except (InvalidArgument, ValueError) as error:
        raise Unavailable(f"{what} to an unusable place: {error}") from None
    if target.scheme == "http" and split(base).scheme == "https":
        raise PolicyRefused(
            f"{what} from {redacted(base)} to {redacted(url)}, which is not encrypted",
            hint="the proxy in front of the registry must tell it that it is reached by https (X-Forwarded-Proto)",
        )
    return url


def redacted(url: str) -> str:
    """The URL for people: without user information, query and fragment, any of which may be a secret."""
    bare = re.sub(r"^([a-zA-Z][a-zA-Z0-9+.-]*:)?//[^/?#]*@", r"\1//", url)
    head, mark, _ = bare.partition("?")
    return printable(head.partition("#")[0] + ("?…" if mark else ""))


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After asks for, at least 0; None where there is none or it is junk. `now` is a Unix time."""
    if value is None or len(value) > 64:
        return None
    text = value.strip()
    if re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,9})?", text):
        return max(0.0, float(text))
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def media_type(headers: Headers) -> str:
    """The Content-Type without its parameters, in lower case; "" where there is none."""
    return (headers.get("content-type") or "").partition(";")[0].strip().lower()


def _shown(url: str) -> str:
    return repr(redacted(url))
