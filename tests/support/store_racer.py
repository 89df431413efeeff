"""Works on a store that others work on and collect at the same time; fails as soon as held content is missing or wrong.

store_racer.py ROOT ROLE SECONDS SEED       prints how many rounds it made
"""

import contextlib
import os
import random
import sys
import time

from tranship.errors import AlreadyExists, NotFound, Unavailable
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.store import Image, NamespaceView, Store

POOL = [b"pool %d " % n * (n * 50 + 1) for n in range(40)]  # few, so that everybody wants the same ones


def import_image(store: Store, chance: random.Random, name: str) -> None:
    """Bring a few blobs and an image as a transfer does; some are found present, some are being collected just now."""
    with store.batch() as batch:
        space = batch.namespace(f"n{chance.randrange(2)}")
        with space.leases.holding() as lease:
            chosen = chance.sample(POOL, 5)
            present = space.content.ensure_all({Digest.of(data): {} for data in chosen}, lease=lease.id)
            for data in chosen:
                if Digest.of(data) not in present:
                    space.content.put(data, Digest.of(data), len(data), lease=lease.id)
            raw = b"".join(chosen)
            labels = {f"containerd.io/gc.ref.content.{n}": Digest.of(data) for n, data in enumerate(chosen)}
            if not space.content.ensure(Digest.of(raw), labels=labels, lease=lease.id):
                space.content.put(raw, Digest.of(raw), len(raw), labels=labels, lease=lease.id)
            check(space, chosen, raw)
            space.images.put(Image(name, Descriptor(media_type="x", digest=Digest.of(raw), size=len(raw))))
        check(space, chosen, raw)  # held by the image now
    if chance.random() < 0.8:
        store.namespace(space.name).images.delete(name)


def check(space: NamespaceView, chosen: list[bytes], raw: bytes) -> None:
    for data in (*chosen, raw):
        if b"".join(space.content.read(Digest.of(data))) != data:
            raise AssertionError("other bytes")


def ingest(store: Store, chance: random.Random) -> None:
    """Write one of the pool's blobs under a ref that others use too, and read it while it is held."""
    space, data = store.namespace(f"n{chance.randrange(2)}"), chance.choice(POOL)
    digest = Digest.of(data)
    with space.leases.holding() as lease:
        try:
            with space.content.writer(f"ref {chance.randrange(5)}", lease=lease.id) as writer:
                writer.truncate(0)
                writer.write(data)
                writer.commit(len(data), digest)
        except AlreadyExists:
            pass
        except (Unavailable, NotFound) as error:  # somebody has the ref, or has dropped it
            if "lease" in error.message:
                raise
            return
        if b"".join(space.content.read(digest)) != data:
            raise AssertionError("other bytes")


def main(root: str, role: str, seconds: str, seed: str) -> None:
    chance, end, rounds = random.Random(int(seed)), time.monotonic() + float(seconds), 0
    with Store.open(root) as store:
        while time.monotonic() < end:
            if role == "collect":
                store.gc()
            elif role == "ingest":
                ingest(store, chance)
                if chance.random() < 0.1:
                    with contextlib.suppress(NotFound):
                        store.namespace("n0").content.abort(f"ref {chance.randrange(5)}")
            else:
                import_image(store, chance, f"image-{os.getpid()}")
            rounds += 1
    print(rounds)


if __name__ == "__main__":
    main(*sys.argv[1:])
