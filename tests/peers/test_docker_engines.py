"""Engines as ends: docker 28 with its graph driver and with containerd's store, docker 20.10, and podman, by their sockets."""

import json
from dataclasses import dataclass

import pytest

from support import graphs
from support.commands import Commands
from tranship import Archive, DockerEngine, Layout, Platform, Podman, Selection, Store, transfer
from tranship.errors import NotFound
from tranship.testing.memory import Memory

ARM64 = Platform("linux", "arm64")


@dataclass
class Engine:
    run: object
    kind: type
    address: str
    keeps_manifests: bool

    def end(self, *names):
        return self.kind(names, address=self.address)

    def id_of(self, name):
        return json.loads(self.run("image", "inspect", name).stdout)[0]["Id"].removeprefix("sha256:")


@pytest.fixture(params=["overlay2", "containerd store", "20.10", "podman"])
def engine(request):
    match request.param:
        case "overlay2":
            docker = request.getfixturevalue("docker_overlay2")
        case "containerd store":
            docker = request.getfixturevalue("docker_containerd")
        case "20.10":
            docker = request.getfixturevalue("old_docker")
        case _:
            podman = request.getfixturevalue("podman")
            made = Engine(podman.podman, Podman, podman.host, False)
            yield made
            podman.podman("rmi", "--all", "--force")
            return
    made = Engine(docker.docker, DockerEngine, docker.host, request.param == "containerd store")
    yield made
    listed = docker.docker("images", "--quiet").stdout.split()
    if listed:
        docker.docker("rmi", "--force", *dict.fromkeys(listed))


def configs(layout):
    """The image IDs of a layout, as graph drivers know them."""
    found = set()
    for digest, closure in graphs.images(layout).items():
        for member in {digest, *closure}:
            value = graphs.blob(layout, member)
            if value.startswith(b"{") and b'"config":{' in value:
                found.add(json.loads(value).get("config", {}).get("digest", "").removeprefix("sha256:"))
    return found - {""}


@pytest.mark.parametrize("kind", ["small", "docker", "zstd", "raw", "large"])
def test_image_goes_in_and_comes_out_with_its_id(engine, images, tmp_path, kind):
    summary = transfer(Layout(images(kind)), engine.end())
    assert [root.name for root in summary.roots] == [f"localhost/{kind}:v1"]
    (root,) = graphs.index(images(kind))
    wanted = {root["digest"].removeprefix("sha256:")} if engine.keeps_manifests else configs(images(kind))
    assert engine.id_of(f"localhost/{kind}:v1") in wanted
    transfer(engine.end(f"localhost/{kind}:v1"), Layout(tmp_path / "out"))
    if engine.keeps_manifests:
        assert graphs.images(tmp_path / "out") == graphs.images(images(kind))
    else:
        assert configs(tmp_path / "out") == configs(images(kind))


def test_engine_gets_its_own_platform_unless_told(engine, images, tmp_path):
    transfer(Layout(images("multi")), engine.end())
    inspected = json.loads(engine.run("image", "inspect", "localhost/multi:v1").stdout)[0]
    assert inspected["Architecture"] == "amd64"
    transfer(engine.end("localhost/multi:v1"), Store(root=tmp_path / "store"), selection=Selection(skip_missing=True))


@pytest.mark.parametrize("engine", ["overlay2", "20.10", "podman"], indirect=True)  # those that hold single images
def test_another_platform_on_demand(engine, images):
    transfer(Layout(images("multi")), engine.end("localhost/arm:1"), selection=Selection(platforms=(ARM64,)))
    inspected = json.loads(engine.run("image", "inspect", "localhost/arm:1").stdout)[0]
    assert inspected["Architecture"] == "arm64"


def test_several_images_and_all_of_them(engine, images):
    transfer(Layout(images("many-3")), engine.end())
    back, two = Memory(), Memory()
    transfer(engine.end(), back)
    assert sorted(back.names) == [f"localhost/many-3:v{n}" for n in range(3)]
    transfer(engine.end("localhost/many-3:v2", "localhost/many-3:v0"), two)
    assert sorted(two.names) == ["localhost/many-3:v0", "localhost/many-3:v2"]


def test_image_gets_the_name_that_it_is_given(engine, images, tmp_path):
    transfer(Layout(images("small")), engine.end("example.com/new:7"))
    assert engine.id_of("example.com/new:7")
    transfer(engine.end("example.com/new:7"), Archive(tmp_path / "out.tar"))
    assert (tmp_path / "out.tar").stat().st_size > 10_000


def test_absent_image_is_not_found(engine, tmp_path):
    with pytest.raises(NotFound, match="nope"):
        transfer(engine.end("localhost/nope:1"), Layout(tmp_path / "out"))
    with pytest.raises(NotFound, match="no image"):
        transfer(engine.end(), Layout(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_command_line_names_engines_too(engine, images, tmp_path, monkeypatch):
    podman = engine.kind is Podman
    monkeypatch.setenv("CONTAINER_HOST" if podman else "DOCKER_HOST", engine.address)
    monkeypatch.setenv("TRANSHIP_ROOT", str(tmp_path / "store"))
    tranship, name = Commands(tmp_path / "store"), f"{'podman' if podman else 'docker-daemon'}:localhost/cli:1"
    tranship("copy", f"oci:{images('small')}", name)
    assert engine.id_of("localhost/cli:1")
    tranship("copy", name, tmp_path / "out.tar")
    assert "localhost/cli:1" in tranship("ls", tmp_path / "out.tar").out
