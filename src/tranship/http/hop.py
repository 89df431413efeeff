"""One message to one place: what goes into it, and what of it goes on to where a redirect leads."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tranship.formats import request_head
from tranship.formats.messages import Origin, Request

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from typing import Self

    from tranship.formats.hosts import Host
    from tranship.formats.token_flow import Grant
    from tranship.http.dial import Route
    from tranship.http.limits import Throttle
    from tranship.http.payload import Payload

_FRAMING = frozenset({"content-length", "transfer-encoding", "connection"})  # ours alone to say
_KEPT = frozenset({"accept", "accept-encoding", "range", "user-agent", "content-type", "content-range"})


@dataclass(frozen=True, slots=True)
class Hop:
    """A request on its way to `url`, which may be another place than the request's own."""

    request: Request
    url: str
    headers: Mapping[str, str]
    extra: tuple[tuple[str, str], ...] = ()  # configured headers, which may be repeated
    secret: bool = False  # carries a credential to a token service
    payload: Payload | None = None

    @classmethod
    def first(
        cls, host: Host, request: Request, payload: Payload | None, grant: Grant | None, headers: Mapping[str, str]
    ) -> Self:
        """The message to the host, or to the place of its own choice that an upload goes to. `headers` is what all have."""
        url, target = request.url, Origin.of(request.url)
        if target != host.origin and target[1:] == host.origin[1:] and host.origin.scheme == "http":
            url = f"http://{url.removeprefix('https://')}"  # built for https, before it was known that there is none
        mine = {**headers, **request.headers}
        if Origin.of(url) != host.origin:
            return cls(request, url, mine, payload=payload)
        if grant is not None:
            mine["Authorization"] = grant.header.reveal()
        configured = {name.lower() for name, _ in host.headers}
        kept = {name: value for name, value in mine.items() if name.lower() not in configured}
        return cls(request, url, kept, host.headers, payload=payload)

    def onward(self, url: str) -> Self:
        """The message to the place that a redirect names; to another origin without secrets, and none come back later."""
        if Origin.of(url) == Origin.of(self.url):
            return replace(self, url=url)
        headers = {name: value for name, value in self.headers.items() if name.lower() in _KEPT}
        return replace(self, url=url, headers=headers, extra=())

    def head(self, route: Route) -> bytes:
        """The head as it goes over `route`, and after it a body that the request holds itself."""
        request, inline = self.request, self.request.body or b""
        fields = [field for field in (*self.headers.items(), *self.extra) if field[0].lower() not in _FRAMING]
        if not any(name.lower() == "host" for name, _ in fields):
            fields.insert(0, ("Host", route.origin.authority))
        if request.span is not None:
            fields.append(("Content-Length", str(request.span[1])))
        elif inline or request.method not in ("GET", "HEAD", "DELETE"):
            fields.append(("Content-Length", str(len(inline))))
        asked = request_head.target(self.url)
        if route.forwarded and route.proxy is not None:
            asked = f"{route.origin}{asked}"
            fields.extend(route.proxy.authorization().items())
        return request_head.build(request.method, asked, fields) + inline

    def body(self, throttle: Throttle) -> Generator[memoryview] | None:
        """The stretch of a blob that is the request's body, no faster than `throttle`. Close it, however far it was read."""
        if self.request.span is None or self.payload is None or not self.request.span[1]:
            return None
        return _throttled(self.payload, *self.request.span, throttle)


def _throttled(payload: Payload, offset: int, count: int, throttle: Throttle) -> Generator[memoryview]:
    with contextlib.closing(payload.pieces(offset, count)) as pieces:
        for whole in pieces:
            share = throttle.share(len(whole))
            for start in range(0, len(whole), share):
                piece = whole[start : start + share]
                throttle.take(len(piece))
                yield piece
