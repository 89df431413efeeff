"""The client against servers and proxies that say byte by byte what a test wants them to, in plain and over TLS."""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import struct
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trustme

from tranship.errors import DeadlineExceeded, PolicyRefused, Unavailable
from tranship.formats.hosts import Host
from tranship.formats.messages import Request
from tranship.http.client import Client
from tranship.http.limits import Timeouts
from tranship.http.payload import ReaderPayload
from tranship.http.proxies import Proxies
from tranship.http.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tranship.http.payload import Payload

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SHORT = Timeouts(connect=2, headers=1, commit=4, stall=1)


class Tls:
    """An authority, and contexts of servers that it vouches for."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.ca = str(folder / "ca.pem")
        self.authority.cert_pem.write_to_path(self.ca)

    def server(self, name: str) -> ssl.SSLContext:
        return server_of(self.authority, name)


def server_of(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(tmp_path_factory.mktemp("raw"))


class Server:
    """Handles each connection in a thread, with TLS if it has a context."""

    def __init__(self, handle: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> None:
        self.connections = 0
        self._handle, self._context = handle, context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._one, args=(sock,), daemon=True).start()

    def _one(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            with sock:
                self._handle(sock)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_args: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def head(sock: socket.socket) -> bytes:
    """Read a request's head, and what came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        got = sock.recv(65536)
        if not got:
            raise OSError("it ended")
        data += got
    return data


def client(attempts: int = 1, timeouts: Timeouts = SHORT, proxy: str = "") -> Client:
    proxies = Proxies.of({"ALL_PROXY": proxy} if proxy else {})
    return Client(retry=Retry(attempts=attempts, base=0.01), timeouts=timeouts, proxies=proxies)


def host(server: Server, tls: Tls | None = None) -> Host:
    scheme, ca = ("https", (tls.ca,)) if tls is not None else ("http", ())
    return Host(registry="r", url=f"{scheme}://127.0.0.1:{server.port}/v2", ca=ca)


def get(to: Host) -> Request:
    return Request(method="GET", url=f"{to.url}/x", object="blob x")


def put(to: Host, size: int) -> Request:
    return Request(method="PUT", url=f"{to.url}/x", object="blob x", span=(0, size))


def zeros(size: int, wait: float = 0.0) -> Payload:
    @contextlib.contextmanager
    def opened(offset: int) -> Iterator[io.BytesIO]:
        time.sleep(wait)
        yield io.BytesIO(bytes(size - offset))

    return ReaderPayload(opened)  # type: ignore[arg-type]  # BytesIO.readinto takes any buffer


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def secured(request: pytest.FixtureRequest, tls: Tls) -> Tls | None:
    return tls if request.param else None


def context_of(secured: Tls | None) -> ssl.SSLContext | None:
    return secured.server("127.0.0.1") if secured is not None else None


# ------------------------------------------------------------------------------------------------------------- answers


def test_bytes_behind_an_answer_are_no_answer_to_the_next(secured: Tls | None) -> None:
    def handle(sock: socket.socket) -> None:
        head(sock)
        sock.sendall(OK[:-2])
        sock.sendall(b"okHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nSTOLEN")
        head(sock)
        sock.sendall(OK)

    with Server(handle, context_of(secured)) as server, client() as made:
        to = host(server, secured)
        for _ in range(2):
            assert made.send(to, get(to)).body == b"ok"
        assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
        b"204 No Content\r\nContent-Encoding: gzip\r\n\r\n",
        b"201 Created\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"404 Not Found\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
        b"404 Not Found\r\nContent-Encoding: br\r\nContent-Length: 4\r\n\r\nwhat",
    ],
)
def test_an_encoding_does_not_hide_a_status(answer: bytes) -> None:
    assert status_of(answer) == int(answer[:3])


@pytest.mark.parametrize(
    "answer",
    [
        b"404 Not Found\r\nContent-Length: 10\r\n\r\nwhat",
        b"404 Not Found\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nwhat",
        b"404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\nwhat",
    ],
)
def test_a_refusal_whose_body_cannot_be_read_is_one(answer: bytes) -> None:
    assert status_of(answer) == 404


def status_of(answer: bytes) -> int:
    """What a client makes of these bytes, the version before them, without asking again."""

    def handle(sock: socket.socket) -> None:
        head(sock)
        sock.sendall(b"HTTP/1.1 " + answer)

    with Server(handle) as server, client(attempts=3) as made:
        status = made.send(host(server), get(host(server))).status
        assert server.connections == 1
    return status


def test_a_document_is_put_again_when_the_answer_breaks(secured: Tls | None) -> None:
    bodies = iter([b"do", b"done"])

    def handle(sock: socket.socket) -> None:
        head(sock)
        sock.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\n" + next(bodies))

    with Server(handle, context_of(secured)) as server, client(attempts=2) as made:
        to = host(server, secured)
        request = Request(method="PUT", url=f"{to.url}/x", object="tag 1", body=b"{}")
        assert made.send(to, request).body == b"done"


def test_early_hints_without_end_have_the_heads_deadline() -> None:
    def handle(sock: socket.socket) -> None:
        head(sock)
        for _ in range(40):
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            time.sleep(0.3)

    with Server(handle) as server, client() as made, pytest.raises(DeadlineExceeded):
        made.send(host(server), get(host(server)))


def test_a_registry_may_take_longer_over_a_blob_than_it_may_be_silent_otherwise() -> None:
    def handle(sock: socket.socket) -> None:
        head(sock)
        time.sleep(2)
        sock.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    with Server(handle) as server, client() as made:
        assert made.send(host(server), put(host(server), 5), zeros(5)).status == 201


def test_an_answer_comes_as_far_as_it_has_come(secured: Tls | None) -> None:
    read = threading.Event()

    def handle(sock: socket.socket) -> None:
        head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        read.wait(10)
        sock.sendall(b"0\r\n\r\n")

    with Server(handle, context_of(secured)) as server, client() as made:
        to, view = host(server, secured), memoryview(bytearray(100))
        with made.open(to, get(to)) as answer:
            assert answer.readinto(view) == 5
            read.set()
            assert answer.readinto(view) == 0


def test_a_refusal_in_the_middle_of_an_upload_is_heard(secured: Tls | None) -> None:
    def handle(sock: socket.socket) -> None:
        head(sock)
        sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        time.sleep(0.3)  # the reset that follows must not overtake it

    with Server(handle, context_of(secured)) as server, client() as made:
        to = host(server, secured)
        assert made.send(to, put(to, 50 << 20), zeros(50 << 20)).status == 413


def test_a_connection_that_breaks_in_an_upload_is_a_passing_failure(secured: Tls | None) -> None:
    broken = threading.Event()

    def handle(sock: socket.socket) -> None:
        got = len(head(sock).partition(b"\r\n\r\n")[2])
        while got < 3 << 20:
            got += len(sock.recv(65536))
            if not broken.is_set():
                broken.set()
                return
        sock.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    with Server(handle, context_of(secured)) as server, client(attempts=3) as made:
        to = host(server, secured)
        assert made.send(to, put(to, 3 << 20), zeros(3 << 20)).status == 201


def test_a_connection_does_not_wait_for_a_slow_source() -> None:
    def handle(sock: socket.socket) -> None:
        sock.settimeout(0.5)  # what it lets a connection be idle
        while True:
            head(sock)
            sock.sendall(OK)

    with Server(handle) as server, client() as made:
        to = host(server)
        assert made.send(to, get(to)).body == b"ok"
        assert made.send(to, put(to, 5), zeros(5, wait=1)).body == b"ok"


@pytest.mark.parametrize("reset", [False, True])
def test_a_server_that_ends_an_idle_connection_costs_no_attempt(reset: bool, secured: Tls | None) -> None:
    def handle(sock: socket.socket) -> None:
        head(sock)
        sock.sendall(OK)
        head(sock)  # as if the end of the connection and the next request had met on their way
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with Server(handle, context_of(secured)) as server, client() as made:
        to = host(server, secured)
        for _ in range(3):
            assert made.send(to, get(to)).body == b"ok"
        assert server.connections == 3
        with pytest.raises(Unavailable):
            made.send(to, replace(get(to), retry=False))
        assert made.send(to, get(to)).body == b"ok"
        with pytest.raises(Unavailable):
            made.send(to, put(to, 5), zeros(5))  # its bytes have gone
        assert server.connections == 4


def test_a_new_connection_that_ends_without_an_answer_is_a_failure() -> None:
    def handle(sock: socket.socket) -> None:
        head(sock)

    with Server(handle) as server, client() as made:
        with pytest.raises(Unavailable, match="closed without an answer"):
            made.send(host(server), get(host(server)))
        assert server.connections == 1


def test_the_scheme_of_a_url_knows_no_case() -> None:
    def handle(sock: socket.socket) -> None:
        there = f"HTTP/1.1 307 There\r\nLocation: HTTP://127.0.0.1:{server.port}/there\r\nContent-Length: 0\r\n\r\n"
        while asked := head(sock):
            sock.sendall(OK if b"/there" in asked else there.encode())

    with Server(handle) as server, client() as made:
        assert made.send(host(server), get(host(server))).body == b"ok"


def test_a_remark_that_fails_leaves_no_connection(recwarn: pytest.WarningsRecorder) -> None:
    def handle(sock: socket.socket) -> None:
        head(sock)
        sock.sendall(b'HTTP/1.1 200 OK\r\nWarning: 299 - "old"\r\nContent-Length: 2\r\n\r\nok')

    def warned(_text: str) -> None:
        raise KeyboardInterrupt

    with Server(handle) as server, Client(warned=warned) as made, pytest.raises(KeyboardInterrupt):
        made.send(host(server), get(host(server)))
    assert not list(recwarn)


# --------------------------------------------------------------------------------------------------------- connections


def test_an_address_that_is_dead_leaves_time_for_the_next(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    def handle(sock: socket.socket) -> None:
        head(sock)
        sock.sendall(OK)

    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    crowd = [socket.socket() for _ in range(4)]
    for each in crowd:
        each.setblocking(False)
        each.connect_ex(full.getsockname())
    with Server(handle, tls.server("127.0.0.1")) as server, client() as made:
        places = [full.getsockname(), ("127.0.0.1", server.port)]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
        to = host(server, tls)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_settings: found)
        assert made.send(to, get(to)).body == b"ok"
    for each in (*crowd, full):
        each.close()


def test_a_handshake_that_does_not_move_is_given_up(tls: Tls) -> None:
    def handle(sock: socket.socket) -> None:
        while sock.recv(65536):
            pass

    with Server(handle) as server, client() as made, pytest.raises(DeadlineExceeded):
        made.send(host(server, tls), get(host(server, tls)))


def test_a_host_that_no_name_server_can_be_asked_for_is_told() -> None:
    long = Host(registry="r", url=f"http://{'a' * 70}.test/v2")
    with (
        client(attempts=3) as made,
        pytest.raises(Unavailable, match=r"cannot resolve the host of registry a.*no name"),
    ):
        made.send(long, get(long))


# ------------------------------------------------------------------------------------------------------------- proxies


@pytest.fixture
def through(secured: Tls | None, tls: Tls, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Server]:
    """A proxy of its own behaviour, spoken to in plain and by TLS."""
    monkeypatch.setenv("SSL_CERT_FILE", tls.ca)
    return lambda handle: Server(handle, context_of(secured))


def address(proxy: Server, secured: Tls | None) -> str:
    return f"{'https' if secured is not None else 'http'}://me:hunter2@127.0.0.1:{proxy.port}"


REGISTRY = Host(registry="reg.test", url="https://reg.test/v2")


def test_a_proxy_that_drips_its_answer_is_given_up(secured: Tls | None, through: Callable[..., Server]) -> None:
    def handle(sock: socket.socket) -> None:
        head(sock)
        for letter in b"HTTP/1.1 200 Connection established" * 3:
            sock.sendall(bytes([letter]))
            time.sleep(0.3)

    with (
        through(handle) as proxy,
        client(proxy=address(proxy, secured)) as made,
        pytest.raises(DeadlineExceeded, match="the proxy for registry reg"),
    ):
        made.send(REGISTRY, get(REGISTRY))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 200 OK\r\n" + b"X-More: y\r\n" * 10_000, "more than 65536 bytes of headers"),
        (b"HTTP/1.1 407 Login\r\n\r\n", "answers CONNECT with 407 Login"),
        (b"HTTP/1.1 200 OK\r\n\r\nmore", "bytes came before the tunnel"),
        (b"SSH-2.0\r\n\r\n", "no HTTP status line"),
        (b"", "closed without an answer"),
    ],
)
def test_a_proxy_that_makes_no_tunnel_is_told(
    answer: bytes, words: str, secured: Tls | None, through: Callable[..., Server]
) -> None:
    def handle(sock: socket.socket) -> None:
        head(sock)
        sock.sendall(answer)

    with (
        through(handle) as proxy,
        client(proxy=address(proxy, secured)) as made,
        pytest.raises(Unavailable, match=f"the proxy for registry reg.*{words}") as raised,
    ):
        made.send(REGISTRY, get(REGISTRY))
    assert "hunter2" not in str(raised.value)


def tunnelling(within: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    """A proxy that makes a tunnel, at the other end of which is `within`."""

    def handle(sock: socket.socket) -> None:
        head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        within(sock)

    return handle


def test_the_registry_answers_for_its_certificate_and_not_the_proxy(tls: Tls) -> None:
    stranger = server_of(trustme.CA(), "reg.test")
    handle = tunnelling(lambda sock: stranger.wrap_socket(sock, server_side=True).close())
    with (
        Server(handle) as proxy,
        client(proxy=f"http://127.0.0.1:{proxy.port}") as made,
        pytest.raises(PolicyRefused, match=r"^registry reg\.test shows a certificate"),
    ):
        made.send(REGISTRY, get(REGISTRY))


def test_what_a_proxy_says_for_a_registry_tells_nothing_about_its_tls(tls: Tls) -> None:
    answers = iter([b"503 Service Unavailable", b"503 Service Unavailable", b"400 Bad Request"])

    def handle(sock: socket.socket) -> None:
        if not head(sock).startswith(b"CONNECT "):
            sock.sendall(b"HTTP/1.1 " + next(answers) + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with tls.server("reg.test").wrap_socket(sock, server_side=True) as within:
            head(within)
            within.sendall(OK)

    to = Host(registry="reg.test", url="https://reg.test:5000/v2", ca=(tls.ca,), http_fallback=True)
    with Server(handle) as proxy, client(attempts=2, proxy=f"http://127.0.0.1:{proxy.port}") as made:
        assert made.send(to, get(to)).body == b"ok"


def test_a_tunnel_that_drips_is_given_up(secured: Tls | None, through: Callable[..., Server]) -> None:
    def drip(sock: socket.socket) -> None:
        sock.recv(65536)  # the greeting: nothing may come before it
        for letter in b"\x16\x03\x03\x10\x00" + bytes(100):  # the beginning of a record
            sock.sendall(bytes([letter]))
            time.sleep(0.3)

    with (
        through(tunnelling(drip)) as proxy,
        client(proxy=address(proxy, secured)) as made,
        pytest.raises(DeadlineExceeded, match=r"^registry reg\.test"),
    ):
        made.send(REGISTRY, get(REGISTRY))


def test_a_registry_behind_a_tunnel_that_hangs_up_is_told(secured: Tls | None, through: Callable[..., Server]) -> None:
    with (
        through(tunnelling(lambda _sock: None)) as proxy,
        client(proxy=address(proxy, secured)) as made,
        pytest.raises(Unavailable, match=r"^(no TLS connection to )?registry reg\.test"),  # an end, or a reset
    ):
        made.send(REGISTRY, get(REGISTRY))


def test_what_a_registry_need_not_prove_its_proxy_must() -> None:
    heard: list[bytes] = []
    with (
        Server(lambda sock: heard.append(head(sock)), server_of(trustme.CA(), "127.0.0.1")) as proxy,
        client(proxy=f"https://me:hunter2@127.0.0.1:{proxy.port}") as made,
        pytest.raises(PolicyRefused, match="the proxy for registry reg") as raised,
    ):
        trusting = Host(registry="reg.test", url=REGISTRY.url, skip_verify=True)
        made.send(trusting, get(trusting))
    assert not heard
    assert "--insecure" not in (raised.value.hint or "")  # which would not help
