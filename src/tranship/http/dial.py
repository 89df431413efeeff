"""Opens sockets: to a host itself, or through a proxy; plain, or with TLS.

A proxy reads plain requests and sends them on (RFC 9112, section 3.2.2). Those over TLS go through a tunnel, which it makes
when it is asked to CONNECT (RFC 9110, section 9.3.6), and in which it sees nothing. It may itself be spoken to by TLS.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tranship.formats import request_head
from tranship.formats.messages import Origin
from tranship.http.connection import Connection
from tranship.http.failures import BadAnswer, NotAccepted, NoTls, ProxyFailed, turned_away
from tranship.http.tls import Tls

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from tranship.http.limits import Timeouts
    from tranship.http.proxies import Proxy


class Socket(Protocol):
    """What a connection needs of a socket. One over TLS also has `pending()`, the bytes that it has and the kernel has not."""

    def settimeout(self, seconds: float, /) -> None: ...
    def setsockopt(self, level: int, name: int, value: bytes, /) -> None: ...
    def fileno(self) -> int: ...
    def send(self, data: memoryview, /) -> int: ...
    def recv(self, count: int, /) -> bytes: ...
    def recv_into(self, view: memoryview, /) -> int: ...
    def close(self) -> None: ...


class Route(NamedTuple):
    """Where a connection leads: to whom, under which TLS settings (None: plain http), through which proxy."""

    origin: Origin
    tls: Tls | None
    proxy: Proxy | None

    @property
    def forwarded(self) -> bool:
        """Does a proxy read the requests and send them on?"""
        return self.proxy is not None and self.tls is None


class Dialer:
    """Opens the sockets of a client; keeps what it has read of certificates."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._contexts: dict[Tls, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def dial(self, route: Route, seconds: float) -> Socket:
        """A connected socket, its TLS handshake done; each of its steps takes no more than `seconds`.

        Raises OSError, NotAccepted, NoTls, and ProxyFailed for what the proxy did not do.
        """
        if route.tls is not None:
            self._context(route.tls)  # a file that cannot be used is told whether or not the host is there
        if route.proxy is None:
            return self._secured(_connected(route.origin, seconds), route.origin, route.tls, seconds)
        place = Origin.of(route.proxy.url)
        with _proxy_to_blame():
            tls = Tls() if place.scheme == "https" else None
            sock = self._secured(_connected(place, seconds), place, tls, seconds)
            if route.tls is not None:
                self._tunnel(sock, route.origin, route.proxy, seconds)
        return self._secured(sock, route.origin, route.tls, seconds)

    def _tunnel(self, sock: Socket, origin: Origin, proxy: Proxy, seconds: float) -> None:
        connection = Connection(sock, self._timeouts, lambda _: None)
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        asked = f"{host}:{origin.port}"
        try:
            head = request_head.build("CONNECT", asked, [("Host", asked), *proxy.authorization().items()])
            answer = connection.ask(head, None, "CONNECT", seconds).head
            if not 200 <= answer.status < 300:
                raise turned_away("CONNECT", answer)
            connection.detached()
        except BaseException:
            connection.close()
            raise

    def _secured(self, sock: Socket, origin: Origin, tls: Tls | None, seconds: float) -> Socket:
        """TLS over a connected socket, which may itself be one of TLS."""
        if tls is None:
            return sock
        import ssl

        try:
            context = self._context(tls)
            sock.settimeout(seconds)
            if isinstance(sock, socket.socket) and not isinstance(sock, ssl.SSLSocket):
                return context.wrap_socket(sock, server_hostname=origin.host)
            from tranship.http.tls_in_tls import TlsInTls

            return TlsInTls(sock, context, origin.host, seconds)
        except ssl.SSLError as error:
            sock.close()
            raise NoTls from error
        except BaseException:
            sock.close()
            raise

    def _context(self, tls: Tls) -> ssl.SSLContext:
        with self._lock:
            found = self._contexts.get(tls)
            if found is None:
                found = self._contexts[tls] = tls.context()
            return found


def _connected(origin: Origin, seconds: float) -> socket.socket:
    try:
        sock = socket.create_connection((origin.host, origin.port), seconds)
    except TimeoutError as error:
        raise NotAccepted from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


@contextlib.contextmanager
def _proxy_to_blame() -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeError, BadAnswer, NoTls) as error:
        raise ProxyFailed from error
