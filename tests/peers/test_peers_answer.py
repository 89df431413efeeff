"""Each peer really runs here, and does a small piece of what other tests ask of it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from support.daemons import Containerd, Docker, DockerRegistry, Podman
from support.images import blobs, tar_layout
from support.peers import Peers

Images = Callable[[str], Path]


def root_digest(layout: Path) -> str:
    return str(json.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"])


@pytest.mark.parametrize("fixture", ["containerd", "old_containerd"])
def test_containerd_imports_an_archive_and_keeps_its_blobs(
    fixture: str, request: pytest.FixtureRequest, images: Images, tmp_path: Path
) -> None:
    daemon: Containerd = request.getfixturevalue(fixture)
    archive = tar_layout(images("tiny-2"), tmp_path / "tiny.tar")
    daemon.ctr("images", "import", "--no-unpack", archive)
    for digest, path in blobs(images("tiny-2")).items():
        assert daemon.blob(digest).read_bytes() == path.read_bytes()


def test_docker_registry_answers_as_a_registry_does(docker_registry: DockerRegistry) -> None:
    with urllib.request.urlopen(f"{docker_registry.url}/v2/") as response:
        assert response.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
        assert json.load(response) == {}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.peer(name)) for name in ("skopeo", "skopeo@bookworm")]
)
def test_skopeo_copies_a_layout_and_leaves_nothing_in_the_system(
    name: str, peers: Peers, images: Images, tmp_path: Path, docker_registry: DockerRegistry
) -> None:
    remembered = Path("/var/lib/containers/cache")
    before = remembered.exists()
    layout = images("tiny-2")
    target = f"docker://{docker_registry.host}/{name.replace('@', '-')}:v1"
    peers.run(name, "copy", "--dest-tls-verify=false", f"oci:{layout}:v1", target)
    peers.run(name, "copy", "--src-tls-verify=false", target, f"oci:{tmp_path}/copy:v1")
    assert blobs(tmp_path / "copy").keys() == blobs(layout).keys()
    assert remembered.exists() == before


@pytest.mark.peer("crane")
def test_crane_pushes_and_finds_the_digest(peers: Peers, images: Images, docker_registry: DockerRegistry) -> None:
    layout = images("small")
    peers.run("crane", "push", layout, f"{docker_registry.host}/crane:v1")
    assert peers.run("crane", "digest", f"{docker_registry.host}/crane:v1").stdout.strip() == root_digest(layout)


@pytest.mark.peer("oras")
def test_oras_copies_every_platform(
    peers: Peers, images: Images, docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    layout = images("multi")
    peers.run("oras", "cp", "--from-oci-layout", f"{layout}:v1", "--to-plain-http", f"{docker_registry.host}/oras:v1")
    copy = f"{tmp_path}/copy:v1"
    peers.run("oras", "cp", "--from-plain-http", f"{docker_registry.host}/oras:v1", "--to-oci-layout", copy)
    assert blobs(tmp_path / "copy").keys() == blobs(layout).keys()


@pytest.mark.peer("umoci")
def test_umoci_unpacks_an_image(peers: Peers, images: Images, tmp_path: Path) -> None:
    peers.run("umoci", "raw", "unpack", "--image", f"{images('tiny-2')}:v1", tmp_path / "rootfs")
    assert (tmp_path / "rootfs/layer-tiny-2-00001").read_text() == "tiny-2-00001"


@pytest.mark.peer("regctl")
def test_regctl_exports_a_layout(peers: Peers, images: Images, tmp_path: Path) -> None:
    peers.run("regctl", "image", "export", f"ocidir://{images('tiny-2')}:v1", tmp_path / "tiny.tar")
    assert (tmp_path / "tiny.tar").stat().st_size > 0


@pytest.mark.parametrize("fixture", ["docker_overlay2", "docker_containerd", "old_docker"])
def test_docker_loads_what_skopeo_wrote(
    fixture: str, request: pytest.FixtureRequest, peers: Peers, images: Images, tmp_path: Path
) -> None:
    engine: Docker = request.getfixturevalue(fixture)
    archive = tmp_path / "small.tar"
    peers.run("skopeo", "copy", f"oci:{images('small')}:v1", f"docker-archive:{archive}:localhost/small:v1")
    engine.docker("load", "--input", archive)
    found = json.loads(engine.docker("image", "inspect", "localhost/small:v1").stdout)
    assert found[0]["Architecture"] == "amd64"


@pytest.mark.parametrize("fixture", ["podman", "old_podman"])
def test_podman_loads_an_archive(fixture: str, request: pytest.FixtureRequest, images: Images, tmp_path: Path) -> None:
    engine: Podman = request.getfixturevalue(fixture)
    engine.podman("load", "--input", tar_layout(images("small"), tmp_path / "small.tar"))
    found = json.loads(engine.podman("image", "inspect", "localhost/small:v1").stdout)
    assert found[0]["Digest"] == root_digest(images("small"))
