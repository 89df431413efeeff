"""Images as peers see them, to hold against what they are: what an image consists of, and what a peer says it has after reading one.

Truth is read from folders of blobs (`blobs/ALGORITHM/HEX`: a layout, or containerd's content store) without tranship.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from support import graphs

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from support.daemons import Containerd, Docker, Podman
    from support.peers import Peers

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


@dataclass(frozen=True)
class Image:
    """What a name really stands for.

    root     the digest that the name points to, of an index or a manifest
    config   SHA-256 of the config of the image for one architecture, this machine's: docker's and podman's image ID
    closure  the digests of everything that the root reaches and that is there; each was held against its bytes
    """

    root: str
    config: str
    closure: frozenset[str]


@dataclass(frozen=True)
class Seen:
    """What a peer says of a name: the digests by which it knows it (podman: of the index and of the manifest), and as Image has it."""

    digests: frozenset[str] = frozenset()
    config: str | None = None
    closure: frozenset[str] | None = None

    @classmethod
    def of(cls, found: Image) -> Seen:
        return cls(frozenset({found.root}), found.config, found.closure)


def manifest_of(folder: Path, root: str, architecture: str = ARCHITECTURE) -> str:
    """The manifest of the image for an architecture: the root itself, or the child of the index."""
    for child in json.loads(graphs.blob(folder, root)).get("manifests", ()):
        if child["platform"]["architecture"] == architecture:
            return str(child["digest"])
    return root


def image(folder: Path, root: str, architecture: str = ARCHITECTURE) -> Image:
    """The image of a root in a folder of blobs, of which some platforms may be absent."""
    manifest = json.loads(graphs.blob(folder, manifest_of(folder, root, architecture)))
    config = hashlib.sha256(graphs.blob(folder, manifest["config"]["digest"])).hexdigest()
    return Image(root, f"sha256:{config}", frozenset(graphs.closure(folder, root, partial=True)))


def uncompressed(folder: Path, root: str) -> list[str]:
    """The digests of the layers' uncompressed bytes, computed, of the image for this machine; its config must say the same."""
    manifest = json.loads(graphs.blob(folder, manifest_of(folder, root)))
    said = json.loads(graphs.blob(folder, manifest["config"]["digest"]))["rootfs"]["diff_ids"]
    layers = (unpacked(graphs.blob(folder, layer["digest"])) for layer in manifest["layers"])
    found = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    assert found == said
    return found


def unpacked(layer: bytes) -> bytes:
    if layer.startswith(b"\x1f\x8b"):
        return gzip.decompress(layer)
    return zstd.decompress(layer) if layer.startswith(b"\x28\xb5\x2f\xfd") else layer


def names(folder: Path) -> dict[str, str]:
    """Full name → digest, as the index of a layout has it."""
    return {entry["annotations"]["io.containerd.image.name"]: entry["digest"] for entry in graphs.index(folder)}


# --- what each engine has after it has read an archive: the images are removed again, so that the next one brings everything ---------


def familiar(name: str) -> str:
    """A name as docker shows it."""
    return name.removeprefix("docker.io/library/")


def in_docker(engine: Docker, wanted: Sequence[str], *, keeps_manifests: bool) -> dict[str, Seen]:
    """What docker has under names. With containerd's image store its IDs are those of roots."""
    shown = [familiar(name) for name in wanted]
    try:
        found = json.loads(engine.docker("image", "inspect", *shown).stdout)
    finally:
        engine.docker("image", "rm", "--force", *shown, check=False)
    assert all(name in entry["RepoTags"] for name, entry in zip(shown, found, strict=True))
    ids = {name: entry["Id"] for name, entry in zip(wanted, found, strict=True)}
    return {name: Seen(frozenset({one})) if keeps_manifests else Seen(config=one) for name, one in ids.items()}


def in_podman(engine: Podman, wanted: Sequence[str]) -> dict[str, Seen]:
    try:
        found = json.loads(engine.podman("image", "inspect", *wanted).stdout)
    finally:
        engine.podman("image", "rm", "--force", *wanted, check=False)
    assert all(name in entry["RepoTags"] for name, entry in zip(wanted, found, strict=True))
    return {
        name: Seen(frozenset(one.rpartition("@")[2] for one in entry["RepoDigests"]), f"sha256:{entry['Id']}")
        for name, entry in zip(wanted, found, strict=True)
    }


def in_containerd(daemon: Containerd, wanted: Sequence[str], architecture: str | None = None) -> dict[str, Seen]:
    """What containerd has under names. With an architecture only that image must be there: whatever an import for one platform
    brought beside it, containerd collects sooner or later.
    """
    lines = [line.split() for line in daemon.ctr("images", "ls").stdout.splitlines()[1:]]
    roots = {words[0]: next(word for word in words if word.startswith("sha")) for words in lines}
    folder, found = daemon.blobs.parent, {}
    try:
        for name in wanted:
            found[name] = Seen.of(image(folder, roots[name], architecture or ARCHITECTURE))
            if architecture is not None:
                graphs.closure(folder, manifest_of(folder, roots[name], architecture))
                found[name] = replace(found[name], closure=None)
    finally:
        daemon.ctr("images", "rm", "--sync", *roots)  # with --sync containerd collects, so that the blobs are gone too
    return found


# --- pipes ----------------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def piped(peers: Peers, name: str, *args: str | Path, stdin: bool = False) -> Iterator[Any]:
    """A peer at the other end of a pipe: gives what it prints, or with `stdin` what it reads. AssertionError when it fails."""
    command, environment = peers.command(name, *args), peers.environment(name)
    with tempfile.TemporaryFile() as said:
        ends: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
        if stdin:
            ends = {"stdin": subprocess.PIPE, "stdout": said}
        with subprocess.Popen(command, env=environment, stderr=said, bufsize=0, **ends) as process:
            yield process.stdin if stdin else process.stdout
        said.seek(0)
        assert process.returncode == 0, f"{' '.join(command)}: {said.read()[-2000:].decode()}"
