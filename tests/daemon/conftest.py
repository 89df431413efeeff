"""A daemon of ours in this process, over a store in a temporary folder, and our own client connected to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("grpc", reason="grpcio is in the `daemon` extra")

from support.peers import Home, temporary_home
from tranship.containerd.channel import Channel
from tranship.daemon.server import Daemon
from tranship.store import Store


@pytest.fixture
def home() -> Iterator[Home]:
    """A folder with a short path: a socket's has 107 bytes at most."""
    with temporary_home() as home:
        yield home


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", durability="process") as store:
        yield store


@pytest.fixture
def daemon(store: Store, home: Home) -> Iterator[Daemon]:
    with Daemon(store, home.path / "run/t.sock") as daemon:
        yield daemon


@pytest.fixture
def channel(daemon: Daemon) -> Iterator[Channel]:
    with Channel(daemon.address, namespace="lab") as channel:
        yield channel
