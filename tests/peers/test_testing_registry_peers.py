"""Real clients push to the test registry and pull from it: what they send is what it must take, and what they read must be right."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from support.images import blobs
from tranship.testing.registry import Basic, RegistryServer, Token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.daemons import Containerd
    from support.peers import Peers

USERS = {"alice": "secret"}
KINDS = ["small", "python", "docker", "zstd", "multi", "large"]


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with RegistryServer() as server:
        yield server


def root(layout: Path) -> str:
    """The digest of a layout's one root."""
    return str(json.loads((layout / "index.json").read_text("utf-8"))["manifests"][0]["digest"])


def same(made: Path, given: Path) -> bool:
    """Does a layout that a peer wrote hold the root and every blob of the given one?"""
    return root(made) == root(given) and blobs(given).keys() <= blobs(made).keys()


@pytest.mark.peer("skopeo")
@pytest.mark.parametrize("kind", KINDS)
def test_skopeo_pushes_and_pulls(
    registry: RegistryServer, peers: Peers, images: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    layout, name = images(kind), f"docker://{registry.host}/acme/app:v1"
    plain = ["--all", "--preserve-digests"]
    peers.run("skopeo", "copy", *plain, "--dest-tls-verify=false", f"oci:{layout}:v1", name)
    assert registry.tags("acme/app") == {"v1": root(layout)}
    peers.run("skopeo", "copy", *plain, "--src-tls-verify=false", name, f"oci:{tmp_path / 'made'}:v1")
    assert same(tmp_path / "made", layout)


@pytest.mark.peer("crane")
@pytest.mark.parametrize("kind", KINDS)
def test_crane_pushes_and_pulls(
    registry: RegistryServer, peers: Peers, images: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    layout, name = images(kind), f"{registry.host}/acme/app:v1"
    peers.run("crane", "push", *(["--index"] if kind == "multi" else []), layout, name)
    if kind in ("small", "python", "docker"):  # it knows no zstd, and no raw layers
        peers.run("crane", "validate", "--remote", name)
    peers.run("crane", "pull", "--format=oci", name, tmp_path / "made")
    pushed = registry.tags("acme/app")["v1"]
    assert root(tmp_path / "made") == pushed
    held = {digest: registry.content("acme/app", digest) for digest in blobs(layout) if digest != root(layout)}
    assert all(held[digest] == path.read_bytes() for digest, path in blobs(layout).items() if digest in held)


@pytest.mark.peer("crane")
def test_crane_mounts_lists_and_deletes(registry: RegistryServer, peers: Peers, images: Callable[[str], Path]) -> None:
    peers.run("crane", "push", images("python"), f"{registry.host}/acme/app:v1")
    peers.run("crane", "copy", f"{registry.host}/acme/app:v1", f"{registry.host}/other/app:v2")
    assert registry.count("upload.mount", status=201) >= 3
    assert peers.run("crane", "ls", f"{registry.host}/other/app").stdout.split() == ["v2"]
    assert peers.run("crane", "catalog", registry.host).stdout.split() == ["acme/app", "other/app"]
    digest = peers.run("crane", "digest", f"{registry.host}/other/app:v2").stdout.strip()
    peers.run("crane", "delete", f"{registry.host}/other/app@{digest}")
    assert registry.tags("other/app") == {}
    assert registry.tags("acme/app") == {"v1": digest}


@pytest.mark.peer("oras")
@pytest.mark.parametrize("kind", KINDS)
def test_oras_pushes_and_pulls(
    registry: RegistryServer, peers: Peers, images: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    layout, name = images(kind), f"{registry.host}/acme/app:v1"
    peers.run("oras", "cp", "--from-oci-layout", "--to-plain-http", f"{layout}:v1", name)
    peers.run("oras", "cp", "--to-oci-layout", "--from-plain-http", name, f"{tmp_path / 'made'}:v1")
    assert same(tmp_path / "made", layout)


@pytest.mark.peer("oras")
@pytest.mark.parametrize("referrers", [True, False])
def test_oras_attaches_and_discovers_with_and_without_the_referrers_api(
    peers: Peers, images: Callable[[str], Path], tmp_path: Path, referrers: bool
) -> None:
    (tmp_path / "note.txt").write_text("checked", "utf-8")
    with RegistryServer(referrers=referrers) as registry:
        name = f"{registry.host}/acme/app:v1"
        peers.run("oras", "cp", "--from-oci-layout", "--to-plain-http", f"{images('small')}:v1", name)
        attach = ["attach", "--plain-http", "--artifact-type", "application/vnd.example.note", name, "note.txt"]
        peers.run("oras", *attach, cwd=tmp_path)
        found = peers.run("oras", "discover", "--plain-http", "--format", "json", name)
        types = [item["artifactType"] for item in json.loads(found.stdout)["referrers"]]
        assert types == ["application/vnd.example.note"]
        fallback = root(images("small")).replace(":", "-")
        assert set(registry.tags("acme/app")) == ({"v1"} if referrers else {"v1", fallback})


@pytest.mark.peer("skopeo", "crane", "oras")
@pytest.mark.parametrize("auth", [Basic(USERS), Token(USERS), Token(USERS, oauth=False)], ids=["basic", "token", "get"])
def test_peers_log_in_as_the_challenge_tells_them(
    peers: Peers, images: Callable[[str], Path], tmp_path: Path, auth: Basic | Token
) -> None:
    with RegistryServer(auth=auth) as registry:
        name = f"{registry.host}/acme/app:v1"
        refused = peers.run("crane", "push", images("small"), name, check=False)
        assert refused.returncode
        peers.run("crane", "auth", "login", registry.host, "-u", "alice", "-p", "secret")
        peers.run("crane", "push", images("small"), name)
        creds = ["--src-creds", "alice:secret", "--src-tls-verify=false"]
        peers.run("skopeo", "copy", *creds, f"docker://{name}", f"oci:{tmp_path / 'made'}:v1")
        login = ["--from-username", "alice", "--from-password", "secret", "--from-plain-http"]
        peers.run("oras", "cp", *login, "--to-oci-layout", name, f"{tmp_path / 'other'}:v1")
        assert root(tmp_path / "other") == root(tmp_path / "made") == registry.tags("acme/app")["v1"]
        assert registry.count("blob.get", status=200) > 0


@pytest.mark.peer("skopeo")
@pytest.mark.parametrize("kind", KINDS)
def test_containerd_pulls_and_pushes(
    registry: RegistryServer, peers: Peers, images: Callable[[str], Path], containerd: Containerd, kind: str
) -> None:
    layout, name = images(kind), f"{registry.host}/acme/app:v1"
    push = ["--all", "--preserve-digests", "--dest-tls-verify=false"]
    peers.run("skopeo", "copy", *push, f"oci:{layout}:v1", f"docker://{name}")
    containerd.ctr("images", "pull", "--plain-http", "--all-platforms", "--snapshotter", "native", name)
    other = f"{registry.host}/other/app:v2"
    containerd.ctr("images", "push", "--plain-http", other, name)
    assert registry.tags("other/app") == {"v2": root(layout)}


@pytest.mark.peer("skopeo")
def test_skopeo_goes_on_after_a_dropped_download(
    registry: RegistryServer, peers: Peers, images: Callable[[str], Path], tmp_path: Path
) -> None:
    name = f"docker://{registry.host}/acme/app:v1"
    peers.run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{images('large')}:v1", name)
    fault = registry.fault("drop", after=1 << 20)
    peers.run("skopeo", "copy", "--src-tls-verify=false", name, f"oci:{tmp_path / 'made'}:v1")
    assert fault.hits == 1
    assert registry.count("blob.get", status=206) == 1


@pytest.mark.peer("crane", "skopeo", "oras")
def test_peers_refuse_wrong_bytes(
    registry: RegistryServer, peers: Peers, images: Callable[[str], Path], tmp_path: Path
) -> None:
    name = f"{registry.host}/acme/app:v1"
    peers.run("crane", "push", images("small"), name)
    registry.fault("wrong-bytes", times=None, kind="blob")
    assert peers.run("crane", "validate", "--remote", name, check=False).returncode
    made = f"oci:{tmp_path / 'made'}:v1"
    assert peers.run("skopeo", "copy", "--src-tls-verify=false", f"docker://{name}", made, check=False).returncode
    assert peers.run(
        "oras", "cp", "--from-plain-http", "--to-oci-layout", name, f"{tmp_path / 'other'}:v1", check=False
    ).returncode
    shutil.rmtree(tmp_path / "made", ignore_errors=True)
