"""What transfers cost in requests and connections: counted at the registry, and the same whatever the machine does."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from support.registry_runs import ALICE, NEW, OLD, REPOSITORY, Image, at, auth, image
from tranship import Layout, Outcome, Registry, Selection, plan, transfer
from tranship.testing.memory import Memory
from tranship.testing.registry import RegistryServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WORKERS = 4
TINY = image(7, *range(100, 140))
LARGE = image(8, *range(100_000, 100_020))


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as running:
        yield running


def kinds(server: RegistryServer) -> Counter[str]:
    """The requests since the last time, by kind."""
    found = server.counts
    server.forget()
    return found


def test_a_push_costs_two_requests_a_blob(server: RegistryServer) -> None:
    transfer(TINY.memory(), at(server))
    assert kinds(server) == {"manifest.head": 1, "upload.mount": 41, "upload.finish": 41, "manifest.put": 1}
    assert server.connections <= WORKERS + 1


def test_a_push_of_large_blobs_learns_once_what_a_mount_tells(server: RegistryServer) -> None:
    """An upload that a mount opens may mean that the blob is there and the registry does not see it. That is asked for, until
    it is known: by each worker at most once, and one mount of what has just been sent tells.
    """
    transfer(LARGE.memory(), at(server))
    counts = kinds(server)
    assert counts.pop("blob.head") <= WORKERS
    assert counts == {"manifest.head": 1, "upload.mount": 22, "upload.finish": 21, "manifest.put": 1}


def test_a_registry_that_does_not_know_mounts_is_not_sent_again_what_it_has(server: RegistryServer) -> None:
    with server.fault("mount-ignored"):
        transfer(LARGE.memory(), at(server))
        kinds(server)
        more = image(9, 70_000)
        value = Memory(blobs={**LARGE.blobs, **more.everything}, names={})
        both = _appended(LARGE, more)
        value.blobs[both.digest] = both.raw
        value.names["example.com/x:1"] = both.memory().names["example.com/acme/app:1"]
        transfer(value, at(server))
        assert server.received("upload") == sum(map(len, more.blobs.values()))
        assert server.count("upload.finish") == 2  # the new layer, and the config
    assert server.tags(REPOSITORY) == {"1": both.digest}


def _appended(base: Image, more: Image) -> Image:
    """The base with the layers of another image, and its config."""
    from tranship.model import strict_json

    value, other = (strict_json.loads(one.raw, "") for one in (base, more))
    value["layers"] += other["layers"]
    value["config"] = other["config"]
    return Image(strict_json.dumps(value), {**base.blobs, **more.blobs})


def test_a_pull_costs_one_request_a_blob(server: RegistryServer) -> None:
    TINY.put(server)
    transfer(at(server), Memory())
    assert kinds(server) == {"manifest.head": 1, "manifest.get": 1, "blob.get": 41}
    assert server.connections <= WORKERS


def test_a_mirror_costs_as_much_as_a_pull_and_a_push(server: RegistryServer) -> None:
    TINY.put(server)
    with RegistryServer() as other:
        transfer(at(server), at(other))
        assert kinds(server) == {"manifest.head": 1, "manifest.get": 1, "blob.get": 41}
        assert kinds(other) == {"manifest.head": 1, "upload.mount": 41, "upload.finish": 41, "manifest.put": 1}
        transfer(at(server), at(other))
        assert kinds(server) == {"manifest.head": 1}
        assert kinds(other) == {"manifest.head": 1}


def test_a_copy_within_a_registry_costs_one_request_a_blob(server: RegistryServer) -> None:
    LARGE.put(server)
    summary = transfer(at(server), at(server, name="other/app:1"))
    assert summary.counts == {Outcome.MOUNTED: 21, Outcome.COPIED: 1}
    assert kinds(server) == {"manifest.head": 2, "manifest.get": 1, "upload.mount": 21, "manifest.put": 1}


@pytest.mark.parametrize("by", ["tag", "digest", "prefix", "index"])
def test_a_repeat_costs_one_request_for_each_end(
    by: str, server: RegistryServer, images: Callable[[str], Path], tmp_path: Path
) -> None:
    source: Any = Layout(images("multi")) if by == "index" else NEW.memory()
    (root,) = transfer(source, Memory()).roots
    name = {"digest": f"{REPOSITORY}@{root.descriptor.digest}", "prefix": "mirror/"}.get(by, f"{REPOSITORY}:1")
    transfer(source, at(server, name=name))
    kinds(server)
    summary = transfer(source, at(server, name=name))
    assert summary.moved == 0
    assert kinds(server) == {"manifest.head": 1}
    named = summary.roots[0].name or ""
    assert named.startswith(server.host)
    with RegistryServer() as other:
        here = Registry(named, plain_http=True, environment={}, hosts_dir="/nonexistent")
        transfer(here, at(other, name=name))
        kinds(server)
        kinds(other)
        transfer(here, at(other, name=name))
        assert (kinds(server), kinds(other)) == ({"manifest.head": 1}, {"manifest.head": 1})
    assert tmp_path


def test_a_platform_that_is_there_already_costs_a_look_and_its_documents(
    server: RegistryServer, images: Callable[[str], Path]
) -> None:
    from tranship.model.platform import Platform

    one = Selection(platforms=(Platform.parse("linux/amd64"),))
    transfer(Layout(images("multi")), at(server), selection=one)
    tags = server.tags(REPOSITORY)
    kinds(server)
    transfer(Layout(images("multi")), at(server), selection=one)
    assert server.tags(REPOSITORY) == tags
    assert "upload.finish" not in kinds(server)


def test_whether_loopback_speaks_tls_is_looked_at_once_for_an_end(server: RegistryServer) -> None:
    TINY.put(server)
    with RegistryServer() as other:
        transfer(at(server, plain_http=False), at(other, plain_http=False))
        assert kinds(server) == {"ping": 1, "manifest.head": 1, "manifest.get": 1, "blob.get": 41}
        counts = kinds(other)
        assert counts.pop("ping") == 1
        assert counts == {"manifest.head": 1, "upload.mount": 41, "upload.finish": 41, "manifest.put": 1}


def test_tokens_come_besides(server: RegistryServer) -> None:
    del server
    with RegistryServer(auth=auth("token", ALICE)) as server:
        transfer(TINY.memory(), at(server, ALICE))
        counts = kinds(server)
        assert counts.pop("token") == 2  # to look, and to write
        assert counts == {"manifest.head": 2, "upload.mount": 41, "upload.finish": 41, "manifest.put": 1}
        transfer(at(server, ALICE), Memory())
        assert kinds(server) == {"token": 1, "manifest.head": 2, "manifest.get": 1, "blob.get": 41}


def test_a_dry_run_asks_and_writes_nothing(server: RegistryServer) -> None:
    """Not even an upload is opened."""
    some = sorted(TINY.blobs)[:10]
    for digest in some:
        server.put_blob(REPOSITORY, TINY.blobs[digest])
    todo = plan(TINY.memory(), at(server))
    assert todo.present == frozenset(some)
    assert {exchange.method for exchange in server.requests} == {"HEAD"}
    assert not server.state.uploads
    assert not server.tags(REPOSITORY)
    server.forget()
    OLD.put(server)
    plan(at(server), at(server, name="other:1"))
    assert {exchange.method for exchange in server.requests} == {"HEAD", "GET"}


@pytest.mark.parametrize("count", [20, 200])
def test_many_images_in_one_call_cost_the_same_for_each_and_few_connections(count: int, server: RegistryServer) -> None:
    many = Memory()
    for number in range(count):
        one = image(1000 + number, 300)
        many.blobs.update(one.everything)
        many.names[f"example.com/group{number % 7}/app{number}:v{number}"] = one.memory().names[
            "example.com/acme/app:1"
        ]
    summary = transfer(many, at(server, name="mirror/"))
    assert kinds(server) == {
        "manifest.head": count,
        "upload.mount": 2 * count,
        "upload.finish": 2 * count,
        "manifest.put": count,
    }
    assert server.connections <= WORKERS + 1
    names = tuple(root.name or "" for root in summary.roots)
    together = Registry(names, plain_http=True, environment={}, hosts_dir="/nonexistent")
    back, before = Memory(), server.connections
    transfer(together, back)
    assert back.blobs == many.blobs
    assert list(back.names) == list(names)
    assert kinds(server) == {"manifest.head": count, "manifest.get": count, "blob.get": 2 * count}
    assert server.connections - before <= WORKERS + 1
    with RegistryServer() as other:
        transfer(together, at(other, name="copy/"))
        assert kinds(server) == {"manifest.head": count, "manifest.get": count, "blob.get": 2 * count}
        assert other.connections <= WORKERS + 1
    transfer(many, at(server, name="mirror/"))
    assert kinds(server) == {"manifest.head": count}
