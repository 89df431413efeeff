"""Random image graphs: indexes within indexes, shared layers, empty blobs, both families of media types, both algorithms.

images = random_images(random.Random(7))       # a Memory, the same one for the same seed
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tranship.model import mediatypes, strict_json
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.model.platform import Platform
from tranship.testing.memory import Memory

if TYPE_CHECKING:
    import random

PLATFORMS = (
    Platform("linux", "amd64"),
    Platform("linux", "arm64", "v8"),
    Platform("linux", "arm", "v7"),
    Platform("linux", "s390x"),
    Platform("windows", "amd64", os_version="10.0.17763.1"),
    Platform("unknown", "unknown"),
)


def random_images(chance: random.Random, *, count: int = 3, largest: int = 20_000) -> Memory:
    """Make `count` images (or fewer), with layers of up to `largest` bytes."""
    maker = _Maker(chance, largest)
    for number in range(chance.randint(1, count)):
        target = maker.index(0) if chance.random() < 0.5 else maker.manifest(chance.choice(PLATFORMS[:4]))
        maker.images.names[f"example.com/random/{number}:v{chance.randint(0, 9)}"] = target.plain
    return maker.images


class _Maker:
    def __init__(self, chance: random.Random, largest: int) -> None:
        self.images = Memory()
        self._chance = chance
        self._largest = largest
        self._layers: list[Descriptor] = []

    def put(self, raw: bytes, media_type: str) -> Descriptor:
        digest = Digest.of(raw, self._chance.choice(("sha256", "sha256", "sha256", "sha512")))
        self.images.blobs[digest] = raw
        return Descriptor(media_type=media_type, digest=digest, size=len(raw))

    def layer(self, docker: bool) -> Descriptor:
        if self._layers and self._chance.random() < 0.3:
            return self._chance.choice(self._layers)
        size = self._chance.choice((0, 1, self._chance.randint(0, self._largest)))
        raw = self._chance.randbytes(size)
        media_type = mediatypes.DOCKER_LAYER_GZIP if docker else mediatypes.OCI_LAYER_GZIP
        self._layers.append(self.put(raw, media_type))
        return self._layers[-1]

    def manifest(self, platform: Platform) -> Descriptor:
        docker = self._chance.random() < 0.3
        layers = [self.layer(docker) for _ in range(self._chance.randint(0, 4))]
        config = strict_json.dumps(
            {**platform.to_json(), "rootfs": {"type": "layers", "diff_ids": [str(d.digest) for d in layers]}}
        )
        kinds = (
            (mediatypes.DOCKER_MANIFEST, mediatypes.DOCKER_CONFIG)
            if docker
            else (mediatypes.OCI_MANIFEST, mediatypes.OCI_CONFIG)
        )
        raw = strict_json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": kinds[0],
                "config": self.put(config, kinds[1]).to_json(),
                "layers": [d.to_json() for d in layers],
                "annotations": {"org.example.number": str(self._chance.random())},
            }
        )
        return replace(self.put(raw, kinds[0]), platform=platform)

    def index(self, depth: int) -> Descriptor:
        children = [self.manifest(platform) for platform in PLATFORMS if self._chance.random() < 0.5]
        if depth < 3 and self._chance.random() < 0.3:
            children.append(self.index(depth + 1))
        if not children:
            children = [self.manifest(PLATFORMS[0])]
        kind = self._chance.choice((mediatypes.OCI_INDEX, mediatypes.DOCKER_INDEX))
        raw = strict_json.dumps(
            {"schemaVersion": 2, "mediaType": kind, "manifests": [child.to_json() for child in children]}
        )
        return self.put(raw, kind)
