"""Connections that are cut at every fiftieth part of a transfer: it ends whole, and hardly anything goes over twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from support.registry_runs import NEW, OLD, REPOSITORY, Image, at, content, image
from tranship import Layout, Limits, Store, transfer
from tranship.testing.memory import Memory
from tranship.testing.proxy import Proxy, tcp_proxy
from tranship.testing.registry import RegistryServer, uploads

if TYPE_CHECKING:
    from pathlib import Path

    from tranship.engine.protocols import Readable, Writable
    from tranship.testing.registry.protocol import Call
    from tranship.testing.registry.state import Upload

pytestmark = [pytest.mark.usefixtures("impatient"), pytest.mark.timeout(60)]

BIG = image(3, 9 << 20, 1 << 20)
LARGER = image(6, 80 << 20, 4 << 20)
POINTS = range(1, 51)
BUFFERS = 16 << 20  # bytes that two kernels' sockets may hold, on this machine as on many
ONE = Limits(jobs=1)  # one connection, so that a point of it is a point of the transfer


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that reads what has arrived over a broken connection, however busy the machine is, before it says how far it is."""
    monkeypatch.setattr("tranship.testing.registry.uploads._COURTESY", 15.0)


@contextmanager
def proxied(held: Image = OLD) -> Iterator[tuple[RegistryServer, Proxy]]:
    """A registry behind a proxy. It is not strict: it would not answer to the proxy's name."""
    with RegistryServer(strict=False) as server, tcp_proxy(server.host) as proxy:
        held.put(server)
        yield server, proxy


def total(source: Readable, destination: Writable, proxy: Proxy) -> tuple[int, int]:
    """Bytes up and down of a transfer."""
    up, down = proxy.uploaded, proxy.downloaded
    transfer(source, destination, limits=ONE)
    return proxy.uploaded - up, proxy.downloaded - down


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("end", ["store", "layout"])
def test_a_pull_that_is_cut_anywhere_ends_whole(end: str, point: int, tmp_path: Path) -> None:
    size = sum(map(len, BIG.everything.values()))
    store = Store(root=tmp_path / "store", durability="process")
    with proxied(BIG) as (_, proxy):
        proxy.cut(after=size * point // 51, direction="down")
        up, down = total(at(proxy.host), store if end == "store" else Layout(tmp_path / "layout"), proxy)
        assert proxy.connections >= 2
    if end == "layout":
        transfer(Layout(tmp_path / "layout"), store)
    assert content(store)[0] == BIG.everything
    assert up + down <= 1.2 * size
    assert up <= 16 * 1024


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.usefixtures("calm")
def test_a_push_that_is_cut_anywhere_ends_whole(point: int, layout: Layout) -> None:
    size = sum(map(len, BIG.everything.values()))
    with proxied() as (server, proxy):
        proxy.cut(after=size * point // 51, direction="up")
        up, down = total(layout, at(proxy.host), proxy)
        assert proxy.connections >= 2
        check(server, BIG)
    assert up + down <= 1.2 * size
    assert down <= 16 * 1024


def test_a_registry_that_reads_late_what_a_cut_has_left_gets_nothing_twice(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy registry says that it has nothing of a blob, and reads only then what the cut connection had brought."""
    session, begun, asked, reads = uploads._session, threading.Event(), threading.Event(), threading.Event()

    @contextmanager
    def late(call: Call) -> Iterator[Upload]:
        first = call.request.method == "PUT" and not begun.is_set()
        if first:
            begun.set()
            assert asked.wait(10)
        with session(call) as upload:
            if first:
                reads.set()
            yield upload
        if call.request.method == "GET":
            asked.set()
            assert reads.wait(10)

    monkeypatch.setattr(uploads, "_session", late)
    size = sum(map(len, BIG.everything.values()))
    with proxied() as (server, proxy):
        proxy.cut(after=300_000, direction="up")
        up, _ = total(layout, at(proxy.host), proxy)
        check(server, BIG)
    assert asked.is_set()
    assert up <= 1.2 * size


@pytest.mark.parametrize("point", range(1, 11))
def test_a_reset_loses_no_more_than_was_on_its_way(point: int, tmp_path: Path, layout: Layout) -> None:
    size = sum(map(len, BIG.everything.values()))
    with proxied(BIG) as (_, proxy):
        proxy.cut(after=size * point // 11, direction="down", how="reset")
        _, down = total(at(proxy.host), Store(root=tmp_path, durability="process"), proxy)
    assert content(Store(root=tmp_path))[0] == BIG.everything
    with proxied() as (server, proxy):
        proxy.cut(after=size * point // 11, direction="up", how="reset")
        up, _ = total(layout, at(proxy.host), proxy)
        check(server, BIG)
    assert max(up, down) <= size + BUFFERS


@pytest.mark.parametrize("point", range(1, 11))
@pytest.mark.usefixtures("calm")
def test_a_push_in_chunks_that_is_cut_anywhere_ends_whole(point: int, layout: Layout) -> None:
    size = sum(map(len, BIG.everything.values()))
    with proxied() as (server, proxy):
        proxy.cut(after=size * point // 11, direction="up")
        up, down = total(layout, at(proxy.host, chunk=1 << 20), proxy)
        check(server, BIG)
    assert up + down <= 1.2 * size


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.usefixtures("calm")
def test_a_copy_between_registries_that_is_cut_at_both_ends_ends_whole(point: int) -> None:
    size = sum(map(len, LARGER.everything.values()))
    with proxied(LARGER) as (_, one), proxied() as (server, other):
        one.cut(after=size * point // 51, direction="down")
        other.cut(after=size * (51 - point) // 51, direction="up")
        transfer(at(one.host), at(other.host), limits=ONE)
        check(server, LARGER)
        # The source is asked anew from where the destination stands; what was on its way then is lost with its connection: some MB.
        assert one.downloaded <= 1.2 * size
        assert other.uploaded <= 1.2 * size


@pytest.mark.parametrize("times", [3, 12])
@pytest.mark.usefixtures("calm")
def test_many_cuts_of_one_transfer_are_mended(times: int, tmp_path: Path, layout: Layout) -> None:
    size = sum(map(len, BIG.everything.values()))
    with proxied(BIG) as (_, proxy):
        proxy.cut(after=size // (times + 2), direction="down", times=times)
        _, down = total(at(proxy.host), Store(root=tmp_path, durability="process"), proxy)
        assert proxy.connections == times + 1
    assert content(Store(root=tmp_path))[0] == BIG.everything
    assert down <= 1.2 * size
    with proxied() as (server, proxy):
        proxy.cut(after=size // (times + 2), direction="up", times=times)
        up, _ = total(layout, at(proxy.host), proxy)
        check(server, BIG)
    assert up <= 1.2 * size


@pytest.mark.parametrize("after", range(1, 1200, 60))
def test_an_answer_that_is_cut_anywhere_loses_nothing(after: int) -> None:
    """Requests are repeated, an upload that may have arrived is asked for, and a tag is set twice rather than not at all."""
    with proxied() as (server, proxy):
        proxy.cut(after=after, direction="down")
        transfer(NEW.memory(), at(proxy.host), limits=ONE)
        check(server, NEW)
    with proxied(NEW) as (_, proxy):
        images = Memory()
        proxy.cut(after=after, direction="down")
        transfer(at(proxy.host), images, limits=ONE)
        assert images.blobs == NEW.everything


def test_a_stall_is_taken_for_a_cut(tmp_path: Path, layout: Layout) -> None:
    limits = Limits(jobs=1, timeout=0.4)
    with proxied(BIG) as (_, proxy):
        proxy.cut(after=5 << 20, direction="down", how="stall")
        transfer(at(proxy.host), Store(root=tmp_path, durability="process"), limits=limits)
    assert content(Store(root=tmp_path))[0] == BIG.everything
    with proxied() as (server, proxy):
        proxy.cut(after=5 << 20, direction="up", how="stall")
        transfer(layout, at(proxy.host), limits=limits)
        check(server, BIG)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = Layout(tmp_path_factory.mktemp("cuts") / "layout")
    transfer(BIG.memory(), made)
    return made


def check(server: RegistryServer, expected: Image) -> None:
    """The tag leads to this image, and every byte of it is there."""
    assert server.tags(REPOSITORY) == {"1": expected.digest}
    for digest, raw in expected.everything.items():
        assert server.content(REPOSITORY, digest) == raw
