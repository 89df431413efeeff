"""Opens sockets: to a host itself, or through a proxy. No other module knows urllib3, and this one for tunnels alone."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from tranship.formats.messages import Origin
from tranship.http.failures import NotAccepted, ProxyFailed
from tranship.http.tls import Tls

if TYPE_CHECKING:
    import ssl

    from tranship.http.proxies import Proxy


class Route(NamedTuple):
    """Where a connection leads: to whom, under which TLS settings (None: plain http), through which proxy."""

    origin: Origin
    tls: Tls | None
    proxy: Proxy | None

    @property
    def forwarded(self) -> bool:
        """Does a proxy read the requests and send them on? Those over TLS go through a tunnel, in which it sees nothing."""
        return self.proxy is not None and self.tls is None


class Dialer:
    """Opens the sockets of a client; keeps what it has read of certificates."""

    def __init__(self) -> None:
        self._contexts: dict[Tls, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def dial(self, route: Route, seconds: float) -> socket.socket:
        """A connected socket, its TLS handshake done, within `seconds`.

        Raises OSError (an ssl.SSLError for TLS), NotAccepted, and ProxyFailed for what the proxy did not do.
        """
        if route.proxy is None:
            return self._connected(route.origin, route.tls, seconds)
        if route.tls is not None:
            return _tunnelled(route.origin, route.proxy, self._context(route.tls), seconds)
        place = Origin.of(route.proxy.url)
        try:
            return self._connected(place, Tls() if place.scheme == "https" else None, seconds)
        except OSError as error:
            raise ProxyFailed from error

    def _connected(self, origin: Origin, tls: Tls | None, seconds: float) -> socket.socket:
        context = self._context(tls) if tls is not None else None
        until = time.monotonic() + seconds
        try:
            sock = socket.create_connection((origin.host, origin.port), seconds)
        except TimeoutError as error:
            raise NotAccepted from error
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is None:
                return sock
            sock.settimeout(max(0.001, until - time.monotonic()))
            return context.wrap_socket(sock, server_hostname=origin.host)
        except BaseException:
            sock.close()
            raise

    def _context(self, tls: Tls) -> ssl.SSLContext:
        with self._lock:
            found = self._contexts.get(tls)
            if found is None:
                found = self._contexts[tls] = tls.context()
            return found


def _tunnelled(origin: Origin, proxy: Proxy, context: ssl.SSLContext, seconds: float) -> socket.socket:
    """TLS through a proxy that is itself spoken to in plain http, or by TLS: TLS in TLS is what urllib3 is here for."""
    from http.client import HTTPException
    from ssl import SSLError

    from urllib3._base_connection import ProxyConfig
    from urllib3.connection import HTTPSConnection
    from urllib3.exceptions import HTTPError
    from urllib3.util import parse_url

    place = Origin.of(proxy.url)
    connection = HTTPSConnection(
        place.host,
        place.port,
        timeout=seconds,
        ssl_context=context,
        proxy=parse_url(proxy.url),
        proxy_config=ProxyConfig(None, use_forwarding_for_https=False, assert_hostname=None, assert_fingerprint=None),
    )
    connection.set_tunnel(origin.host, origin.port, proxy.authorization(), scheme=place.scheme)
    try:
        connection.connect()
    except SSLError as error:
        connection.close()
        if connection.has_connected_to_proxy:
            raise
        raise ProxyFailed from error
    except (OSError, HTTPError, HTTPException) as error:
        connection.close()
        raise ProxyFailed from error
    sock: socket.socket = connection.sock
    return sock
