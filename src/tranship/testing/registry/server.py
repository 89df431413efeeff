"""A small HTTP server on the loopback interface: one thread a connection, every request recorded, and a clean end.

`Server` knows sockets and threads; what it answers is the subclass's `answer`. Leaving its `with` block closes every
connection, joins every thread, and raises what a handler stumbled over, so that a bug here is not taken for one of the client.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tranship.testing.registry.messages import ClientGone, Exchange, Hangup, Headers, Refusal, Request, Response
from tranship.testing.registry.wire import Connection

if TYPE_CHECKING:
    import os
    from types import TracebackType


@dataclass(frozen=True, slots=True)
class TLS:
    """Serve https: PEM files of the certificate (with its chain) and its key; `client_ca` demands client certificates."""

    certificate: str | os.PathLike[str]
    key: str | os.PathLike[str]
    client_ca: str | os.PathLike[str] | None = None

    def context(self) -> ssl.SSLContext:
        """The server's side of it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key)
        if self.client_ca is not None:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class Server:
    """Listens on 127.0.0.1 from `start` to `stop`, or within a `with` block."""

    def __init__(self, *, tls: TLS | None = None) -> None:
        self.requests: list[Exchange] = []  # all of them, in the order in which they came
        self.connections = 0  # accepted so far
        self.handshake_failures: list[str] = []
        self.stopping = threading.Event()  # what waits in a handler waits for this
        self._tls = tls.context() if tls is not None else None
        self._lock = threading.Lock()
        self._open: set[Connection] = set()
        self._threads: list[threading.Thread] = []  # of connections, and those that are ending
        self._stumbles: list[BaseException] = []
        self._listener: socket.socket | None = None
        self._listening = False
        self._acceptor: threading.Thread | None = None
        self._port = 0
        self._reopen_at: float | None = None  # monotonic seconds

    # What callers use -------------------------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`: the registry's part of a reference."""
        return f"127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        """The port that the system gave us; it stays when the listener is closed and opened again."""
        return self._port

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, or https."""
        return f"{'http' if self._tls is None else 'https'}://{self.host}"

    @property
    def counts(self) -> Counter[str]:
        """How many requests of each kind there were."""
        return Counter(exchange.kind for exchange in tuple(self.requests))

    def count(self, kind: str = "", *, status: int | None = None) -> int:
        """How many requests there were whose kind starts with `kind` (all: ""), and that were answered with `status`."""
        return sum(
            exchange.kind.startswith(kind) and status in (None, exchange.status) for exchange in tuple(self.requests)
        )

    def sent(self, kind: str = "") -> int:
        """Bytes of bodies that went out in answer to requests of that kind."""
        return sum(exchange.sent for exchange in tuple(self.requests) if exchange.kind.startswith(kind))

    def received(self, kind: str = "") -> int:
        """Bytes of bodies that came in with requests of that kind."""
        return sum(exchange.received for exchange in tuple(self.requests) if exchange.kind.startswith(kind))

    def forget(self) -> None:
        """Empty the record, so that a test counts from here."""
        self.requests.clear()

    def start(self) -> Self:
        """Listen on a free port."""
        self._listener = self._bind()
        self._port = self._listener.getsockname()[1]
        self._woken, self._waker = socket.socketpair()
        self.accept_connections()
        self._acceptor = threading.Thread(target=self._accept, name=f"registry {self.host}", daemon=True)
        self._acceptor.start()
        return self

    def stop(self) -> None:
        """Close everything and join every thread."""
        self.stopping.set()
        if self._acceptor is None:
            return
        self._waker.send(b".")
        self._acceptor.join()
        self._acceptor = None
        self._end_connections()
        for thread in self._threads:
            thread.join()
        for sock in (self._listener, self._woken, self._waker):
            if sock is not None:
                sock.close()

    def refuse_connections(self, seconds: float | None = None) -> None:
        """End every connection, and let the kernel refuse new ones: for so long, or until `accept_connections`.

        The port stays ours: a socket is bound to it, and does not listen.
        """
        with self._lock:
            if self._listener is not None and self._listening:
                self._listener.close()
                self._listener, self._listening = self._bind(), False
            self._reopen_at = None if seconds is None else time.monotonic() + seconds
        self._waker.send(b".")
        self._end_connections()

    def accept_connections(self) -> None:
        """Listen (again) on the same port."""
        self._listen()
        self._waker.send(b".")

    def answer(self, request: Request) -> Response:
        """Answer a request. May raise Refusal (an error answer), Hangup, or ClientGone."""
        raise NotImplementedError

    def kind_of(self, method: str, target: str) -> str:
        """The kind under which a request is recorded."""
        return f"{method} {target.partition('?')[0]}"

    def welcomes(self) -> bool:
        """Is a connection that has just been accepted to be served? It is reset otherwise."""
        return True

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if error is None and self._stumbles:
            raise self._stumbles[0]

    # The threads --------------------------------------------------------------------------------------------------------

    def _bind(self) -> socket.socket:
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self._port))
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
        return listener

    def _listen(self) -> None:
        with self._lock:
            self._reopen_at = None
            if self._listener is not None and not self._listening:
                self._listener.listen(128)
                self._listening = True

    def _end_connections(self) -> None:
        with self._lock:
            running = list(self._open)
        for connection in running:
            with suppress(OSError):
                # The base class's method: SSLSocket's would pull the TLS state from under the reader.
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    def _accept(self) -> None:
        """Accept until `stop`. A byte on the wake-up socket says that something has changed."""
        while not self.stopping.is_set():
            with selectors.DefaultSelector() as selector:
                selector.register(self._woken, selectors.EVENT_READ)
                with self._lock:
                    listener = self._listener if self._listening else None
                    reopen_at = self._reopen_at
                    if listener is not None:
                        selector.register(listener, selectors.EVENT_READ)
                self._accept_until_woken(selector, listener, reopen_at)

    def _accept_until_woken(
        self, selector: selectors.BaseSelector, listener: socket.socket | None, reopen_at: float | None
    ) -> None:
        while True:
            patience = None if reopen_at is None else max(0.0, reopen_at - time.monotonic())
            ready = {key.fileobj for key, _ in selector.select(patience)}
            if self._woken in ready:
                self._woken.recv(64)
                return
            if not ready:
                self._listen()
                return
            with suppress(OSError):  # the client has gone again, or the listener is being closed
                if listener is not None:
                    self._welcome(listener.accept()[0])

    def _welcome(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections += 1
        connection = Connection(sock, self.connections, self.url)
        if not self.welcomes():
            connection.close(reset=True)
            return
        thread = threading.Thread(target=self._serve, args=(connection,), name=f"registry {self.host}", daemon=True)
        with self._lock:
            self._open.add(connection)
        self._threads = [*(known for known in self._threads if known.is_alive()), thread]
        thread.start()

    def _serve(self, connection: Connection) -> None:
        reset = False
        try:
            if self._tls is not None:
                # Known to `stop` before anything is waited for.
                connection.sock = self._tls.wrap_socket(
                    connection.sock, server_side=True, do_handshake_on_connect=False
                )
                if self.stopping.is_set():
                    return
                connection.sock.do_handshake()
            while not self.stopping.is_set() and self._serve_one(connection):
                pass
        except Hangup as hangup:
            reset = hangup.reset
        except ssl.SSLError as error:
            self.handshake_failures.append(str(error))
        except (ClientGone, OSError):
            pass
        except Exception as error:  # noqa: BLE001  # kept for whoever leaves the with block
            self._stumbles.append(error)
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close(reset=reset)

    def _serve_one(self, connection: Connection) -> bool:
        try:
            request = connection.read_request(self.kind_of)
        except Refusal as refusal:
            exchange = Exchange("", "", Headers(), "malformed", connection.number, status=refusal.status)
            self.requests.append(exchange)
            return connection.send(refusal.response(), None)
        if request is None:
            return False
        self.requests.append(request.exchange)
        try:
            response = self.answer(request)
        except Refusal as refusal:
            response = refusal.response()
        except (Hangup, ClientGone):
            raise
        except Exception as error:  # noqa: BLE001  # a bug here must not look like a lost connection
            self._stumbles.append(error)
            response = Refusal(500, "UNKNOWN", f"the test registry stumbled: {error!r}").response()
            response.close = True
        return connection.send(response, request)
