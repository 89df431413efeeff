"""The unmodified nerdctl against our daemon and, with the same expectations, against a real containerd: what runs no containers.

nerdctl from 2.3 on leaves pulls, archives and tags to the Transfer service; before, it does them by Content and Images, and unpacks by itself.
Debian has none: TRANSHIP_NERDCTL names one.
"""

from __future__ import annotations

import itertools
import json
import re
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from support import graphs
from support.images import blobs
from support.peers import Peers
from tranship import Archive, Layout, Registry, transfer
from tranship.model.digest import Digest
from tranship.model.secret import Credential, Secret
from tranship.testing.registry import Basic, RegistryServer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.peer("nerdctl")
ALICE = Credential(username="alice", password=Secret("secret"))
_numbers = itertools.count()


@dataclass(frozen=True)
class Nerdctl:
    """nerdctl in one namespace of one daemon."""

    peers: Peers
    address: str
    namespace: str
    ours: bool

    def __call__(self, *args: str | Path, fails: bool = False) -> str:
        """What it printed; with `fails`, what it complained of."""
        done = self.peers.run(
            "nerdctl",
            "--address",
            self.address,
            "--namespace",
            self.namespace,
            "--data-root",
            self.peers.home.path / "nerdctl",
            "--insecure-registry",
            *args,
            check=False,
        )
        assert bool(done.returncode) == fails, done.stderr
        return done.stderr if fails else done.stdout

    @property
    def transfers(self) -> bool:
        """Does it leave transfers to the daemon?"""
        found = re.search(r"(\d+)\.(\d+)\.", self.peers.run("nerdctl", "--version").stdout)
        assert found
        return (int(found[1]), int(found[2])) >= (2, 3)

    @property
    def unpacks(self) -> bool:
        """Does it ask this daemon, by itself, for what ours does not have?"""
        return self.ours and not self.transfers

    def images(self) -> set[tuple[str, str, str]]:
        """Name, digest and platform of each row that it lists."""
        rows = map(json.loads, self("images", "--no-trunc", "--format", "json").splitlines())
        return {(row["Name"], row["Digest"], row["Platform"]) for row in rows}


@pytest.fixture(params=["tranship", "containerd"])
def nerdctl(request, home, daemon):
    ours = request.param == "tranship"
    address = daemon.address if ours else str(request.getfixturevalue("containerd").address)
    daemon.collector.run()  # the one at the start, which would take what nerdctl writes without a lease
    return Nerdctl(Peers(home), address, f"nerdctl{next(_numbers)}", ours)


@pytest.fixture
def server():
    with RegistryServer() as running:
        yield running


def offer(layout, server, name, credential=lambda *_: None):
    """Put an image at a registry; its name there, and its digest."""
    end = Registry(f"{server.host}/{name}", plain_http=True, credential=credential, environment={})
    (root,) = transfer(Layout(layout), end).roots
    return f"{server.host}/{name}", str(root.descriptor.digest)


def at(server, name, folder):
    """The images of a registry's name."""
    transfer(Registry(f"{server.host}/{name}", plain_http=True, environment={}), Layout(folder))
    return graphs.images(folder)


def test_version_and_info_name_the_server(nerdctl):
    version = json.loads(nerdctl("version", "--format", "json"))["Server"]["Components"][0]["Version"]
    assert version.startswith("2.")
    assert version in nerdctl("info")


def test_namespaces_are_listed_with_their_images(nerdctl, images, server):
    name, _ = offer(images("small"), server, "app:1")
    nerdctl("pull", "--quiet", "--unpack=false", name)
    nerdctl("tag", name, "example.com/copy:1")
    other = f"{nerdctl.namespace}-other"
    nerdctl("namespace", "create", other, "--label", "a=b")
    assert json.loads(nerdctl("namespace", "inspect", other))[0]["Labels"] == {"a": "b"}
    rows = {row.split()[0]: row.split()[2] for row in nerdctl("namespace", "ls").splitlines()[1:]}
    assert (rows[nerdctl.namespace], rows[other]) == ("2", "0")
    nerdctl("namespace", "rm", other)
    assert other not in nerdctl("namespace", "ls").split()


@pytest.mark.parametrize("kind", ["small", "multi", "docker"])
def test_pull_list_and_inspect(nerdctl, images, server, kind):
    name, digest = offer(images(kind), server, f"{kind}/app:1")
    nerdctl("pull", "--unpack=false", name)
    assert nerdctl.images() == {(name, digest, "linux/amd64")}
    native = json.loads(nerdctl("image", "inspect", "--mode=native", name))[0]
    assert (native["Image"]["Name"], native["Image"]["Target"]["digest"]) == (name, digest)
    found = json.loads(nerdctl("image", "inspect", name))[0]
    assert found["RepoTags"] == [name]
    assert found["Id"] == native["Manifest"]["config"]["digest"]
    assert found["Architecture"] == "amd64"


def test_pull_without_options(nerdctl, images, server):
    name, digest = offer(images("multi"), server, "app:1")
    said = nerdctl("pull", name, fails=nerdctl.unpacks)
    if nerdctl.unpacks:  # before it names the image
        assert "this daemon moves images and does not unpack them" in said
    assert nerdctl.images() == (set() if nerdctl.unpacks else {(name, digest, "linux/amd64")})


def test_pull_of_chosen_and_of_all_platforms(nerdctl, images, server):
    name, digest = offer(images("multi"), server, "app:1")
    nerdctl("pull", "--quiet", "--unpack=false", "--platform", "linux/arm64", name)
    assert nerdctl.images() == {(name, digest, "linux/arm64")}
    nerdctl("pull", "--quiet", "--unpack=false", "--all-platforms", name)
    assert {platform for *_, platform in nerdctl.images()} == {"linux/amd64", "linux/arm64", "linux/arm/v7"}


def test_pull_of_what_is_not_there_is_not_found(nerdctl, server):
    assert "not found" in nerdctl("pull", "--quiet", f"{server.host}/none:1", fails=True)
    assert nerdctl.images() == set()


def test_pull_with_a_login(nerdctl, images):
    with RegistryServer(auth=Basic({"alice": "secret"})) as server:
        name, digest = offer(images("small"), server, "app:1", lambda *_: ALICE)
        nerdctl("pull", "--quiet", "--unpack=false", name, fails=True)
        nerdctl("login", "--username", "alice", "--password", "secret", server.host)
        nerdctl("pull", "--quiet", "--unpack=false", name)
    assert nerdctl.images() == {(name, digest, "linux/amd64")}


def test_tag_and_push(nerdctl, images, server, tmp_path):
    name, _ = offer(images("multi"), server, "app:1")
    nerdctl("pull", "--quiet", "--unpack=false", "--all-platforms", name)
    copy = f"{server.host}/copy/app:2"
    nerdctl("tag", name, copy)
    nerdctl("push", "--all-platforms", copy)
    assert at(server, "copy/app:2", tmp_path / "copy") == at(server, "app:1", tmp_path / "first")


def test_save_remove_and_load(nerdctl, images, server, tmp_path):
    name, digest = offer(images("multi"), server, "app:1")
    nerdctl("pull", "--quiet", "--unpack=false", "--all-platforms", name)
    listed = nerdctl.images()
    saved = tmp_path / "saved.tar"
    nerdctl("save", "--all-platforms", "-o", saved, name)
    transfer(Archive(saved), Layout(tmp_path / "saved"))
    assert blobs(tmp_path / "saved").keys() >= blobs(images("multi")).keys()
    assert f"Untagged: {name}@{digest}" in nerdctl("rmi", name)
    assert nerdctl.images() == set()
    nerdctl("load", "--quiet", "--all-platforms", "--input", saved, fails=nerdctl.unpacks)
    assert nerdctl.images() == listed


def test_a_file_system_in_a_tar_is_imported(nerdctl, tmp_path):
    (tmp_path / "hello").write_text("hello")
    with tarfile.open(tmp_path / "files.tar", "w") as tar:
        tar.add(tmp_path / "hello", "hello")
    nerdctl("import", tmp_path / "files.tar", "example.com/files:1", fails=nerdctl.unpacks)
    assert [name for name, *_ in nerdctl.images()] == ["example.com/files:1"]


def test_convert_and_prune(nerdctl, images, server):
    name, digest = offer(images("docker"), server, "app:1")
    nerdctl("pull", "--quiet", "--unpack=false", name)
    converted = nerdctl("image", "convert", "--oci", name, "example.com/oci:1").split()[-1]
    assert Digest.parse(converted) != digest
    assert {(found, of) for found, of, _ in nerdctl.images()} == {(name, digest), ("example.com/oci:1", converted)}
    nerdctl("image", "prune", "--all", "--force")
    assert nerdctl.images() == set()


@pytest.mark.parametrize("nerdctl", ["tranship"], indirect=True)
def test_what_needs_unpacked_layers_says_so(nerdctl, images, server):
    name, _ = offer(images("small"), server, "app:1")
    nerdctl("pull", "--quiet", "--unpack=false", name)
    assert "does not exist: not found" in nerdctl("history", name, fails=True)
    assert "does not unpack them: not implemented" in nerdctl("run", "--net=none", name, fails=True)
    assert nerdctl("ps", "--all", "--quiet") == ""
