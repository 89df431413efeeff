"""A registry with every other end, ours strict and in process, and the real docker-registry."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from support import graphs
from support.registry_runs import image
from tranship import Archive, Layout, Limits, Outcome, Registry, Selection, Store, transfer
from tranship.errors import NotFound, PolicyRefused
from tranship.model.platform import Platform
from tranship.testing.memory import Memory
from tranship.testing.registry import RegistryServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ENDS: dict[str, Callable[[Path], Any]] = {
    "layout": lambda folder: Layout(folder / "layout"),
    "store": lambda folder: Store(root=folder / "store"),
    "archive": lambda folder: Archive(folder / "a.tar"),
}


def nobody(_host: str, _repository: str) -> None:
    """No credentials, wherever the user of this machine may keep some."""


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as running:
        yield running


def at(server: RegistryServer, name: str, **options: Any) -> Registry:
    return Registry(f"{server.host}/{name}", plain_http=True, credential=nobody, environment={}, **options)


@pytest.mark.parametrize("kind", ["small", "multi", "docker", "zstd", "raw", "large"])
@pytest.mark.parametrize("end", ENDS)
def test_what_goes_through_a_registry_comes_back_unchanged(
    end: str, kind: str, server: RegistryServer, images: Callable[[str], Path], tmp_path: Path
) -> None:
    original = images(kind)
    (tmp_path / "one").mkdir()
    first = ENDS[end](tmp_path / "one")
    transfer(Layout(original), first)
    transfer(first, at(server, "app:1"))
    transfer(at(server, "app:1"), Layout(tmp_path / "last"))
    assert graphs.images(tmp_path / "last") == graphs.images(original)


def test_an_image_named_by_sha512_is_there_by_its_digest(
    server: RegistryServer, images: Callable[[str], Path], tmp_path: Path
) -> None:
    original = images("sha512")
    (root,) = transfer(Layout(original), at(server, "app:1")).roots
    transfer(at(server, f"app@{root.descriptor.digest}"), Layout(tmp_path / "last"))
    assert graphs.images(tmp_path / "last") == graphs.images(original)


@pytest.mark.parametrize("end", ENDS)
def test_a_registry_fills_every_end(
    end: str, server: RegistryServer, images: Callable[[str], Path], tmp_path: Path
) -> None:
    original = images("multi")
    transfer(Layout(original), at(server, "app:1"))
    (tmp_path / "one").mkdir()
    transfer(at(server, "app:1"), ENDS[end](tmp_path / "one"))
    transfer(ENDS[end](tmp_path / "one"), Layout(tmp_path / "last"))
    assert graphs.images(tmp_path / "last") == graphs.images(original)


def test_registry_to_registry_writes_nothing_here(
    server: RegistryServer, images: Callable[[str], Path], tmp_path: Path
) -> None:
    with RegistryServer() as other:
        transfer(Layout(images("multi")), at(server, "app:1"))
        transfer(at(server, "app:1"), at(other, "copy:2"))
        transfer(at(other, "copy:2"), Layout(tmp_path / "last"))
    assert graphs.images(tmp_path / "last") == graphs.images(images("multi"))


def test_a_limited_rate_holds_for_both_ends_together(server: RegistryServer) -> None:
    transfer(image(50, *[100_000] * 4).memory(), at(server, "app:1"))
    with RegistryServer() as other:
        began = time.monotonic()
        transfer(at(server, "app:1"), at(other, "app:1"), limits=Limits(rate=800_000))
        assert time.monotonic() - began >= 0.99  # for what comes and what goes


def test_a_registry_into_an_archive_on_a_pipe(
    server: RegistryServer, images: Callable[[str], Path], tmp_path: Path
) -> None:
    transfer(Layout(images("multi")), at(server, "app:1"))
    out, into = os.pipe()

    def export() -> None:
        with open(into, "wb", buffering=0) as pipe:
            transfer(at(server, "app:1"), Archive(pipe))

    thread = threading.Thread(target=export)
    thread.start()
    with open(out, "rb", buffering=0) as pipe:
        transfer(Archive(pipe), Store(root=tmp_path / "store"))
    thread.join()
    transfer(Store(root=tmp_path / "store"), Layout(tmp_path / "last"))
    assert graphs.images(tmp_path / "last") == graphs.images(images("multi"))


def kinds(server: RegistryServer, since: int = 0) -> Counter[str]:
    return Counter(f"{exchange.method} {exchange.kind}" for exchange in list(server.requests)[since:])


def test_a_push_costs_two_requests_a_blob(server: RegistryServer, images: Callable[[str], Path]) -> None:
    transfer(Layout(images("tiny-10")), at(server, "app:1"))
    counts = kinds(server)
    assert counts.pop("HEAD manifest.head") == 1
    assert counts.pop("PUT manifest.put") == 1
    assert sorted(counts.values()) == [11, 11]


def test_a_pull_costs_one_request_a_blob(server: RegistryServer, images: Callable[[str], Path]) -> None:
    transfer(Layout(images("tiny-10")), at(server, "app:1"))
    before = len(server.requests)
    transfer(at(server, "app:1"), Memory())
    assert kinds(server, before) == {"HEAD manifest.head": 1, "GET manifest.get": 1, "GET blob.get": 11}


def test_a_repeat_costs_one_request_for_each_registry(
    server: RegistryServer, images: Callable[[str], Path], tmp_path: Path
) -> None:
    with RegistryServer() as other:
        transfer(Layout(images("multi")), at(server, "app:1"))
        transfer(at(server, "app:1"), at(other, "app:1"))
        transfer(at(server, "app:1"), Store(root=tmp_path))
        here, there = len(server.requests), len(other.requests)
        assert transfer(at(server, "app:1"), at(other, "app:1")).moved == 0
        assert (len(server.requests) - here, len(other.requests) - there) == (1, 1)
        here = len(server.requests)
        assert transfer(at(server, "app:1"), Store(root=tmp_path)).moved == 0
        assert transfer(Store(root=tmp_path), at(server, "app:1")).moved == 0
        assert len(server.requests) - here == 2


def test_the_same_registry_mounts_instead_of_moving(server: RegistryServer, images: Callable[[str], Path]) -> None:
    transfer(Layout(images("small")), at(server, "one:1"))
    summary = transfer(at(server, "one:1"), at(server, "two:1"))
    assert set(summary.counts) == {Outcome.MOUNTED, Outcome.COPIED}
    assert summary.counts[Outcome.COPIED] == 1  # the manifest


def test_a_push_mounts_what_was_pulled_from_another_repository(
    server: RegistryServer, images: Callable[[str], Path], tmp_path: Path
) -> None:
    transfer(Layout(images("small")), at(server, "one:1"))
    transfer(at(server, "one:1"), Store(root=tmp_path))
    summary = transfer(Store(root=tmp_path), at(server, "two:1"))
    assert summary.counts[Outcome.MOUNTED] == 2


def test_what_is_there_is_not_sent_again(server: RegistryServer, images: Callable[[str], Path]) -> None:
    transfer(Layout(images("small")), at(server, "app:1"))
    summary = transfer(Layout(images("small")), at(server, "app:2"))
    assert summary.counts[Outcome.PRESENT] == 2


def test_several_images_keep_their_paths_and_tags_below_a_prefix(
    server: RegistryServer, images: Callable[[str], Path], tmp_path: Path
) -> None:
    transfer(Layout(images("many-10")), Store(root=tmp_path))
    transfer(Layout(images("multi")), Store(root=tmp_path))
    summary = transfer(Store(root=tmp_path), at(server, "mirror/"))
    assert len(summary.roots) == 11
    assert all(root.name and root.name.startswith(f"{server.host}/mirror/") for root in summary.roots)
    back = Memory()
    for root in summary.roots:
        transfer(Registry(root.name or "", plain_http=True, credential=nobody, environment={}), back)
    assert len(back.names) == 11


def test_some_platforms_of_an_index_need_a_decision(server: RegistryServer, images: Callable[[str], Path]) -> None:
    two = (Platform.parse("linux/amd64"), Platform.parse("linux/arm64"))
    with pytest.raises(PolicyRefused):
        transfer(Layout(images("multi")), at(server, "app:1"), selection=Selection(platforms=two))
    assert not kinds(server)["PUT manifest.put"]
    transfer(Layout(images("multi")), at(server, "app:1"), selection=Selection(platforms=two, index="rewrite"))
    transfer(Layout(images("multi")), at(server, "one:1"), selection=Selection(platforms=two[:1]))
    assert transfer(at(server, "one:1"), Memory()).roots[0].descriptor.is_manifest


@pytest.mark.parametrize("with_api", [True, False])
def test_referrers_go_along(with_api: bool, images: Callable[[str], Path], tmp_path: Path) -> None:
    source = Layout(images("artifact"))
    name = next(root.name for root in transfer(source, Memory()).roots if root.name)
    along = Selection(referrers="")
    with RegistryServer(referrers=with_api) as server:
        transfer(Layout(images("artifact"), name), at(server, "app:1"), selection=along)
        with RegistryServer(referrers=not with_api) as other:
            transfer(at(server, "app:1"), at(other, "app:1"), selection=along)
            store = Store(root=tmp_path)
            summary = transfer(at(other, "app:1"), store, selection=along)
    assert len([root for root in summary.roots if root.subject]) == 1


def test_an_absent_tag_says_so(server: RegistryServer) -> None:
    with pytest.raises(NotFound, match=r"tag nothing of app.*registry 127\.0\.0\.1"):
        transfer(at(server, "app:nothing"), Memory())


@pytest.mark.peer("docker-registry")
@pytest.mark.parametrize("kind", ["small", "multi", "docker", "zstd"])
def test_the_real_registry_takes_and_gives_everything(
    kind: str, docker_registry: Any, images: Callable[[str], Path], tmp_path: Path
) -> None:
    original = images(kind)

    def here(name: str) -> Registry:
        return Registry(f"{docker_registry.host}/{name}", credential=nobody, environment={})

    transfer(Layout(original), Store(root=tmp_path / "store"))
    transfer(Store(root=tmp_path / "store"), here(f"push-{kind}:1"))
    transfer(here(f"push-{kind}:1"), here(f"copy-{kind}:1"))
    transfer(here(f"copy-{kind}:1"), Archive(tmp_path / "a.tar"))
    transfer(Archive(tmp_path / "a.tar"), Layout(tmp_path / "last"))
    assert graphs.images(tmp_path / "last") == graphs.images(original)
