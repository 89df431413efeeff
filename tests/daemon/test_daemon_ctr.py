"""The unmodified `ctr`, of containerd 2.1, 1.7 and 1.6, against our daemon: what needs no transfer, and the transfers of 1.7."""

import json
import os
import subprocess
import tarfile

import pytest

from support.peers import Peers
from tranship.model.digest import Digest
from tranship.testing.registry import RegistryServer

pytestmark = pytest.mark.peer("ctr", "ctr@trixie", "ctr@bookworm")
HELLO = Digest.of(b"hello")
NAME = "localhost/multi:v1"


@pytest.fixture(params=["ctr", "ctr@trixie", "ctr@bookworm"])
def ctr(request, daemon, home):
    """Runs ctr in namespace `lab`; gives what it printed, or with `fails` what it complained of."""
    peers = Peers(home)
    daemon.collector.run()  # the one at the start, which would take what ctr writes without a lease

    def run(*args, stdin="", fails=False):
        done = subprocess.run(
            peers.command(request.param, "--address", daemon.address, "--namespace", "lab", *args),
            env=peers.environment(request.param),
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        assert bool(done.returncode) == fails, done.stderr
        return done.stderr if fails else done.stdout

    run.version = request.param
    return run


only_ctr_2 = pytest.mark.parametrize("ctr", ["ctr"], indirect=True)


@pytest.fixture(scope="session")
def archive(images, tmp_path_factory):
    path = tmp_path_factory.mktemp("archives") / "multi.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(images("multi"), arcname=".")
    return path


def rows(text):
    """The lines of one of ctr's tables, without its heading."""
    return [line.split() for line in text.splitlines()[1:]]


def test_version_names_the_server(ctr, daemon):
    from tranship.version import __version__

    assert f"2.1.0+tranship.{__version__}\n" in ctr("version")  # the containerd's whose API it is; clients decide by it


@only_ctr_2
def test_info_says_who_serves(ctr):
    assert json.loads(ctr("info"))["server"]["pid"] == os.getpid()


def test_plugins_say_what_serves(ctr):
    table = ctr("plugins", "ls")
    assert "io.containerd.content.v1" in table
    assert "io.containerd.lease.v1" in table
    assert "error" not in table


def test_namespaces(ctr):
    ctr("namespaces", "create", "made", "a=b")
    ctr("namespaces", "label", "made", "c=d")
    assert [*rows(ctr("namespaces", "ls"))] == [["made", "a=b,c=d"]]
    assert "already exists" in ctr("namespaces", "create", "made", fails=True)
    assert ctr("namespaces", "rm", "made").strip() == "made"
    assert ctr("namespaces", "ls", "-q") == ""


def test_content(ctr):
    ctr("content", "ingest", "--expected-digest", HELLO, "--expected-size", "5", "r", stdin="hello")
    ctr("content", "ingest", "r2", stdin="hello")  # there already: fine
    assert rows(ctr("content", "ls"))[0][:2] == [HELLO, "5B"]
    assert ctr("content", "ls", "-q").split() == [HELLO]
    assert ctr("content", "get", HELLO) == "hello"
    ctr("content", "label", HELLO, "a=b", "c=d")
    assert ctr("content", "ls", "-q", "labels.a==b,labels.c").split() == [HELLO]
    ctr("content", "label", HELLO, "a=")
    assert ctr("content", "ls", "-q", "labels.a").split() == []
    assert ctr("content", "active").splitlines()[1:] == []
    assert "filters: parse error" in ctr("content", "ls", "size>1", fails=True)
    ctr("content", "rm", HELLO)
    assert "not found" in ctr("content", "get", HELLO, fails=True)


def test_content_that_is_not_as_expected_stays_as_an_ingest(ctr):
    message = ctr("content", "ingest", "--expected-size", "99", "r", stdin="hello", fails=True)
    assert "failed size validation" in message or "unexpected" in message
    assert [row[:2] for row in rows(ctr("content", "active"))] == [["r", "5B"]]


def test_leases(ctr):
    ctr("leases", "create", "--id", "l", "x=y")
    assert rows(ctr("leases", "ls"))[0][0] == "l"
    assert ctr("leases", "ls", "-q").split() == ["l"]
    ctr("leases", "delete", "--sync", "l")
    assert ctr("leases", "ls", "-q") == ""
    assert "not found" in ctr("leases", "delete", "l", fails=True)


def test_images_are_imported_client_side_listed_labelled_exported_and_removed(ctr, archive, store, tmp_path):
    local = ["--local"] if ctr.version == "ctr" else []
    ctr("images", "import", *local, "--no-unpack", "--all-platforms", str(archive))
    listed = rows(ctr("images", "ls"))
    assert [row[0] for row in listed] == [NAME]
    assert any(cell.startswith("linux/amd64,linux/arm/v7,linux/arm64/v8") for cell in listed[0])
    assert "complete (4/4)" in ctr("images", "check")
    assert "k=v" in ctr("images", "label", NAME, "k=v")
    ctr("images", "tag", *local, NAME, "localhost/copy:v1")
    assert "already exists" in ctr("images", "tag", *local, NAME, "localhost/copy:v1", fails=True)
    out = tmp_path / "out.tar"
    ctr("images", "export", *local, "--all-platforms", str(out), "localhost/copy:v1")
    with tarfile.open(out) as tar:
        blobs = [m for m in tar.getmembers() if m.name.startswith("blobs/sha256/") and m.isfile()]
        for member in blobs:
            assert Digest.of(tar.extractfile(member).read()).hex == member.name.rpartition("/")[2]
    assert len(blobs) >= 10
    held = ctr("content", "ls", "-q").split()
    assert len(held) >= len(blobs)
    ctr("images", "rm", "--sync", NAME, "localhost/copy:v1")
    assert ctr("images", "ls", "-q") == ""
    assert ctr("content", "ls", "-q") == ""
    assert not any(store.path_of(Digest(digest)).exists() for digest in held)


@pytest.mark.parametrize("ctr", ["ctr@trixie"], indirect=True)
def test_transfers_of_ctr_1_7(ctr, archive, store, tmp_path):
    """They are asked for by an option there, and know no plain HTTP, which the loopback interface is given all the same."""
    ctr("images", "import", "--local=false", "--all-platforms", str(archive))
    with RegistryServer() as server:
        ctr("images", "push", "--local=false", f"{server.host}/multi:v1", NAME)
        ctr("images", "pull", "--local=false", "--all-platforms", f"{server.host}/multi:v1")
    ctr("images", "tag", "--local=false", f"{server.host}/multi:v1", "localhost/tagged:v1")
    assert ctr("images", "ls", "-q").split() == [f"{server.host}/multi:v1", NAME, "localhost/tagged:v1"]
    images = store.namespace("lab").images
    assert {images.get(name).target.digest for name in ctr("images", "ls", "-q").split()} == {
        images.get(NAME).target.digest
    }
    ctr("images", "export", "--local=false", "--all-platforms", str(tmp_path / "out.tar"), "localhost/tagged:v1")
    with tarfile.open(archive) as one, tarfile.open(tmp_path / "out.tar") as other:
        kept = {name.removeprefix("./") for name in one.getnames() if "blobs/sha256/" in name}
        assert kept <= set(other.getnames())


def test_missing_images_are_told_as_by_containerd(ctr):
    ctr("images", "rm", "nope")  # a warning
    assert 'image "nope": not found' in ctr("images", "label", "nope", "a=b", fails=True)


@only_ctr_2
def test_images_are_inspected_and_converted(ctr, archive):
    ctr("images", "import", "--local", "--no-unpack", "--all-platforms", str(archive))
    assert "application/vnd.oci.image.index.v1+json" in ctr("images", "inspect", "--content", NAME)
    ctr("images", "convert", "--oci", "--all-platforms", NAME, "localhost/converted:v1")
    assert "localhost/converted:v1" in ctr("images", "ls", "-q").split()


def test_snapshots_are_none(ctr):
    assert rows(ctr("snapshots", "ls")) == []
    assert "does not exist: not found" in ctr("snapshots", "info", "nope", fails=True)


def test_events_reach_ctr(ctr, daemon, home):
    """`ctr events` until two of them came."""
    peers = Peers(home)
    command = peers.command(ctr.version, "--address", daemon.address, "events", "namespace==lab")
    with subprocess.Popen(
        command, env=peers.environment(ctr.version), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
    ) as listening:
        try:
            while not daemon.events._subscriptions:
                assert listening.poll() is None
            ctr("content", "ingest", "r", stdin="hello")
            ctr("content", "rm", HELLO)
            if ctr.version == "ctr":  # 1.6 does not know this event and prints nothing of it
                assert "/content/create" in listening.stdout.readline()
            assert "/content/delete" in listening.stdout.readline()
        finally:
            listening.terminate()
