"""Works on a store until it is done, or until a failpoint of TRANSHIP_FAIL kills it; says on stdout what was acknowledged.

store_child.py ROOT WORK        WORK: import, write, collect (several, in order)
"""

import os
import sys

from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.model.mediatypes import OCI_MANIFEST
from tranship.store import Image, NamespaceView, Store

REF = "containerd.io/gc.ref.content"
SIZES = (0, 10, 4096, 70_000, 300_000)


def blobs_of(version: str) -> list[bytes]:
    """An image's blobs: the first is shared by all versions."""
    shared = b"shared" * 1000
    return [shared, *((version.encode() + b"%d" % n) * size for n, size in enumerate(SIZES))]


def manifest_of(version: str) -> tuple[bytes, dict[str, str]]:
    digests = [Digest.of(data) for data in blobs_of(version)]
    return "\n".join(digests).encode(), {f"{REF}.{n}": digest for n, digest in enumerate(digests)}


def add_image(space: NamespaceView, name: str, version: str, lease: str | None = None) -> None:
    for data in blobs_of(version):
        space.content.put(data, Digest.of(data), len(data), lease=lease)
    raw, labels = manifest_of(version)
    space.content.put(raw, Digest.of(raw), len(raw), labels=labels, lease=lease)
    space.images.put(Image(name, Descriptor(media_type=OCI_MANIFEST, digest=Digest.of(raw), size=len(raw))))


def do_import(store: Store) -> None:
    with store.batch() as batch:
        space = batch.namespace("default")
        with space.leases.holding() as lease:
            add_image(space, "app", "v2", lease.id)


def do_write(store: Store) -> None:
    space, data = store.namespace("default"), b"written" * 50_000
    with space.leases.holding() as lease, space.content.writer("big", total=len(data), lease=lease.id) as writer:
        half = len(data) // 2
        if writer.offset < half:
            writer.write(data[writer.offset : half])
        writer.write(data[writer.offset :])
        writer.commit(len(data), Digest.of(data), {"containerd.io/gc.root": "yes"})


def do_collect(store: Store) -> None:
    images = store.namespace("default").images
    if any(image.name == "old" for image in images.list()):
        images.delete("old")
    store.gc()


def main(root: str, *works: str) -> None:
    with Store.open(root) as store:
        for work in works:
            {"import": do_import, "write": do_write, "collect": do_collect}[work](store)
            os.write(1, f"{work}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
