"""Real programs read the archives that the formats arrange, and the formats read theirs."""

from __future__ import annotations

import io
import json
import os
from typing import TYPE_CHECKING

import pytest

from support.images import blobs
from tranship.formats import compression, docker_archive, layout
from tranship.formats.docker_archive import ManifestEntry, SavedImage
from tranship.formats.tar import TRAILER, Entry, Member, TarStream, arrange, read_index
from tranship.model import manifest
from tranship.model.descriptor import Root
from tranship.model.digest import Digest
from tranship.model.naming import repo_tag
from tranship.pump import pump

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from support.daemons import Containerd, Docker, DockerRegistry
    from support.peers import Peers

    Images = Callable[[str], Path]

NAME = "docker.io/library/hello:v1"


class Archive:
    """An archive as a peer left it: its table, and the bytes of each member."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        self.members = docker_archive.table(
            read_index(lambda offset, count: self.data[offset : offset + count], len(self.data))
        )
        with path.open("rb", buffering=0) as file:
            streamed = list(TarStream(file))
        assert docker_archive.table(streamed) == self.members

    def read(self, name: str | Member) -> bytes:
        member = self.members[name] if isinstance(name, str) else name
        return self.data[member.data_offset : member.data_offset + member.size]

    def docker_images(self) -> tuple[SavedImage, ...]:
        return docker_archive.saved_images(docker_archive.parse_manifest(self.read("manifest.json")), self.members)

    def synthesised(self, image: SavedImage) -> bytes:
        assert image.config is not None
        raw = self.read(image.config)
        config = docker_archive.read_config(raw, len(image.layers))
        layers = []
        for member, diff_id in zip(image.layers, config.diff_ids, strict=True):
            data = self.read(member)
            plain = bytearray()
            pump(compression.opened(io.BytesIO(data))[1], plain.extend)
            docker_archive.check_layer(member, diff_id, Digest.of(plain))
            layers.append(docker_archive.describe_layer(Digest.of(data), len(data), data[: compression.HEAD]))
        return docker_archive.synthesise(docker_archive.describe_config(raw), layers)


def root_of(folder: Path, name: str = NAME) -> Root:
    (root,) = layout.parse_index((folder / "index.json").read_bytes())
    return Root(root.descriptor.plain, name)


def in_containerds_order(folder: Path, root: Root) -> list[tuple[Entry, bytes]]:
    """The members of `ctr images export`, in its order (every name sorted)."""
    raw = (folder / layout.blob_path(root.descriptor.digest)).read_bytes()
    document = manifest.parse(raw, root.descriptor)
    assert isinstance(document, manifest.Manifest)
    assert document.config is not None
    tag = repo_tag(root.name or "")
    entry = ManifestEntry(
        layout.blob_path(document.config.digest),
        (tag,) if tag else (),
        tuple(layout.blob_path(layer.digest) for layer in document.layers),
    )
    files: dict[str, tuple[int, bytes]] = {
        layout.blob_path(Digest(digest)): (0o444, path.read_bytes()) for digest, path in blobs(folder).items()
    }
    files[layout.INDEX] = (0o644, layout.index_json([layout.entry(root)]))
    files[layout.DOCKER_MANIFEST] = (0o644, docker_archive.manifest_json([entry]))
    files[layout.MARKER] = (0o444, layout.MARKER_BYTES)
    found = [(Entry(name, len(data), mode), data) for name, (mode, data) in files.items()]
    found += [(Entry(name, 0, 0o755, "directory"), b"") for name in ("blobs", "blobs/sha256")]
    return sorted(found, key=lambda pair: pair[0].name)


def write(path: Path, members: list[tuple[Entry, bytes]]) -> Path:
    plan = arrange(entry for entry, _ in members)
    with path.open("wb") as file:
        for placed, (_, data) in zip(plan.members, members, strict=True):
            os.pwrite(file.fileno(), placed.header, placed.header_offset)
            os.pwrite(file.fileno(), data + bytes(placed.padding), placed.data_offset)
        os.pwrite(file.fileno(), TRAILER, plan.trailer_offset)
    assert path.stat().st_size == plan.size
    return path


def target(daemon: Containerd, name: str) -> str:
    """The digest that containerd has under a name."""
    lines = daemon.ctr("images", "ls", f"name=={name}").stdout.splitlines()[1:]
    return next(word for line in lines for word in line.split() if word.startswith("sha256:"))


def test_an_exported_image_is_byte_for_byte_what_containerd_exports(
    containerd: Containerd, images: Images, tmp_path: Path
) -> None:
    root = root_of(images("docker"))
    members = in_containerds_order(images("docker"), root)
    ours = write(tmp_path / "ours.tar", members)
    containerd.ctr("images", "import", "--local", "--no-unpack", ours)
    assert target(containerd, NAME) == root.descriptor.digest
    containerd.ctr("images", "export", "--local", tmp_path / "theirs.tar", NAME)
    assert (tmp_path / "theirs.tar").read_bytes() == ours.read_bytes()
    theirs = Archive(tmp_path / "theirs.tar")
    assert {name: theirs.read(name) for name, one in theirs.members.items() if one.kind == "file"} == {
        entry.name: data for entry, data in members if entry.kind == "file"
    }


@pytest.mark.parametrize("via", ["--local", "--local=false"])
def test_containerd_reads_aligned_archives(via: str, containerd: Containerd, images: Images, tmp_path: Path) -> None:
    folder = images("large")
    name = f"docker.io/library/aligned{len(via)}:v1"
    members = in_containerds_order(folder, root_of(folder, name))
    assert any(entry.size >= 1 << 20 for entry, _ in members)
    archive = write(tmp_path / "aligned.tar", members)
    containerd.ctr("images", "import", via, "--no-unpack", archive)
    assert target(containerd, name) == root_of(folder).descriptor.digest
    for digest, path in blobs(folder).items():
        assert containerd.blob(digest).read_bytes() == path.read_bytes()


@pytest.mark.peer("skopeo", "skopeo@bookworm", "umoci")
def test_other_tools_read_aligned_archives(peers: Peers, images: Images, tmp_path: Path) -> None:
    folder = images("large")
    archive = write(tmp_path / "aligned.tar", in_containerds_order(folder, root_of(folder)))
    wanted = blobs(folder).keys()
    for tool in ("skopeo", "skopeo@bookworm"):
        copy = tmp_path / tool.replace("@", "-")
        peers.run(tool, "copy", "--preserve-digests", f"oci-archive:{archive}", f"oci:{copy}:v1")
        assert blobs(copy).keys() == wanted
        peers.run(tool, "copy", f"docker-archive:{archive}", f"oci:{copy}-docker:v1")


@pytest.mark.peer("skopeo", "crane")
@pytest.mark.parametrize("tool", ["skopeo", "crane"])
def test_the_manifest_of_a_docker_archive_is_the_one_that_containerd_makes(  # noqa: PLR0917  # fixtures
    tool: str, peers: Peers, containerd: Containerd, docker_registry: DockerRegistry, images: Images, tmp_path: Path
) -> None:
    archive, name = tmp_path / "docker.tar", "docker.io/library/skopeo:v2"
    if tool == "skopeo":
        peers.run("skopeo", "copy", f"oci:{images('docker')}:v1", f"docker-archive:{archive}:skopeo:v2")
    else:
        name = f"{docker_registry.host}/crane/pulled:v2"
        peers.run("crane", "push", images("small"), name)
        peers.run("crane", "pull", name, archive)
    ours = Archive(archive)
    (image,) = ours.docker_images()
    assert image.names == (name,)
    raw = ours.synthesised(image)
    containerd.ctr("images", "import", "--local", "--no-unpack", archive)
    assert target(containerd, name) == Digest.of(raw)
    assert containerd.blob(Digest.of(raw)).read_bytes() == raw


def saved(docker: Docker, folder: Path, tmp_path: Path) -> Archive:
    """Load an image and save it."""
    archive = write(tmp_path / "in.tar", in_containerds_order(folder, root_of(folder)))
    docker.docker("load", "-i", archive)
    docker.docker("save", "-o", tmp_path / "out.tar", "hello:v1")
    return Archive(tmp_path / "out.tar")


@pytest.mark.parametrize("fixture", ["docker_overlay2", "docker_containerd", "old_docker"])
def test_what_docker_saves_is_read(
    fixture: str, request: pytest.FixtureRequest, images: Images, tmp_path: Path, containerd: Containerd
) -> None:
    docker: Docker = request.getfixturevalue(fixture)
    archive = saved(docker, images("docker"), tmp_path)
    kinds: Mapping[str, str] = {"old_docker": "docker"}
    assert layout.recognise(archive.members) == kinds.get(fixture, "layout")
    (image,) = archive.docker_images()
    assert image.names == (NAME,)
    raw = archive.synthesised(image)
    if fixture == "old_docker":
        containerd.ctr("images", "import", "--local", "--no-unpack", tmp_path / "out.tar")
        assert target(containerd, NAME) == Digest.of(raw)
    else:
        layout.check_marker(archive.read(layout.MARKER))
        (root,) = layout.parse_index(archive.read(layout.INDEX))
        assert root.name == NAME
        assert layout.blob_path(root.descriptor.digest) in archive.members
    wanted = json.loads(
        next(p for p in blobs(images("docker")).values() if b'"rootfs"' in p.read_bytes()[:20_000]).read_bytes()
    )
    assert image.config is not None
    assert json.loads(archive.read(image.config))["rootfs"] == wanted["rootfs"]
