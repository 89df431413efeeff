"""Real images, small and made in a moment, as OCI layout folders.

Content is files of the running Python's standard library. The same interpreter gives the same bytes: entries are sorted, times are fixed,
owners are 0:0. No two kinds share a layer: an engine that holds one would take it for the other's, and never read that. The benchmarks build
their large images from the same parts.

    layout = build("multi", tmp_path)       # in a test: images("multi"), made once in a session; copy before changing it

    small       one gzip layer, OCI types                   tiny-N      N layers of one small file
    python      three gzip layers                           many-N      N images that share a layer, in one layout
    docker      the same, with Docker's schema 2 types      artifact    an image, and a manifest that names it as its subject
    zstd, raw   the same, in zstd and uncompressed layers   sha512      blobs named by SHA-512
    multi       three platforms and a build attestation     foreign     a layer that lies elsewhere, at a URL
    large       a gzip and a raw layer of over 1 MiB
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Compression = Literal["gzip", "zstd", "none"]
Descriptor = dict[str, Any]  # as JSON has it
Entry = tuple[str, str, int]  # name in the layer, path on disk, size in bytes

MTIME = 1_700_000_000
CREATED = "2023-11-14T22:13:20Z"
OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
LAYER_TYPES = {
    ("oci", "gzip"): OCI + "layer.v1.tar+gzip",
    ("oci", "zstd"): OCI + "layer.v1.tar+zstd",
    ("oci", "none"): OCI + "layer.v1.tar",
    ("docker", "gzip"): DOCKER + "image.rootfs.diff.tar.gzip",
}


class Writer(Protocol):
    def write(self, data: Any, /) -> int: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Layer:
    descriptor: Descriptor  # without a media type, which depends on the manifest
    diff_id: str
    compression: Compression = "gzip"


class Layout:
    """An OCI layout folder while it is written. `close` writes its index."""

    def __init__(self, path: Path, algorithm: str = "sha256") -> None:
        self.path, self.algorithm = path, algorithm
        self.blobs = path / "blobs" / algorithm
        self.blobs.mkdir(parents=True)
        self.index: list[Descriptor] = []

    def put(self, content: bytes | dict[str, Any], media_type: str, **extra: Any) -> Descriptor:
        """Store a blob, or a document as compact JSON; gives its descriptor."""
        data = (
            content
            if isinstance(content, bytes)
            else json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
        )
        digest = hashlib.new(self.algorithm, data).hexdigest()
        (self.blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"{self.algorithm}:{digest}", "size": len(data), **extra}

    def layer(self, entries: Sequence[Entry], compression: Compression = "gzip", label: str | None = None) -> Layer:
        return build_layer(entries, self.blobs, compression, label)

    def manifest(
        self,
        layers: Sequence[Layer],
        style: Literal["oci", "docker"] = "oci",
        platform: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> Descriptor:
        """Store an image's config and manifest; gives the manifest's descriptor."""
        platform = platform or {"architecture": "amd64", "os": "linux"}
        config = {
            **platform,
            "created": CREATED,
            "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["/bin/sh"], "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created": CREATED, "created_by": f"layer {number}"} for number, _ in enumerate(layers)],
        }
        manifest_type, config_type = {
            "oci": (OCI + "manifest.v1+json", OCI + "config.v1+json"),
            "docker": (DOCKER + "distribution.manifest.v2+json", DOCKER + "container.image.v1+json"),
        }[style]
        body: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": self.put(config, config_type),
            "layers": [{"mediaType": LAYER_TYPES[style, layer.compression], **layer.descriptor} for layer in layers],
            **extra,
        }
        return self.put(body, manifest_type, platform=dict(platform))

    def attestation(self, subject: Mapping[str, Any]) -> Descriptor:
        """What buildx adds beside an image: a manifest of platform unknown/unknown that names the image."""
        predicate = "https://slsa.dev/provenance/v0.2"
        blob = self.put({"predicateType": predicate, "subject": []}, "application/vnd.in-toto+json")
        blob["annotations"] = {"in-toto.io/predicate-type": predicate}
        unknown = {"architecture": "unknown", "os": "unknown"}
        rootfs = {"type": "layers", "diff_ids": [blob["digest"]]}
        config = self.put({**unknown, "config": {}, "rootfs": rootfs}, OCI + "config.v1+json")
        media_type = OCI + "manifest.v1+json"
        body = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [blob]}
        about = {"vnd.docker.reference.digest": subject["digest"], "vnd.docker.reference.type": "attestation-manifest"}
        return self.put(body, media_type, platform=unknown, annotations=about)

    def image_index(self, manifests: Sequence[Mapping[str, Any]]) -> Descriptor:
        return self.put(
            {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": list(manifests)},
            OCI + "index.v1+json",
        )

    def tag(self, descriptor: Mapping[str, Any], tag: str, name: str) -> None:
        """Name a root: the tag as the layout specification has it, the full name as containerd writes it."""
        names = {"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": f"localhost/{name}:{tag}"}
        self.index.append({**descriptor, "annotations": names})

    def close(self) -> None:
        index = {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": self.index}
        (self.path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', "utf-8")
        (self.path / "index.json").write_text(json.dumps(index, sort_keys=True), "utf-8")


def build_layer(entries: Sequence[Entry], blobs: Path, compression: Compression, label: str | None = None) -> Layer:
    """Write a layer of files into a folder of blobs, whose name is the digest's algorithm. `label` is the text of a small file of its own."""
    fd, temporary = tempfile.mkstemp(prefix=".part-", dir=blobs)
    with open(fd, "w+b") as out:
        raw = hashlib.sha256()
        sink: Writer = out
        if compression == "gzip":
            sink = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=out, mtime=0)
        elif compression == "zstd":
            sink = zstd.ZstdFile(out, "wb", level=3)
        with tarfile.open(fileobj=_Tee(sink, raw), mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20) as tar:
            if label is not None:
                info = tarfile.TarInfo(f"layer-{label}")
                info.size, info.mtime, info.mode = len(label), MTIME, 0o644
                tar.addfile(info, io.BytesIO(label.encode()))
            for name, path, _ in entries:
                _add_file(tar, name, path)
        if sink is not out:
            sink.close()
        size = out.tell()
        out.seek(0)
        digest = hashlib.file_digest(out, blobs.name).hexdigest()
    os.chmod(temporary, 0o644)
    os.replace(temporary, blobs / digest)
    return Layer({"digest": f"{blobs.name}:{digest}", "size": size}, f"sha256:{raw.hexdigest()}", compression)


def _add_file(tar: tarfile.TarFile, name: str, path: str) -> None:
    info = tar.gettarinfo(path, arcname=name)
    info.mtime, info.uid, info.gid, info.uname, info.gname = MTIME, 0, 0, "", ""
    if info.islnk():  # a second name of a file already stored: store it again, so that a layer stands alone
        info.type, info.linkname, info.size = tarfile.REGTYPE, "", os.path.getsize(path)
    with open(path if info.isreg() else os.devnull, "rb") as file:
        tar.addfile(info, file)


class _Tee(io.RawIOBase):
    """Hands what is written to a file, and hashes it."""

    def __init__(self, sink: Writer, hasher: hashlib._Hash) -> None:
        self.sink, self.hasher = sink, hasher

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.hasher.update(data)
        self.sink.write(data)
        return len(data)


def scan(root: str, under: str = "") -> list[Entry]:
    """Files, folders and links of a tree, sorted, without what an interpreter or a running system makes anew."""
    found = []
    for folder, folders, files in os.walk(root):
        made = {"__pycache__", "proc", "sys", "dev", "run", "tmp"} if folder == root else {"__pycache__"}
        folders[:] = sorted(set(folders) - made)
        for name in files + folders:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode) and os.access(path, os.R_OK):
                found.append((os.path.join(under, os.path.relpath(path, root)), path, os.path.getsize(path)))
            elif stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
                found.append((os.path.join(under, os.path.relpath(path, root)), path, 0))
    return sorted(found)


def take(entries: Sequence[Entry], budget: int) -> list[Entry]:
    """Evenly spread entries whose sizes add up to at most `budget` bytes."""
    total, kept, seen, used = sum(entry[2] for entry in entries) or 1, [], 0, 0
    for entry in entries:
        seen += entry[2]
        if used + entry[2] <= min(seen * budget // total + 65536, budget):
            kept.append(entry)
            used += entry[2]
    return kept


def standard_library(package: str = "") -> list[Entry]:
    """The files of one package of the standard library, or of all (without what was installed beside it)."""
    files = scan(os.path.join(sysconfig.get_path("stdlib"), package), os.path.join("usr/lib/python", package))
    return [entry for entry in files if "-packages" not in entry[0]]


CONTENT = ("email", "json", "logging")  # packages; about 0.7 MB


def build(kind: str, folder: Path) -> Path:
    """Build one of the images named above in `folder`; gives the layout's path, `folder/kind`."""
    name, _, count = kind.partition("-")
    layout = Layout(folder / kind, "sha512" if name == "sha512" else "sha256")
    makers: dict[str, Callable[[], None]] = {
        "small": lambda: _simple(layout, kind, CONTENT[:1]),
        "python": lambda: _simple(layout, kind),
        "docker": lambda: _simple(layout, kind, style="docker"),
        "zstd": lambda: _simple(layout, kind, compression="zstd"),
        "raw": lambda: _simple(layout, kind, compression="none"),
        "sha512": lambda: _simple(layout, kind),
        "large": lambda: _large(layout, kind),
        "multi": lambda: add_multi(
            layout, kind, [layout.layer(standard_library(package), label=kind) for package in CONTENT]
        ),
        "tiny": lambda: add_tiny(layout, kind, int(count)),
        "many": lambda: add_many(layout, kind, int(count), layout.layer(standard_library("json"), label=kind)),
        "artifact": lambda: _artifact(layout, kind),
        "foreign": lambda: _foreign(layout, kind),
    }
    makers[name]()
    layout.close()
    return layout.path


def _simple(
    layout: Layout,
    name: str,
    packages: Iterable[str] = CONTENT,
    style: Literal["oci", "docker"] = "oci",
    compression: Compression = "gzip",
) -> None:
    layers = [layout.layer(standard_library(package), compression, label=name) for package in packages]
    layout.tag(layout.manifest(layers, style), "v1", name)


def _large(layout: Layout, name: str) -> None:
    files = take(standard_library(), 5_000_000)
    layout.tag(
        layout.manifest([layout.layer(files, label=name), layout.layer(files[::3], "none", label=name)]), "v1", name
    )


def add_multi(layout: Layout, name: str, layers: Sequence[Layer]) -> None:
    """An index of three platforms that share their lower layers, and what a build says of the first."""
    amd64 = layout.manifest(layers)
    arm64 = layout.manifest(layers[:-1], platform={"architecture": "arm64", "os": "linux", "variant": "v8"})
    arm = layout.manifest(layers[:-2], platform={"architecture": "arm", "os": "linux", "variant": "v7"})
    layout.tag(layout.image_index([amd64, arm64, arm, layout.attestation(amd64)]), "v1", name)


def add_tiny(layout: Layout, name: str, count: int) -> None:
    """An image of many layers, each of one small file."""
    layout.tag(layout.manifest([layout.layer([], label=f"{name}-{number:05}") for number in range(count)]), "v1", name)


def add_many(layout: Layout, name: str, count: int, shared: Layer) -> None:
    """Many images: one layer of them all, and one of each."""
    for number in range(count):
        layout.tag(layout.manifest([shared, layout.layer([], label=f"{name}-{number:05}")]), f"v{number}", name)


def _artifact(layout: Layout, name: str) -> None:
    image = layout.manifest([layout.layer(standard_library(CONTENT[0]), label=name)])
    layout.tag(image, "v1", name)
    subject = {key: image[key] for key in ("mediaType", "digest", "size")}
    notes = layout.put(
        b"Checked and found good.\n", "text/plain", annotations={"org.opencontainers.image.title": "notes.txt"}
    )
    body: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI + "manifest.v1+json",
        "artifactType": "application/vnd.example.notes",
        "config": layout.put(b"{}", "application/vnd.oci.empty.v1+json"),
        "layers": [notes],
        "subject": subject,
        "annotations": {"org.opencontainers.image.created": CREATED},
    }
    layout.index.append(layout.put(body, body["mediaType"], artifactType=body["artifactType"]))


def _foreign(layout: Layout, name: str) -> None:
    """The layer's blob is not there: like Windows base layers, it is to be fetched where its manifest says, or left alone."""
    own = layout.layer(standard_library(CONTENT[0]), label=name)
    foreign = layout.layer(standard_library(CONTENT[1]), label=name)
    body_of = layout.manifest([foreign, own])
    path = layout.blobs / body_of["digest"].partition(":")[2]
    body = json.loads(path.read_bytes())
    path.unlink()
    body["layers"][0] |= {
        "mediaType": OCI + "layer.nondistributable.v1.tar+gzip",
        "urls": ["https://layers.example/base.tar.gz"],
    }
    (layout.blobs / foreign.descriptor["digest"].partition(":")[2]).unlink()
    layout.tag(layout.put(body, body["mediaType"], platform=body_of["platform"]), "v1", name)


def blobs(folder: Path) -> dict[str, Path]:
    """The blobs below a layout, a store or a containerd's root (`blobs/<algorithm>/<hex>`, at any depth), by digest."""
    return {f"{path.parent.name}:{path.name}": path for path in folder.glob("**/blobs/sha*/*") if path.name[0] != "."}


def tar_layout(layout: Path, archive: Path) -> Path:
    """A layout as a plain archive of its files, as `tar` itself would write it."""
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(layout.rglob("*")):
            tar.add(path, str(path.relative_to(layout)), recursive=False)
    return archive
