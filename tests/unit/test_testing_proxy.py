"""The TCP proxy passes everything, and breaks connections exactly where it was told to."""

from __future__ import annotations

import http.client
import os
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from support.raw_http import Client, digest
from tranship.testing.proxy import Proxy, tcp_proxy
from tranship.testing.registry import RegistryServer

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOB = os.urandom(1 << 20)
TARGET = f"/v2/a/b/blobs/{digest(BLOB)}"


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with RegistryServer(strict=False) as server:  # the Host header names the proxy
        server.put_blob("a/b", BLOB)
        yield server


@pytest.fixture
def proxy(registry: RegistryServer) -> Iterator[Proxy]:
    with tcp_proxy(registry.host) as made:
        yield made


def head_size(registry: RegistryServer) -> int:
    """Bytes of the header of the answer to a GET of the blob."""
    with socket.create_connection(("127.0.0.1", registry.port)) as sock:
        sock.sendall(f"HEAD {TARGET} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        with sock.makefile("rb") as file:
            return len(file.read()) - len("Connection: close\r\n")


def test_everything_passes_and_is_counted(registry: RegistryServer, proxy: Proxy) -> None:
    with Client(proxy.port) as client:
        assert client.ask("GET", TARGET).body == BLOB
        assert proxy.downloaded == len(BLOB) + head_size(registry)
        assert client.push_blob("c/d", BLOB) == digest(BLOB)
        assert proxy.uploaded > len(BLOB)
    assert proxy.connections == 1
    assert registry.content("c/d", digest(BLOB)) == BLOB


@pytest.mark.parametrize("after", [0, 1, 1000, 500_000])
def test_a_download_is_cut_after_so_many_bytes(registry: RegistryServer, proxy: Proxy, after: int) -> None:
    proxy.cut(after=head_size(registry) + after)
    with Client(proxy.port) as client:
        with pytest.raises(http.client.IncompleteRead) as caught:
            client.ask("GET", TARGET)
        assert caught.value.partial == BLOB[:after]
        assert client.ask("GET", TARGET).body == BLOB  # cut once


def test_an_upload_is_cut_after_so_many_bytes(registry: RegistryServer, proxy: Proxy) -> None:
    proxy.cut(after=300_000, direction="up")
    with Client(proxy.port) as client:
        location = str(client.ask("POST", "/v2/c/d/blobs/uploads/")["Location"])
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)):
            client.ask("PATCH", location, BLOB)
        assert proxy.uploaded == 300_000
        for _ in range(100):  # a busy registry may hear the question before it has read what was cut
            had = int(str(client.ask("GET", location)["Range"]).removeprefix("0-")) + 1
            if had > 1:
                break
            time.sleep(0.05)
        assert 299_000 < had < 300_000
        rest = {"Content-Range": f"{had}-{len(BLOB) - 1}"}
        assert client.ask("PUT", f"{location}?digest={digest(BLOB)}", BLOB[had:], rest).status == 201


def test_a_cut_may_be_a_reset(proxy: Proxy) -> None:
    proxy.cut(after=100_000, how="reset")
    with Client(proxy.port) as client, pytest.raises(ConnectionResetError):
        client.ask("GET", TARGET)


def test_a_cut_may_be_a_stall(registry: RegistryServer, proxy: Proxy) -> None:
    proxy.cut(after=head_size(registry) + 100, how="stall")
    with Client(proxy.port, timeout=0.2) as client, pytest.raises(TimeoutError):
        client.ask("GET", TARGET)


def test_cuts_go_on_until_they_are_mended(registry: RegistryServer, proxy: Proxy) -> None:
    proxy.cut(after=1000, times=None)
    with Client(proxy.port) as client:
        for _ in range(3):
            with pytest.raises(http.client.IncompleteRead):
                client.ask("GET", TARGET)
        proxy.mend()
        assert client.ask("GET", TARGET).body == BLOB
    assert proxy.connections == 4


def test_delayed_bytes_go_on_after_a_while_and_not_before(registry: RegistryServer, proxy: Proxy) -> None:
    proxy.delay = 3600.0
    with Client(proxy.port, timeout=0.2) as client, pytest.raises(TimeoutError):
        client.ask("GET", "/v2/")
    assert (proxy.connections, proxy.uploaded, list(registry.requests)) == (1, 0, [])
    proxy.delay = 0.01
    with Client(proxy.port) as client:
        assert client.ask("GET", "/v2/").status == 200
        proxy.delay = 0.0
        assert client.ask("GET", TARGET).body == BLOB


def test_a_half_closed_connection_still_brings_the_answer(registry: RegistryServer, proxy: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port)) as sock:
        sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while part := sock.recv(65536):
            answer += part
    assert answer.endswith(b"{}")


def test_a_server_that_is_away_ends_the_connection() -> None:
    with RegistryServer() as gone:
        host = gone.host
    with tcp_proxy(host) as proxy, Client(proxy.port) as client, pytest.raises(ConnectionError):
        client.ask("GET", "/v2/")


def test_nothing_is_left_behind(registry: RegistryServer) -> None:
    before = len(os.listdir("/dev/fd"))
    with tcp_proxy(registry.host) as proxy, socket.create_connection(("127.0.0.1", proxy.port)):
        proxy.cut(after=10, how="stall")
        with Client(proxy.port, timeout=0.05) as client, pytest.raises(TimeoutError):
            client.ask("GET", "/v2/")
    registry.stop()
    assert "tcp proxy" not in {thread.name for thread in threading.enumerate()}
    assert len(os.listdir("/dev/fd")) <= before
