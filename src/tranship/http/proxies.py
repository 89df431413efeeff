"""Which proxy a request goes through. The settings come in as a mapping that the caller took from the environment."""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tranship.errors import InvalidArgument, Unsupported
from tranship.formats.messages import redacted
from tranship.formats.realm import is_loopback
from tranship.model.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tranship.formats.messages import Origin


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy: its URL without user information, and that apart."""

    url: str
    login: Secret | None = None  # "user:password"

    def authorization(self) -> dict[str, str]:
        """The header that logs in at it, if any: for the proxy alone."""
        if self.login is None:
            return {}
        return {"Proxy-Authorization": f"Basic {base64.b64encode(self.login.reveal().encode()).decode()}"}


@dataclass(frozen=True, slots=True)
class Proxies:
    """A proxy for each scheme, and the hosts that are reached without one (`NO_PROXY`).

    An entry of `direct` is a host (its subdomains are meant too), `.suffix`, an address, a network in CIDR notation, or
    any of the first three with a port; "*" is everything. Loopback is always reached directly.
    """

    http: Proxy | None = None
    https: Proxy | None = None
    direct: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Proxies:
        """Read HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY; in lower case they count first."""

        def setting(name: str) -> str:
            return (environment.get(name.lower()) or environment.get(name) or "").strip()

        fallback = setting("ALL_PROXY")
        # A CGI program's HTTP_PROXY is a header of the request that it serves (CVE-2016-5385).
        http = environment.get("http_proxy", "") if "REQUEST_METHOD" in environment else setting("HTTP_PROXY")
        return cls(
            _proxy(http or fallback, "HTTP_PROXY"),
            _proxy(setting("HTTPS_PROXY") or fallback, "HTTPS_PROXY"),
            tuple(entry.lower() for entry in re.split(r"[,\s]+", setting("NO_PROXY")) if entry),
        )

    def choose(self, origin: Origin) -> Proxy | None:
        """The proxy for requests to `origin`, or None to go directly."""
        proxy = self.https if origin.scheme == "https" else self.http
        if proxy is None or is_loopback(origin.host) or any(_matches(entry, origin) for entry in self.direct):
            return None
        return proxy


def _proxy(text: str, name: str) -> Proxy | None:
    if not text:
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        shown = text.rpartition("@")[2]  # a password with a slash in it is not where a URL has its user information
        raise InvalidArgument(
            f"{name} is no URL of a proxy: {redacted(shown)!r}", hint="write / in a password as %2F, and @ as %40"
        )
    if parts.scheme not in ("http", "https"):
        raise Unsupported(f"{name} names a {parts.scheme} proxy; only http and https proxies are supported")
    bracketed = f"[{host}]" if ":" in host else host
    login = None
    if parts.username is not None:
        login = Secret(f"{unquote(parts.username)}:{unquote(parts.password or '')}")
    return Proxy(f"{parts.scheme}://{bracketed}" + (f":{port}" if port else ""), login)


def _matches(entry: str, origin: Origin) -> bool:
    if entry == "*":
        return True
    name, colon, port = entry.rpartition(":")
    if colon and port.isdecimal() and (":" not in name or name.startswith("[")):
        if int(port) != origin.port:
            return False
        entry = name
    entry = entry.strip("[]")
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        suffix = entry.lstrip("*").lstrip(".")
        exact = not entry.startswith((".", "*")) and origin.host == suffix
        return bool(suffix) and (exact or origin.host.endswith(f".{suffix}"))
    try:
        return ipaddress.ip_address(origin.host) in network
    except ValueError:
        return False
