"""What peers write is read as the images that they were given, under sensible names, and written again without a loss.

Each of WRITERS gets an image as its layout holds it (names and digests are known), and writes an archive or a layout of it.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest

from support import graphs
from support.daemons import Docker
from support.interop import (
    Seen,
    familiar,
    image,
    in_containerd,
    in_docker,
    in_podman,
    manifest_of,
    names,
    uncompressed,
)
from tranship import Archive, Layout, Selection, Store, transfer
from tranship.errors import Truncated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from support.daemons import Containerd, DockerRegistry, Podman
    from support.peers import Peers

    Images = Callable[[str], Path]
    Write = Callable[[Any, "Given", Path], Path]


@dataclass(frozen=True)
class Given:
    """What a peer is given: the images' layout, an archive of it that every peer reads, and its names."""

    layout: Path
    archive: Path
    names: Mapping[str, str]

    @property
    def list(self) -> list[str]:
        return list(self.names)


@dataclass(frozen=True)
class Writer:
    """A peer that writes images.

    write    makes an archive or a layout of what it is given, in a folder
    fixture  its daemon, or `peers` for programs that have none
    kinds    what it is given, one after another
    needs    the programs
    keeps    root: the digest of the index or manifest; config: the image ID alone; content: the layers' uncompressed bytes alone
    called   a pattern of the names that come of it, of which {name} is the given one
    part     does it write one platform of several?
    """

    write: Write
    fixture: str
    kinds: Sequence[str]
    needs: tuple[str, ...] = ()
    keeps: Literal["root", "config", "content"] = "root"
    called: str = "{name}"
    part: bool = False


TODAY = r"import-[-\d]+"
BY_TAG = TODAY + ":{tag}"
NAMELESS = TODAY + "@{digest}"
ELSEWHERE = r"127\.0\.0\.1:\d+/acme/{last}"


def docker_save(engine: Docker, given: Given, folder: Path) -> Path:
    engine.docker("load", "--input", given.archive)
    engine.docker("save", "--output", folder / "saved.tar", *map(familiar, given.list))
    return removed(folder / "saved.tar", engine.docker("image", "rm", "--force", *map(familiar, given.list)))


def docker_save_by_id(engine: Docker, given: Given, folder: Path) -> Path:
    engine.docker("load", "--input", given.archive)
    (name,) = map(familiar, given.list)
    identity = json.loads(engine.docker("image", "inspect", name).stdout)[0]["Id"]
    engine.docker("save", "--output", folder / "saved.tar", identity)
    return removed(folder / "saved.tar", engine.docker("image", "rm", "--force", name))


def removed(archive: Path, _: object) -> Path:
    return archive


def podman_save(form: str) -> Write:
    def write(engine: Podman, given: Given, folder: Path) -> Path:
        engine.podman("load", "--input", given.archive)
        several = ["--multi-image-archive"] if len(given.names) > 1 else []
        engine.podman("save", "--format", form, *several, "--output", folder / "saved.tar", *given.list)
        return removed(folder / "saved.tar", engine.podman("image", "rm", "--force", *given.list))

    return write


def ctr_export(*options: str) -> Write:
    def write(daemon: Containerd, given: Given, folder: Path) -> Path:
        archive = folder / "exported.tar"
        daemon.ctr("images", "import", "--all-platforms", "--no-unpack", given.archive)
        for _ in range(20):
            daemon.ctr("images", "export", *options, archive, *given.list)
            if archive.read_bytes().endswith(bytes(1024)):
                break
            # ctr of containerd 2 sometimes ends before the end is written, and says that all is well.
            with pytest.raises(Truncated):
                transfer(Archive(archive), Store(root=folder / "cut"))
        return removed(archive, daemon.ctr("images", "rm", "--sync", *given.list))

    return write


def skopeo(program: str, destination: str, *options: str) -> Write:
    def write(peers: Peers, given: Given, folder: Path) -> Path:
        # Skopeo 1.9 looks for a tag among OCI manifests alone; without one it takes the only image.
        made, (name,) = folder / "made", given.list
        peers.run(program, "copy", *options, f"oci:{given.layout}", destination.format(made=made, name=name))
        return made

    return write


def from_registry(program: str, *words: str, output: str = "made") -> Write:
    """Programs that copy from a registry. In their words {ref} is the image there, {made} what is to be made."""

    def write(registry: Registry, given: Given, folder: Path) -> Path:
        reference = registry.push(given)
        made = folder / output
        registry.peers.run(program, *(w.format(ref=reference, host=registry.host, made=made) for w in words))
        return made

    return write


@dataclass(frozen=True)
class Registry:
    peers: Peers
    host: str

    def push(self, given: Given) -> str:
        ((name, _),) = given.names.items()
        reference = f"{self.host}/acme/{name.rpartition('/')[2]}"
        self.peers.run("oras", "cp", "--from-oci-layout", f"{given.layout}:v1", "--to-plain-http", reference)
        return reference


@pytest.fixture
def registry(peers: Peers, docker_registry: DockerRegistry) -> Registry:
    return Registry(peers, docker_registry.host)


SKOPEO = ("skopeo", "skopeo@bookworm")
REGCTL = ("--host", "reg={host},tls=disabled", "image", "export")

WRITERS = {
    "docker-28": Writer(docker_save, "docker_overlay2", ("python", "zstd", "many-3"), keeps="config"),
    "docker-28-id": Writer(docker_save_by_id, "docker_overlay2", ("small",), keeps="config", called=NAMELESS),
    "docker-28-containerd": Writer(docker_save, "docker_containerd", ("multi", "docker", "zstd", "many-3")),
    "docker-28-containerd-id": Writer(docker_save_by_id, "docker_containerd", ("multi",), called=NAMELESS),
    "docker-20": Writer(docker_save, "old_docker", ("python", "multi", "many-3"), keeps="config"),
    "docker-20-id": Writer(docker_save_by_id, "old_docker", ("small",), keeps="config", called=NAMELESS),
    "podman-5-docker": Writer(podman_save("docker-archive"), "podman", ("python", "multi", "many-3"), keeps="config"),
    "podman-4-docker": Writer(podman_save("docker-archive"), "old_podman", ("python", "many-3"), keeps="config"),
    "podman-5-oci": Writer(podman_save("oci-archive"), "podman", ("python", "multi"), keeps="config"),
    "podman-4-oci": Writer(podman_save("oci-archive"), "old_podman", ("python", "multi"), keeps="config"),
    "ctr": Writer(ctr_export(), "containerd", ("docker", "multi", "large", "many-3"), part=True),
    "ctr-all": Writer(ctr_export("--all-platforms"), "containerd", ("multi",)),
    "ctr-oci": Writer(ctr_export("--skip-manifest-json"), "containerd", ("zstd",)),
    "ctr-local": Writer(ctr_export("--local"), "containerd", ("docker", "multi", "large", "many-3"), part=True),
    "ctr-local-all": Writer(ctr_export("--local", "--all-platforms"), "containerd", ("multi",)),
    "ctr-1.6": Writer(ctr_export(), "old_containerd", ("docker", "multi", "many-3"), part=True),
    "ctr-1.6-all": Writer(ctr_export("--all-platforms"), "old_containerd", ("multi",)),
    **{
        f"{tool}-{what}": writer
        for tool in SKOPEO
        for what, writer in {
            "oci": Writer(
                skopeo(tool, "oci-archive:{made}:v1", "--all"),
                "peers",
                ("small", "multi", "zstd"),
                (tool,),
                called=BY_TAG,
            ),
            "oci-named": Writer(skopeo(tool, "oci-archive:{made}:{name}"), "peers", ("python",), (tool,)),
            "oci-nameless": Writer(skopeo(tool, "oci-archive:{made}"), "peers", ("small",), (tool,), called=NAMELESS),
            "layout": Writer(skopeo(tool, "oci:{made}:v1", "--all"), "peers", ("multi",), (tool,), called=BY_TAG),
            # It turns docker's types into OCI's, and writes the config anew for that.
            "converted": Writer(
                skopeo(tool, "oci-archive:{made}:{name}"), "peers", ("docker",), (tool,), keeps="content"
            ),
            "docker": Writer(
                skopeo(tool, "docker-archive:{made}:{name}"),
                "peers",
                ("small", "multi", "docker"),
                (tool,),
                keeps="config",
            ),
            "docker-nameless": Writer(
                skopeo(tool, "docker-archive:{made}"), "peers", ("small",), (tool,), keeps="config", called=NAMELESS
            ),
        }.items()
    },
    **{
        f"crane-{form}": Writer(
            from_registry("crane", "pull", "--format", form, "{ref}", "{made}"),
            "registry",
            ("small", "zstd", "large", "multi"),
            ("crane", "oras"),
            keeps="config",
            called=ELSEWHERE,
        )
        for form in ("tarball", "legacy")
    },
    "crane-oci": Writer(
        from_registry("crane", "pull", "--format", "oci", "{ref}", "{made}"),
        "registry",
        ("docker", "multi"),
        ("crane", "oras"),
        called=NAMELESS,
    ),
    "crane-oci-named": Writer(
        from_registry("crane", "pull", "--format", "oci", "--annotate-ref", "{ref}", "{made}"),
        "registry",
        ("docker", "multi"),
        ("crane", "oras"),
        called=ELSEWHERE,
    ),
    "oras-backup": Writer(
        from_registry("oras", "backup", "--plain-http", "--output", "{made}", "{ref}", output="made.tar"),
        "registry",
        ("docker", "zstd", "multi"),
        ("oras",),
        called=BY_TAG,
    ),
    "oras-backup-layout": Writer(
        from_registry("oras", "backup", "--plain-http", "--output", "{made}", "{ref}"),
        "registry",
        ("docker", "multi"),
        ("oras",),
        called=BY_TAG,
    ),
    "oras-cp": Writer(
        from_registry("oras", "cp", "--from-plain-http", "{ref}", "--to-oci-layout", "{made}:tag"),
        "registry",
        ("small", "multi"),
        ("oras",),
        called=TODAY + ":tag",
    ),
    "regctl": Writer(
        from_registry("regctl", *REGCTL, "{ref}", "{made}"),
        "registry",
        ("docker", "multi"),
        ("regctl", "oras"),
        called=ELSEWHERE,
    ),
    "regctl-named": Writer(
        from_registry("regctl", *REGCTL, "--compress", "--name", "localhost/other:v2", "{ref}", "{made}"),
        "registry",
        ("multi",),
        ("regctl", "oras"),
        called="localhost/other:v2",
    ),
}


@pytest.mark.parametrize(
    ("writer", "kind"),
    [
        pytest.param(writer, kind, id=f"{name}-{kind}", marks=pytest.mark.peer(*writer.needs))
        for name, writer in WRITERS.items()
        for kind in writer.kinds
    ],
)
def test_what_a_peer_writes_is_read_and_written_again(  # noqa: PLR0917  # fixtures
    writer: Writer,
    kind: str,
    images: Images,
    archives: Callable[[str], Path],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    given = Given(images(kind), archives(kind), names(images(kind)))
    made = writer.write(request.getfixturevalue(writer.fixture), given, tmp_path)
    stored = tmp_path / "store"
    read = transfer(Layout(made) if made.is_dir() else Archive(made), Store(root=stored))

    assert len(read.roots) == len(given.names)
    for (name, root), found in zip(
        sorted(given.names.items()), sorted(read.roots, key=lambda r: r.name or ""), strict=True
    ):
        digest = found.descriptor.digest
        parts = {"name": name, "last": name.rpartition("/")[2], "tag": name.rpartition(":")[2], "digest": digest}
        pattern = writer.called.format(**{key: re.escape(value) for key, value in parts.items()})
        assert re.fullmatch(pattern, found.name or "")
        now, original = image(stored, digest), image(given.layout, root)
        if writer.keeps == "root":
            alone = frozenset({root, *graphs.closure(given.layout, manifest_of(given.layout, root))})
            assert (now.root, now.config) == (original.root, original.config)
            assert now.closure == (alone if writer.part else original.closure)
        elif writer.keeps == "config":
            assert now.config == original.config
        assert uncompressed(stored, digest) == uncompressed(given.layout, root)

    transfer(Store(root=stored), Archive(tmp_path / "again.tar"))
    transfer(Archive(tmp_path / "again.tar"), Layout(tmp_path / "last"))
    assert names(tmp_path / "last") == {found.name: found.descriptor.digest for found in read.roots}
    for found in read.roots:
        digest = found.descriptor.digest
        assert graphs.closure(tmp_path / "last", digest, partial=True) == graphs.closure(stored, digest, partial=True)

    if made.is_file():
        with subprocess.Popen(["cat", made], stdout=subprocess.PIPE) as cat:
            assert cat.stdout
            piped = transfer(Archive(cat.stdout), Layout(tmp_path / "piped"))
        assert [found.descriptor.digest for found in piped.roots] == [found.descriptor.digest for found in read.roots]


@pytest.mark.parametrize("fixture", ["docker_overlay2", "docker_containerd", "old_docker", "podman", "old_podman"])
def test_an_engine_takes_back_what_it_saved_and_we_wrote_again(
    fixture: str, archives: Callable[[str], Path], images: Images, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    engine: Docker | Podman = request.getfixturevalue(fixture)
    given = Given(images("python"), archives("python"), names(images("python")))
    saved = (
        docker_save(engine, given, tmp_path)
        if isinstance(engine, Docker)
        else podman_save("docker-archive")(engine, given, tmp_path)
    )
    ((name, root),) = given.names.items()
    transfer(Archive(saved), Store(f"{name}-again", root=tmp_path / "store"))
    transfer(Store(root=tmp_path / "store"), Archive(tmp_path / "again.tar"))
    if isinstance(engine, Docker):
        engine.docker("load", "--input", tmp_path / "again.tar")
        seen = in_docker(engine, [f"{name}-again"], keeps_manifests=fixture == "docker_containerd")
    else:
        engine.podman("load", "--input", tmp_path / "again.tar")
        seen = in_podman(engine, [f"{name}-again"])
    original = image(images("python"), root)
    (found,) = seen.values()
    assert found.config in {None, original.config}
    assert found.config or found.digests == {root}


@pytest.mark.peer("skopeo", "crane", "oras")
@pytest.mark.parametrize("writer", ["docker-20", "podman-4-docker", "skopeo-docker", "crane-tarball", "crane-legacy"])
def test_an_archive_of_dockers_becomes_the_manifest_that_containerd_makes_of_it(  # noqa: PLR0917  # fixtures
    writer: str,
    containerd: Containerd,
    images: Images,
    archives: Callable[[str], Path],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    peer = request.getfixturevalue(WRITERS[writer].fixture)
    made = WRITERS[writer].write(peer, Given(images("python"), archives("python"), names(images("python"))), tmp_path)
    (ours,) = transfer(Archive(made), Layout(tmp_path / "ours")).roots
    containerd.ctr("images", "import", "--no-unpack", made)
    assert ours.name
    assert in_containerd(containerd, [ours.name]) == {
        ours.name: Seen.of(image(tmp_path / "ours", ours.descriptor.digest))
    }


@pytest.mark.peer("umoci")
def test_a_layout_that_umoci_builds_is_read_and_read_by_umoci_again(peers: Peers, tmp_path: Path) -> None:
    made, greeting = tmp_path / "made", tmp_path / "greeting"
    greeting.write_text("hello", "utf-8")
    peers.run("umoci", "init", "--layout", made)
    peers.run("umoci", "new", "--image", f"{made}:empty")
    peers.run("umoci", "insert", "--image", f"{made}:empty", "--tag", "filled", greeting, "/greeting")
    peers.run("umoci", "tag", "--image", f"{made}:filled", "other")
    tags = {entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in graphs.index(made)}
    assert tags.keys() == {"empty", "filled", "other"}

    read = transfer(Layout(made), Store(root=tmp_path / "store"))
    assert {str(root.name).rpartition(":")[2]: root.descriptor.digest for root in read.roots} == tags
    transfer(Layout(made, "filled"), Layout(tmp_path / "again"))
    transfer(Store("*:other", root=tmp_path / "store"), Layout(tmp_path / "again", "other"))
    assert sorted(peers.run("umoci", "ls", "--layout", tmp_path / "again").stdout.split()) == ["filled", "other"]
    for tag in ("filled", "other"):
        peers.run("umoci", "raw", "unpack", "--image", f"{tmp_path}/again:{tag}", tmp_path / tag)
        assert (tmp_path / tag / "greeting").read_text("utf-8") == "hello"


@pytest.mark.peer("oras")
@pytest.mark.parametrize("output", ["backup", "backup.tar"])
def test_referrers_that_oras_backs_up_stay_attached(
    output: str, registry: Registry, images: Images, tmp_path: Path
) -> None:
    subject, referrer = (entry["digest"] for entry in graphs.index(images("artifact")))
    reference = f"{registry.host}/acme/referred:v1"
    registry.peers.run(
        "oras", "cp", "--recursive", "--from-oci-layout", f"{images('artifact')}:v1", "--to-plain-http", reference
    )
    made = tmp_path / output
    registry.peers.run("oras", "backup", "--plain-http", "--include-referrers", "--output", made, reference)
    end = Layout(made) if made.is_dir() else Archive(made)
    read = transfer(end, Store("localhost/kept:v1", root=tmp_path / "store"))
    assert [(root.name, root.descriptor.digest, root.subject) for root in read.roots] == [
        ("localhost/kept:v1", subject, None),
        (None, referrer, subject),
    ]
    transfer(Store(root=tmp_path / "store"), Layout(tmp_path / "again"), selection=Selection(referrers=""))
    found = registry.peers.run("oras", "discover", "--oci-layout", "--format", "json", f"{tmp_path}/again:v1")
    assert [item["digest"] for item in json.loads(found.stdout)["referrers"]] == [referrer]
