"""Whether what a tool wrote is right, to the last byte: every blob is there and has the digest that names it."""

from __future__ import annotations

import hashlib
import json
import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO

from harness import WrongResult

from support.images import blobs


def check_blobs(folder: Path, wanted: Collection[str]) -> None:
    """A layout or a store holds all these blobs. Others are its own affair: containerd keeps an archive's index.json until it collects."""
    found = blobs(folder)
    _complete(found, wanted)
    for digest in wanted:
        with found[digest].open("rb") as file:
            _check(digest, file)


def check_registry(root: Path | None, wanted: Collection[str]) -> None:
    """The folder of Docker's registry holds all these blobs."""
    found = set()
    for path in (root or Path()).glob("docker/registry/v2/blobs/sha256/*/*/data"):
        with path.open("rb") as file:
            _check(f"sha256:{path.parent.name}", file)
        found.add(f"sha256:{path.parent.name}")
    _complete(found, wanted)


def check_archive(path: Path, wanted: Collection[str]) -> None:
    """An archive in the OCI layout's form holds all these blobs."""
    found = set()
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                parts = member.name.removeprefix("./").split("/")
                if parts[0] == "blobs" and len(parts) == 3 and member.isreg():
                    content = archive.extractfile(member)
                    assert content
                    _check(":".join(parts[1:]), content)
                    found.add(":".join(parts[1:]))
    except (tarfile.TarError, EOFError) as error:
        raise WrongResult(f"{path.name}: {error}") from None
    _complete(found, wanted)


def check_docker_archive(path: Path, layout: Path) -> None:
    """An archive in docker's form holds this image: its config, and layers that unpack to what the config names. Manifests are not kept."""
    index = json.loads((layout / "index.json").read_bytes())
    manifest = json.loads(blobs(layout)[index["manifests"][0]["digest"]].read_bytes())
    wanted = json.loads(blobs(layout)[manifest["config"]["digest"]].read_bytes())["rootfs"]["diff_ids"]
    with tarfile.open(path, "r:") as archive:

        def content(name: str) -> IO[bytes]:
            file = archive.extractfile(name)
            assert file
            return file

        entry = json.load(content("manifest.json"))[0]
        config = json.load(content(entry["Config"]))
        if config["rootfs"]["diff_ids"] != wanted:
            raise WrongResult(f"{path.name} holds another image")
        for diff_id, layer in zip(wanted, entry["Layers"], strict=True):
            if _unpacked_digest(content(layer)) != diff_id:
                raise WrongResult(f"{path.name}: {layer} does not unpack to {diff_id}")


def _unpacked_digest(file: IO[bytes]) -> str:
    gzipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    hasher, unzip = hashlib.sha256(), zlib.decompressobj(31)
    while chunk := file.read(1 << 20):
        hasher.update(unzip.decompress(chunk) if gzipped else chunk)
    return f"sha256:{hasher.hexdigest()}"


def _check(digest: str, file: IO[bytes]) -> None:
    algorithm, _, expected = digest.partition(":")
    hasher = hashlib.new(algorithm)
    while chunk := file.read(1 << 20):
        hasher.update(chunk)
    if hasher.hexdigest() != expected:
        raise WrongResult(f"{digest} holds other bytes, of {algorithm}:{hasher.hexdigest()}")


def _complete(found: Collection[str], wanted: Collection[str]) -> None:
    if missing := set(wanted) - set(found):
        raise WrongResult(f"{len(missing)} of {len(wanted)} blobs are missing, {min(missing)} among them")
