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


def prepare(root: str | os.PathLike[str]) -> None:
    """A store with some images, of which `do_import` replaces one and `do_collect` removes one."""
    with Store.open(root) as store:
        add_image(store.namespace("default"), "app", "v1")
        add_image(store.namespace("default"), "old", "v3")
        add_image(store.namespace("other"), "other", "v0")


def assert_whole(store: Store, namespace: str, name: str, versions: list[str]) -> None:
    """The image is one of these versions, and every byte of it is there."""
    space = store.namespace(namespace)
    target = space.images.get(name).target.digest
    version = next(v for v in versions if Digest.of(manifest_of(v)[0]) == target)
    for data in (manifest_of(version)[0], *blobs_of(version)):
        assert b"".join(space.content.read(Digest.of(data))) == data


def do_endless(store: Store) -> None:
    """Import image after image, saying so of each; remove every second one, and collect."""
    for n in range(100_000):
        with store.batch() as batch:
            space = batch.namespace("default")
            with space.leases.holding() as lease:
                add_image(space, f"image-{n}", f"v{n}", lease.id)
        os.write(1, b"%d\n" % n)
        if n % 2:
            store.namespace("default").images.delete(f"image-{n}")
            store.gc()


WORKS = {"import": do_import, "write": do_write, "collect": do_collect, "endless": do_endless}


def main(root: str, *works: str) -> None:
    with Store.open(root) as store:
        for work in works:
            WORKS[work](store)
            os.write(1, f"{work}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
