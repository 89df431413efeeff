"""Archives and layouts that a transfer writes are read by every engine and tool, as the same images under the same names.

READERS says what each reader does not read of ARCHIVES, and of what it makes a manifest of its own, with the reasons. Whatever is not named
there must arrive whole. A reader that one day reads more fails here too, so that the table stays true.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support import graphs
from support.images import standard_library
from support.interop import (
    ARCHITECTURE,
    Image,
    Seen,
    image,
    in_containerd,
    in_docker,
    in_podman,
    manifest_of,
    names,
)
from tranship import Archive, Layout, Platform, Selection, Store, transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from support.daemons import Containerd, Docker, DockerRegistry, Podman
    from support.peers import Peers

    Images = Callable[[str], Path]
    Found = Mapping[str, Seen]
    Read = Callable[[Any, Path, Sequence[str]], Found]

OTHER = "arm64" if ARCHITECTURE == "amd64" else "amd64"
KINDS = ("small", "python", "docker", "zstd", "raw", "sha512", "large", "multi", "many-10")


def only(architecture: str, **options: Any) -> Selection:
    return Selection(platforms=(Platform.parse(f"linux/{architecture}"),), **options)


@dataclass(frozen=True)
class Written:
    """An archive as we write it: the kind of image, options of the archive, what is selected, and the image's names."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    selection: Selection | None = None
    names: tuple[str, ...] = ()


ARCHIVES = {
    **{kind: Written(kind) for kind in KINDS},
    "small-twice": Written("small", names=("docker.io/library/twice:v1", "registry.example:5000/acme/twice:v2")),
    "small-oci": Written("small", {"format": "oci"}),
    "multi-oci": Written("multi", {"docker_manifest": False}),
    "many-10-oci": Written("many-10", {"format": "oci"}),
    "small-gzip": Written("small", {"compression": "gzip"}),
    "small-zstd": Written("small", {"compression": "zstd"}),
    # An index of which one platform is there; and one platform's manifest alone.
    "multi-host": Written("multi", selection=only(ARCHITECTURE)),
    "multi-other": Written("multi", selection=only(OTHER)),
    "multi-single": Written("multi", selection=only(ARCHITECTURE, index="single")),
    # Docker's own format.
    "python-docker": Written("python", {"format": "docker"}),
    "raw-docker": Written("raw", {"format": "docker"}),
    "sha512-docker": Written("sha512", {"format": "docker"}),
    "multi-docker": Written("multi", {"format": "docker"}),
    "many-10-docker": Written("many-10", {"format": "docker"}),
    "zstd-docker": Written("zstd", {"format": "docker"}),
    "zstd-recompressed": Written("zstd", {"format": "docker", "recompress": True}),
}
ALL = tuple(ARCHIVES)
DOCKERS = tuple(name for name, item in ARCHIVES.items() if item.options.get("format") == "docker")


@dataclass(frozen=True)
class Reading:
    """An archive that was written, and what each name in it stands for."""

    path: Path
    images: Mapping[str, Image]


@pytest.fixture(scope="session")
def written(
    images: Images, stores: Callable[[str], Store], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Reading]:
    """written("small-gzip") is that one of ARCHIVES, written from a store, once."""
    folder = tmp_path_factory.mktemp("written")
    made: dict[str, Reading] = {}

    def get(what: str) -> Reading:
        if what not in made:
            made[what] = write(what)
        return made[what]

    def write(what: str) -> Reading:
        item, path = ARCHIVES[what], folder / f"{what}.tar"
        roots = names(images(item.kind))
        if len(roots) == 1:
            name = (
                f"docker.io/library/{what}:v1"
                if what in {"small", "python-docker"}
                else f"registry.example/acme/{what}:v1"
            )
            roots = dict.fromkeys(item.names or [name], *roots.values())
        called = () if item.kind == "many-10" else tuple(roots)
        transfer(stores(item.kind), Archive(path, names=called, **item.options), selection=item.selection)
        if what not in DOCKERS:
            return Reading(path, {name: expected(what, images(item.kind), root) for name, root in roots.items()})
        # Docker's format holds no manifests. Readers that keep any make them alike, and so do we.
        transfer(Archive(path), Layout(folder / what))
        ids = {name: image(images(item.kind), root).config for name, root in roots.items()}
        made_names = names(folder / what)
        return Reading(
            path, {name: replace(image(folder / what, made_names[name]), config=ids[name]) for name in roots}
        )

    def expected(what: str, layout: Path, root: str) -> Image:
        if what == "multi-single":
            return image(layout, manifest_of(layout, root))
        if what in HALF_AN_INDEX:
            architecture = ARCHITECTURE if what == "multi-host" else OTHER
            alone = graphs.closure(layout, manifest_of(layout, root, architecture))
            return replace(image(layout, root, architecture), closure=frozenset({root, *alone}))
        return image(layout, root)

    return get


# --- readers --------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reader:
    """A program that reads archives.

    read     reads an archive, and says what it has under the given names (or some of them)
    fixture  its daemon, or `peers` for programs that have none
    needs    the programs
    refuses  archives that it does not read → what it says then
    remakes  archives of which it makes a manifest of its own: the image ID stays, the root's digest does not
    """

    read: Read
    fixture: str
    needs: tuple[str, ...] = ()
    refuses: Mapping[str, str] = field(default_factory=dict)
    remakes: Sequence[str] = ()


def docker_load(*, keeps_manifests: bool) -> Read:
    def read(engine: Docker, archive: Path, wanted: Sequence[str]) -> Found:
        engine.docker("load", "--input", archive)
        return in_docker(engine, wanted, keeps_manifests=keeps_manifests)

    return read


def podman_load(engine: Podman, archive: Path, wanted: Sequence[str]) -> Found:
    engine.podman("load", "--input", archive)
    return in_podman(engine, wanted)


def ctr_import(*options: str, architecture: str | None = None) -> Read:
    def read(daemon: Containerd, archive: Path, wanted: Sequence[str]) -> Found:
        daemon.ctr("images", "import", *options, archive)
        return in_containerd(daemon, wanted, architecture)

    return read


def one_by_one(copy: Callable[[Peers, Path, str, Path], object]) -> Read:
    """Tools that copy one image of an archive into a layout, where they call it `a`."""

    def read(peers: Peers, archive: Path, wanted: Sequence[str]) -> Found:
        found: dict[str, Seen] = {}
        for name in dict.fromkeys([wanted[0], wanted[-1]]):
            made = peers.home.path / f"made-{len(found)}"
            copy(peers, archive, name, made)
            found[name] = in_layout(made)
        return found

    return read


def in_layout(folder: Path) -> Seen:
    (root,) = (
        e["digest"]
        for e in graphs.index(folder)
        if e.get("annotations", {}).get("org.opencontainers.image.ref.name") == "a"
    )
    return Seen.of(image(folder, root))


def tag(name: str) -> str:
    return name.rpartition(":")[2]


def skopeo_oci(peers: Peers, archive: Path, name: str, made: Path) -> None:
    peers.run("skopeo", "copy", "--all", "--preserve-digests", f"oci-archive:{archive}:{tag(name)}", f"oci:{made}:a")


def old_skopeo_oci(peers: Peers, archive: Path, name: str, made: Path) -> None:
    # Skopeo 1.9 looks for a tag among OCI manifests alone; one that is docker's it finds only when nothing is said.
    which = "" if archive.stem == "docker" else f":{tag(name)}"
    peers.run(
        "skopeo@bookworm", "copy", "--all", "--preserve-digests", f"oci-archive:{archive}{which}", f"oci:{made}:a"
    )


def skopeo_docker(program: str) -> Read:
    def read(peers: Peers, archive: Path, wanted: Sequence[str]) -> Found:
        """Into a folder as it is: layers uncompressed, the config untouched."""
        found: dict[str, Seen] = {}
        for name in dict.fromkeys([wanted[0], wanted[-1]]):
            made = peers.home.path / f"made-{len(found)}"
            peers.run(program, "copy", f"docker-archive:{archive}:{name}", f"dir:{made}")
            manifest = json.loads((made / "manifest.json").read_bytes())
            config = manifest["config"]["digest"]
            layers = json.loads((made / config.partition(":")[2]).read_bytes())["rootfs"]["diff_ids"]
            assert [layer["digest"] for layer in manifest["layers"]] == layers
            found[name] = Seen(config=config)
        return found

    return read


def oras(peers: Peers, archive: Path, name: str, made: Path) -> None:
    peers.run("oras", "cp", "--from-oci-layout", f"{archive}:{tag(name)}", "--to-oci-layout", f"{made}:a")


def regctl(peers: Peers, archive: Path, name: str, made: Path) -> None:
    called = name if archive.stem in DOCKERS else tag(name)  # as manifest.json and index.json say it
    peers.run("regctl", "image", "import", "--name", called, f"ocidir://{made}:a", archive)


@dataclass(frozen=True)
class Crane:
    peers: Peers
    registry: DockerRegistry


@pytest.fixture
def crane(peers: Peers, docker_registry: DockerRegistry) -> Crane:
    return Crane(peers, docker_registry)


def crane_push(crane: Crane, archive: Path, wanted: Sequence[str]) -> Found:
    (name,) = wanted[:1]
    pushed = f"{crane.registry.host}/pushed/{archive.stem}:v1"
    crane.peers.run("crane", "push", archive, pushed)
    crane.peers.run("crane", "validate", "--tarball", archive)
    crane.peers.run("crane", "validate", "--remote", pushed)
    manifest = json.loads(crane.peers.run("crane", "manifest", pushed).stdout)
    digest = crane.peers.run("crane", "digest", pushed).stdout.strip()
    return {name: Seen(frozenset({digest}), manifest["config"]["digest"])}


HALF_AN_INDEX = ("multi-host", "multi-other")
NO_LAYOUT = dict.fromkeys(DOCKERS, "(index.json|oci-layout).*(no such file|does not exist)")
NO_MANIFEST_JSON = ("small-oci", "multi-oci", "many-10-oci")
COMPRESSED = ("small-gzip", "small-zstd")
NOT_A_TAR = dict.fromkeys(COMPRESSED, "invalid tar header")

# Engines with graph drivers read docker's manifest.json alone.
GRAPH_DRIVER = dict.fromkeys(NO_MANIFEST_JSON, "blobs/json: no such file")
# docker 20.10 knows no zstd, neither in layers nor around the archive.
NO_ZSTD = dict.fromkeys(["zstd", "zstd-docker", "small-zstd"], "invalid tar header")
# podman falls back on manifest.json where it cannot read the layout: of several images or names, of SHA-512, without its own platform.
PODMAN_REMAKES = (*DOCKERS, "many-10", "small-twice", "sha512", "multi-other")
PODMAN = {"many-10-oci": "more than one image in oci"}
# containerd names what it imports by SHA-256, and wants the image of its own platform.
CONTAINERD = {"sha512": "content digest sha512:.* not found", "multi-other": "content digest sha256:.* not found"}
WHOLE = dict.fromkeys(HALF_AN_INDEX, "content digest sha256:.* not found")
# Whoever copies an index as a whole needs the whole.
SKOPEO_OCI = NO_LAYOUT | dict.fromkeys(HALF_AN_INDEX, "no such file") | {"sha512": "saved with digest sha256"}
SKOPEO_DOCKER = dict.fromkeys(NO_MANIFEST_JSON, "manifest.json.*file does not exist")
ORAS = NO_LAYOUT | NOT_A_TAR | dict.fromkeys(HALF_AN_INDEX, "not found")
REGCTL = dict.fromkeys(HALF_AN_INDEX, "unable to read all files from tar")
# crane takes all layers for compressed when the first is, and for gzip; `crane push` goes through all the same, and what it pushed is wrong.
CRANE = (
    NOT_A_TAR
    | dict.fromkeys(["zstd", "zstd-docker", "large"], "gzip: invalid header")
    | dict.fromkeys(NO_MANIFEST_JSON, "manifest.json not found")
    | dict.fromkeys(["many-10", "many-10-docker"], "must contain only a single image")
)

# Of docker's layers without a manifest containerd says gzip whenever they are compressed; what is zstd we call so.
CALLED_GZIP = ("zstd-docker",)

READERS = {
    "docker-28": Reader(docker_load(keeps_manifests=False), "docker_overlay2", (), GRAPH_DRIVER),
    "docker-28-containerd": Reader(docker_load(keeps_manifests=True), "docker_containerd", remakes=CALLED_GZIP),
    "docker-20": Reader(docker_load(keeps_manifests=False), "old_docker", (), GRAPH_DRIVER | NO_ZSTD),
    "podman-5": Reader(podman_load, "podman", (), PODMAN, PODMAN_REMAKES),
    "podman-4": Reader(podman_load, "old_podman", (), PODMAN, PODMAN_REMAKES),
    "ctr": Reader(ctr_import("--all-platforms", "--no-unpack"), "containerd", (), CONTAINERD | WHOLE, CALLED_GZIP),
    "ctr-local": Reader(
        ctr_import("--local", architecture=ARCHITECTURE), "containerd", (), CONTAINERD | NOT_A_TAR, CALLED_GZIP
    ),
    "ctr-1.6": Reader(
        ctr_import("--all-platforms", "--no-unpack"),
        "old_containerd",
        (),
        CONTAINERD | WHOLE | NOT_A_TAR,
        CALLED_GZIP,
    ),
    "skopeo-oci": Reader(one_by_one(skopeo_oci), "peers", ("skopeo",), SKOPEO_OCI),
    "skopeo-1.9-oci": Reader(one_by_one(old_skopeo_oci), "peers", ("skopeo@bookworm",), SKOPEO_OCI),
    "skopeo-docker": Reader(skopeo_docker("skopeo"), "peers", ("skopeo",), SKOPEO_DOCKER),
    "skopeo-1.9-docker": Reader(
        skopeo_docker("skopeo@bookworm"),
        "peers",
        ("skopeo@bookworm",),
        SKOPEO_DOCKER
        | {"small-gzip": "manifest.json: unexpected EOF"},  # `gzip` itself may have compressed it: the same
    ),
    "crane": Reader(crane_push, "crane", ("crane",), CRANE, ALL),
    "oras": Reader(one_by_one(oras), "peers", ("oras",), ORAS),
    "regctl": Reader(one_by_one(regctl), "peers", ("regctl",), REGCTL, DOCKERS),
}


@pytest.mark.parametrize("what", ARCHIVES)
@pytest.mark.parametrize(
    "reader", [pytest.param(reader, id=name, marks=pytest.mark.peer(*reader.needs)) for name, reader in READERS.items()]
)
def test_an_archive_arrives_as_the_same_images_under_the_same_names(
    reader: Reader, what: str, written: Callable[[str], Reading], request: pytest.FixtureRequest
) -> None:
    peer, archive = request.getfixturevalue(reader.fixture), written(what)
    if what in reader.refuses:
        with pytest.raises(AssertionError) as refused:
            reader.read(peer, archive.path, list(archive.images))
        assert re.search(reader.refuses[what], str(refused.value), re.DOTALL)
        return
    found = reader.read(peer, archive.path, list(archive.images))
    assert found
    for name, seen in found.items():
        expected = archive.images[name]
        assert seen.config in {None, expected.config}
        if what in reader.remakes:
            assert expected.root not in seen.digests
        else:
            assert not seen.digests or expected.root in seen.digests
            assert seen.closure in {None, expected.closure}


# --- half an index, and layouts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("what", "architecture"), [("multi-host", ARCHITECTURE), ("multi-other", OTHER)])
@pytest.mark.parametrize("fixture", ["containerd", "old_containerd"])
def test_containerd_takes_the_platform_that_is_there_when_asked_for_it(
    fixture: str, what: str, architecture: str, written: Callable[[str], Reading], request: pytest.FixtureRequest
) -> None:
    archive = written(what)
    read = ctr_import("--platform", f"linux/{architecture}", "--no-unpack", architecture=architecture)
    for name, seen in read(request.getfixturevalue(fixture), archive.path, list(archive.images)).items():
        expected = archive.images[name]
        assert seen == Seen(frozenset({expected.root}), expected.config)


@pytest.mark.peer("skopeo", "skopeo@bookworm", "oras")
@pytest.mark.parametrize(("what", "architecture"), [("multi-host", ARCHITECTURE), ("multi-other", OTHER)])
def test_tools_take_the_platform_that_is_there_when_asked_for_it(  # noqa: PLR0917  # fixtures
    what: str, architecture: str, written: Callable[[str], Reading], images: Images, peers: Peers, tmp_path: Path
) -> None:
    archive, layout = written(what).path, images("multi")
    (root,) = names(layout).values()
    expected = Seen.of(image(layout, manifest_of(layout, root, architecture)))
    for skopeo in ("skopeo", "skopeo@bookworm"):
        source = ["--override-arch", architecture, "copy", "--preserve-digests", f"oci-archive:{archive}:v1"]
        peers.run(skopeo, *source, f"oci:{tmp_path / skopeo}:a")
        assert in_layout(tmp_path / skopeo) == expected
    source = ["cp", "--platform", f"linux/{architecture}", "--from-oci-layout", f"{archive}:v1"]
    peers.run("oras", *source, "--to-oci-layout", f"{tmp_path}/oras:a")
    assert in_layout(tmp_path / "oras") == expected


@pytest.fixture(scope="session")
def layouts(stores: Callable[[str], Store], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """layouts("small") is a layout that we wrote, from a store."""
    folder = tmp_path_factory.mktemp("layouts")

    def get(kind: str) -> Path:
        if not (folder / kind).exists():
            transfer(stores(kind), Layout(folder / kind))
        return folder / kind

    return get


def some_tags(layout: Path) -> dict[str, Image]:
    """What the tags of a layout stand for; of many the first and the last."""
    roots = {tag(name): root for name, root in names(layout).items()}
    return {called: image(layout, roots[called]) for called in (min(roots), max(roots))}


COPY_A_LAYOUT: dict[str, Callable[[Path, str, Path], Sequence[str]]] = {
    "skopeo": lambda layout, called, made: (
        "copy",
        "--all",
        "--preserve-digests",
        f"oci:{layout}:{called}",
        f"oci:{made}:a",
    ),
    "oras": lambda layout, called, made: (
        "cp",
        "--from-oci-layout",
        f"{layout}:{called}",
        "--to-oci-layout",
        f"{made}:a",
    ),
    "regctl": lambda layout, called, made: ("image", "copy", f"ocidir://{layout}:{called}", f"ocidir://{made}:a"),
}
LAYOUT_REFUSED = {
    ("skopeo", "sha512"): "saved with digest sha256",
    ("skopeo@bookworm", "sha512"): "saved with digest sha256",
    ("skopeo@bookworm", "docker"): "no descriptor found for reference",  # it looks for tags among OCI manifests alone
}
UMOCI_REFUSED = {
    "docker": "descriptor does not point to ispec.MediaTypeImageManifest",
    "sha512": 'unsupported algorithm: "sha512"',
    "multi": "tag is ambiguous: v1",  # it chooses no platform
}
CRANE_REFUSED = {"many-10": "layout contains 10 entries", "sha512": 'unsupported hash: "sha512"'}


@pytest.mark.parametrize(
    "program",
    [pytest.param(name, marks=pytest.mark.peer(name)) for name in ("skopeo", "skopeo@bookworm", "oras", "regctl")],
)
def test_tools_copy_every_image_of_our_layouts(
    program: str, layouts: Callable[[str], Path], images: Images, peers: Peers, tmp_path: Path
) -> None:
    for kind in KINDS:
        for called, expected in some_tags(images(kind)).items():
            made = tmp_path / f"{kind}-{called}"
            command = COPY_A_LAYOUT[program.partition("@")[0]](layouts(kind), called, made)
            if reason := LAYOUT_REFUSED.get((program, kind)):
                with pytest.raises(AssertionError, match=reason):
                    peers.run(program, *command)
            else:
                peers.run(program, *command)
                assert in_layout(made) == Seen.of(expected), kind


@pytest.mark.peer("umoci")
def test_umoci_lists_and_unpacks_our_layouts(
    layouts: Callable[[str], Path], images: Images, peers: Peers, tmp_path: Path
) -> None:
    content = [(name, path) for name, path, size in standard_library("email") if size]
    for kind in KINDS:
        listed = peers.run("umoci", "ls", "--layout", layouts(kind)).stdout.split()
        assert sorted(listed) == sorted(tag(name) for name in names(images(kind))), kind
        for called in some_tags(images(kind)):
            root = tmp_path / f"{kind}-{called}"
            if reason := UMOCI_REFUSED.get(kind):
                with pytest.raises(AssertionError, match=reason):
                    peers.run("umoci", "raw", "unpack", "--image", f"{layouts(kind)}:{called}", root)
                continue
            peers.run("umoci", "raw", "unpack", "--image", f"{layouts(kind)}:{called}", root)
            if kind in {"large", "many-10"}:  # of which the content is another
                assert any(root.rglob("*.py"))
            else:
                assert all((root / name).read_bytes() == Path(path).read_bytes() for name, path in content)


@pytest.mark.peer("crane")
def test_crane_pushes_our_layouts(
    layouts: Callable[[str], Path], images: Images, peers: Peers, docker_registry: DockerRegistry
) -> None:
    for kind in KINDS:
        pushed = f"{docker_registry.host}/layouts/{kind}:v1"
        if reason := CRANE_REFUSED.get(kind):
            with pytest.raises(AssertionError, match=reason):
                peers.run("crane", "push", layouts(kind), pushed)
            continue
        peers.run("crane", "push", layouts(kind), pushed)
        (root,) = names(images(kind)).values()
        assert peers.run("crane", "digest", pushed).stdout.strip() == root, kind
        if kind in {"small", "python", "docker"}:  # it takes every layer for gzip, an attestation too
            peers.run("crane", "validate", "--remote", pushed)
