"""The images that the campaign moves, and running tranship's command line as a process of its own."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tranship import Archive, transfer
from tranship.model import mediatypes, strict_json
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.testing.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAME = "example.com/app:1"
SIZES = (0, 1, 700, 4096, 70_000, 1_200_000)  # bytes of layers: empty, tiny, and large enough to be aligned and cloned


def put(images: Memory, raw: bytes, media_type: str) -> Descriptor:
    """A blob in memory."""
    digest = Digest.of(raw)
    images.blobs[digest] = raw
    return Descriptor(media_type=media_type, digest=digest, size=len(raw))


def image(images: Memory, name: str, seed: int, sizes: Iterable[int] = SIZES) -> Descriptor:
    """An image of random layers of these sizes in memory."""
    chance = random.Random(seed)
    layers = [put(images, chance.randbytes(size), mediatypes.OCI_LAYER) for size in sizes]
    config = put(images, b'{"architecture":"amd64","os":"linux","n":%d}' % seed, mediatypes.OCI_CONFIG)
    value = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    images.names[name] = put(images, strict_json.dumps(value), mediatypes.OCI_MANIFEST)
    return images.names[name]


def in_memory(name: str = NAME, seed: int = 1, sizes: Iterable[int] = SIZES) -> Memory:
    """One image."""
    images = Memory()
    image(images, name, seed, sizes)
    return images


@dataclass(frozen=True)
class Versions:
    """Two archives of one name, and the digests of their roots."""

    old: Path
    new: Path
    roots: Mapping[str, str] = field(default_factory=dict)  # "old" and "new" -> digest

    def root(self, which: str) -> str:
        """The digest of a version's root."""
        return self.roots[which]


def versions(folder: Path, sizes: Iterable[int] = SIZES) -> Versions:
    """Two versions of one image in a folder, which is made."""
    folder.mkdir(exist_ok=True)
    sizes, roots = tuple(sizes), {}
    for seed, which in ((1, "old"), (2, "new")):
        images = in_memory(NAME, seed, sizes)
        transfer(images, Archive(folder / f"{which}.tar", durability="process"))
        roots[which] = str(images.names[NAME].digest)
    return Versions(folder / "old.tar", folder / "new.tar", roots)


@dataclass(frozen=True)
class Ran:
    """What a process did."""

    code: int
    err: str

    @property
    def orderly(self) -> bool:
        """Did it end with one of our codes and words: no traceback, no bug?"""
        return self.code != 70 and "Traceback" not in self.err and "internal error" not in self.err


def command(root: Path, *words: object) -> list[str]:
    """tranship's command line over a store."""
    return [sys.executable, "-m", "tranship", "--root", str(root), "--quiet", *map(str, words)]


def environment(**more: str) -> dict[str, str]:
    """Of the processes: ours, without what would lead them to a user's own store or credentials."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TRANSHIP_", "XDG_", "DOCKER_", "REGISTRY_"))}
    return {**kept, "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", **more}


def run(root: Path, *words: object, **more: str) -> Ran:
    """Run a command to its end."""
    done = subprocess.run(
        command(root, *words),
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    return Ran(done.returncode, done.stderr.decode("utf-8", "replace"))
