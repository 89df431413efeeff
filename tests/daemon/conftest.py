"""A daemon of ours in this process, over a store in a temporary folder, and our own client connected to it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("grpc", reason="grpcio is in the `daemon` extra")

from support.images import tar_layout
from support.peers import Home, temporary_home
from support.transfers import Transfers
from tranship.containerd.channel import Channel
from tranship.daemon.server import Daemon
from tranship.endpoints.layout import Layout
from tranship.endpoints.store import Store as StoreEnd
from tranship.engine.transfer import transfer
from tranship.model.digest import Digest
from tranship.store import NamespaceView, Store


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


@dataclass(frozen=True)
class Lab:
    """The daemon's store as namespace `lab` sees it, and a client of the Transfer service."""

    daemon: Daemon
    channel: Channel
    client: Transfers
    store: Store
    images: Callable[[str], Path]
    folder: Path  # the test's own

    @property
    def space(self) -> NamespaceView:
        return self.store.namespace("lab")

    def names(self) -> list[str]:
        return [image.name for image in self.space.images.list()]

    def held(self) -> set[str]:
        """What stays after a collection."""
        self.store.gc()
        return {info.digest for info in self.space.content.walk()}

    def fill(self, kind: str) -> None:
        """Put an image into the store behind the daemon's back."""
        transfer(Layout(self.images(kind)), StoreEnd(opened=self.store, namespace="lab"))

    def archive(self, kind: str) -> bytes:
        """An image as the bytes of an archive."""
        path = self.folder / f"{kind}.tar"
        return (path if path.exists() else tar_layout(self.images(kind), path)).read_bytes()

    def read(self, digest: str) -> bytes:
        return self.space.content.read_bytes(Digest.parse(digest), 10**8)


@pytest.fixture
def lab_of(images: Callable[[str], Path]) -> Callable[[Daemon, Channel, Store, Path], Lab]:
    """Makes a lab of a daemon that is not the usual one."""
    return lambda daemon, channel, store, folder: Lab(daemon, channel, Transfers(channel), store, images, folder)


@pytest.fixture
def lab(daemon, channel, store, lab_of, tmp_path) -> Iterator[Lab]:  # fixtures
    """Whatever a test does to it: in the end the store is sound, and no image lacks what it held."""
    yield lab_of(daemon, channel, store, tmp_path)
    report = store.fsck(deep=True)
    assert report.ok, [problem.detail for problem in report.problems]
