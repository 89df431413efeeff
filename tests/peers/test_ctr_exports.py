"""`ctr images export` is never truncated. Against a real containerd about one in ten is, with exit status 0."""

import os
import tarfile

import pytest

pytest.importorskip("grpc", reason="grpcio is in the `daemon` extra")

from support.peers import Peers, temporary_home
from tranship import Layout, transfer
from tranship.daemon.server import Daemon
from tranship.endpoints.store import Store as StoreEnd
from tranship.model.digest import Digest
from tranship.store import Store

RUNS = int(os.environ.get("TRANSHIP_EXPORTS", "30"))  # for each of the images


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.peer("ctr")
@pytest.mark.parametrize("kind", ["small", "large"])
def test_every_archive_in_a_row_is_whole(images, tmp_path, kind):
    name = f"localhost/{kind}:v1"
    with (
        temporary_home() as home,
        Store.open(tmp_path / "store", durability="process") as store,
        Daemon(store, home.path / "run/t.sock") as daemon,
    ):
        transfer(Layout(images(kind)), StoreEnd(opened=store))
        peers = Peers(home)
        archives = set()
        for _ in range(RUNS):
            out = tmp_path / "out.tar"
            peers.run("ctr", "--address", daemon.address, "images", "export", out, name)
            archives.add(out.read_bytes().rstrip(b"\0"))
            out.unlink()
        (archive,) = archives
    out.write_bytes(archive + bytes(1024))
    with tarfile.open(out) as tar:
        blobs = [m for m in tar.getmembers() if m.name.startswith("blobs/sha256/") and m.isfile()]
        assert all(Digest.of(tar.extractfile(m).read()).hex == m.name.rpartition("/")[2] for m in blobs)
    assert len(blobs) >= 3
