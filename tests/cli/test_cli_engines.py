"""Ends that are programs: a containerd (here, our own daemon), and engines that are not there. Real ones are in tests/peers."""

import os

import pytest

pytest.importorskip("grpc", reason="grpcio is in the `daemon` extra")

from support.peers import temporary_home
from tranship.daemon.server import Daemon
from tranship.store import Store

APP = "docker.io/library/app:1"


@pytest.fixture
def engine(tmp_path):
    """A daemon over a store of its own."""
    with (
        temporary_home() as home,
        Store.open(tmp_path / "engine", durability="process") as store,
        Daemon(store, home.path / "run/t.sock") as daemon,
    ):
        yield daemon


def names(engine, namespace="default"):
    return [image.name for image in engine._store.namespace(namespace).images.list()]


def test_images_go_into_a_containerd_and_come_back(stocked, engine, monkeypatch):
    monkeypatch.setenv("CONTAINERD_ADDRESS", engine.address)
    stocked("copy", "store:app:1", "containerd:there:2")
    assert names(engine) == ["docker.io/library/there:2"]
    stocked("copy", "containerd:docker.io/library/there:2", "store:back:3")
    assert stocked("digest", "back:3").lines == stocked("digest", "app:1").lines
    stocked("verify", "back:3")


def test_the_source_keeps_its_names_where_none_is_said(stocked, engine, monkeypatch):
    monkeypatch.setenv("CONTAINERD_ADDRESS", engine.address)
    stocked("copy", "store:", "containerd:")
    assert names(engine) == sorted(stocked("ls", "-q").lines)
    stocked("copy", "containerd:", "all.tar")
    assert sorted(stocked("ls", "-q", "all.tar").lines) == names(engine)


def test_namespace_and_socket_may_be_said_in_the_end(stocked, engine):
    end = f"containerd://k8s.io/{APP}?address={engine.address}"
    stocked("copy", "store:app:1", end)
    assert (names(engine, "k8s.io"), names(engine)) == ([APP], [])
    stocked("copy", end, "oci:out:1")
    ran = stocked.failing("copy", f"containerd:///{APP}?address={engine.address}", "oci:out:2")
    assert ran.code == 3
    assert f"there is no image '{APP}' in namespace default of {engine.address}" in ran.err
    escaped = f"containerd://k8s.io/{APP.replace(':', '%3A')}?address={engine.address.replace('/', '%2F')}"
    assert stocked("digest", escaped).out == stocked("digest", end).out


def test_existing_names_stay_when_asked(stocked, engine):
    end = f"containerd:///{APP}?address={engine.address}"
    stocked("copy", "store:app:1", end)
    assert stocked.failing("copy", "--no-clobber", "store:app:new", end).code == 10
    before = stocked("digest", end).out
    stocked("copy", "store:app:new", end)
    assert stocked("digest", end).out != before


@pytest.mark.parametrize("word", ["addres", "platform", ""])
def test_what_an_end_cannot_say_is_refused(stocked, word):
    ran = stocked.failing("copy", f"containerd://lab/app:1?{word}=x", "oci:out")
    assert ran.code == 2
    assert "containerd://NAMESPACE/NAME?address=SOCKET" in ran.err


@pytest.mark.parametrize(
    ("end", "variable"),
    [
        ("containerd:app:1", "CONTAINERD_ADDRESS"),
        ("docker-daemon:app:1", "DOCKER_HOST"),
        ("podman:app:1", "CONTAINER_HOST"),
    ],
)
def test_one_that_does_not_run_is_told_with_its_socket(stocked, tmp_path, monkeypatch, end, variable):
    monkeypatch.setenv(variable, f"unix://{tmp_path}/absent.sock")
    for words in (("copy", end, "oci:out"), ("copy", "store:app:1", end)):
        ran = stocked.failing(*words)
        assert ran.code == 6, ran
        assert f"{tmp_path}/absent.sock" in ran.err
    assert not os.path.exists("out")


def test_engines_move_names_and_cannot_be_told_not_to(stocked):
    ran = stocked.failing("copy", "--no-clobber", "store:app:1", "docker-daemon:app:1")
    assert ran.code == 2
    assert "moves names" in ran.err
