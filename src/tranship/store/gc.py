"""Collection: remove what nothing refers to, safely beside writers and collectors of any process.

    1. one transaction: mark, and forget the records that are not marked. Their files are now condemned: no namespace has them
    2. small transactions: look again which files no namespace has, unlink those and their rows, commit

Between 1 and 2 a writer may want a condemned blob: it finds row and file, records it for its namespace, and step 2 leaves it.
A crash in 2 leaves a row that no namespace sees, whose file may be gone; writers look at the file, the next collection at the
row. What is held by a lease, or by a descriptor that is open, is not lost to anybody.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from tranship.errors import FailedPrecondition, TranshipError
from tranship.failpoints import hit
from tranship.model.digest import ALGORITHMS, Digest
from tranship.store import ingests, locks, process
from tranship.store.mark import load, mark
from tranship.store.values import moment, now

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from tranship.store.core import Core
    from tranship.store.mark import Children, Marked, Records

SWEEP = 64  # files that one transaction removes; writers wait no longer than for these
ORPHAN_GRACE = timedelta(hours=24)  # how old a file without a row must be
SKEW = timedelta(days=1)  # a clock that is this far behind the newest record is not believed


@dataclass(frozen=True, slots=True)
class GcReport:
    """What a collection did."""

    removed: tuple[Digest, ...]  # blobs whose files are gone
    bytes: int  # in those files
    kept: int  # blobs
    images: tuple[tuple[str, str], ...]  # (namespace, name) of images that had expired
    leases: int  # that had expired
    ingests: int  # that nothing held any more
    seconds: float


def collect(
    core: Core,
    *,
    follow_manifests: bool = False,
    orphan_grace: timedelta = ORPHAN_GRACE,
    believe_clock: bool = False,
) -> GcReport:
    """Run one collection; see `Store.gc`."""
    began = time.monotonic()
    children = None
    if follow_manifests:
        children = Documents(core)
        with core.database.read() as connection:  # so that few are left to read while everybody waits
            mark_all(core, connection, children)
    with core.database.write() as connection:
        _check_clock(connection, believe=believe_clock)
        forgotten = [
            _forget(core, connection, namespace, records, marked)
            for namespace, (records, marked) in mark_all(core, connection, children).items()
        ]
        hit("gc.marked")
    hit("gc.condemned")
    removed = dict(_sweep(core))
    removed |= _sweep_orphans(core, orphan_grace)
    with core.database.read() as connection:
        (kept,) = connection.execute("SELECT count(*) FROM blobs").fetchone()
    return GcReport(
        removed=tuple(removed),
        bytes=sum(removed.values()),
        kept=kept,
        images=tuple(name for images, _, _ in forgotten for name in images),
        leases=sum(leases for _, leases, _ in forgotten),
        ingests=sum(count for _, _, count in forgotten),
        seconds=time.monotonic() - began,
    )


def mark_all(
    core: Core, connection: sqlite3.Connection, children: Children | None = None
) -> dict[str, tuple[Records, Marked]]:
    """The records of every namespace, and which of them stay."""
    moment_of_marking, known = now(), dict[str, bool]()

    def lives(holder: str) -> bool:
        if holder not in known:
            known[holder] = process.lives(core.layout, holder)
        return known[holder]

    return {
        namespace: (records, mark(records, moment_of_marking, lives, children))
        for namespace, records in load(connection).items()
    }


def _check_clock(connection: sqlite3.Connection, *, believe: bool) -> None:
    (newest,) = connection.execute("SELECT max(created_at) FROM blobs").fetchone()
    if newest is not None and not believe and newest - now() > SKEW // timedelta(microseconds=1):
        raise FailedPrecondition(
            f"nothing is collected: the newest blob was stored at {moment(newest):%Y-%m-%d %H:%M}, "
            f"and the clock says {moment(now()):%Y-%m-%d %H:%M}, so it cannot be told what has expired",
            hint="set the clock",
        )


def _forget(
    core: Core, connection: sqlite3.Connection, namespace: str, records: Records, marked: Marked
) -> tuple[list[tuple[str, str]], int, int]:
    connection.executemany(
        "DELETE FROM content WHERE namespace = ? AND digest = ?",
        [(namespace, digest) for digest in records.content.keys() - marked.content],
    )
    images = [(namespace, name) for name in sorted(records.images.keys() - marked.images)]
    connection.executemany("DELETE FROM images WHERE namespace = ? AND name = ?", images)
    leases = [(namespace, lease) for lease in records.leases.keys() - marked.leases]
    connection.executemany("DELETE FROM leases WHERE namespace = ? AND id = ?", leases)
    dropped = 0
    for ref in records.ingests.keys() - marked.ingests:
        folder = core.layout.ingest(namespace, ref)
        with _unwatched(folder) as free:
            if free:
                ingests.remove(connection, folder, namespace, ref)
                dropped += 1
    return images, len(leases), dropped


@contextlib.contextmanager
def _unwatched(folder: str) -> Iterator[bool]:
    """Hold an ingest's lock for the block, unless its writer has it: then False."""
    try:
        fd = os.open(f"{folder}/data", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        yield locks.try_lock(fd)
    finally:
        os.close(fd)


def _sweep(core: Core) -> Iterator[tuple[Digest, int]]:
    last, found = "", SWEEP
    while found == SWEEP:
        with core.database.write(durable=False) as connection:
            # What an ingest expects may be the blob of another namespace that its writer has been promised.
            rows = connection.execute(
                "SELECT digest, size FROM blobs WHERE digest > ? "
                "AND NOT EXISTS (SELECT 1 FROM content WHERE content.digest = blobs.digest) "
                "AND digest NOT IN (SELECT expected FROM ingests WHERE expected IS NOT NULL) ORDER BY digest LIMIT ?",
                (last, SWEEP),
            ).fetchall()
            for digest, _ in rows:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(core.layout.blob(Digest(digest)))
                hit("gc.unlinked")
                connection.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
        hit("gc.swept")
        found = len(rows)
        for digest, size in rows:
            last = digest
            yield Digest(digest), size


def _sweep_orphans(core: Core, grace: timedelta) -> dict[Digest, int]:
    """Remove files without a row, and folders of ingests without one: a crash leaves them."""
    removed, before = {}, time.time() - grace.total_seconds()
    with core.database.read() as connection:
        known = {digest for (digest,) in connection.execute("SELECT digest FROM blobs")}
    for digest in (d for d in blob_names(core) if d not in known):
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(core.layout.blob(digest))
            if found.st_mtime < before and _remove_orphan(core, digest):
                removed[digest] = found.st_size
    with core.database.read() as connection:
        recorded = {core.layout.ingest(*key) for key in connection.execute("SELECT namespace, ref FROM ingests")}
    for folder in (f"{core.layout.root}/ingest/{name}" for name in os.listdir(f"{core.layout.root}/ingest")):
        with contextlib.suppress(FileNotFoundError):  # its writer has just ended
            if folder not in recorded and os.stat(folder).st_mtime < before:
                with _unwatched(folder) as free:
                    if free:
                        ingests.remove_folder(folder)
    return removed


def _remove_orphan(core: Core, digest: Digest) -> bool:
    with core.database.write(durable=False) as connection:
        if connection.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,)).fetchone():
            return False
        os.unlink(core.layout.blob(digest))
        return True


def blob_names(core: Core) -> Iterator[Digest]:
    """The digests that files are named by, whatever the database says."""
    for algorithm in ALGORITHMS:
        for name in os.listdir(f"{core.layout.root}/blobs/{algorithm}"):
            if is_blob_name(algorithm, name):
                yield Digest(f"{algorithm}:{name}")


def is_blob_name(algorithm: str, name: str) -> bool:
    """May a file in `blobs/ALGORITHM` be called so?"""
    return len(name) == ALGORITHMS.get(algorithm) and not set(name) - set("0123456789abcdef")


class Documents:
    """The children of blobs that are documents, by reading them; each once."""

    def __init__(self, core: Core) -> None:
        """Of one store."""
        self._layout = core.layout
        self._known: dict[str, tuple[str, ...]] = {}

    def __call__(self, digest: str) -> tuple[str, ...]:
        """The digests of the children; none of what is no document, or not there."""
        if digest not in self._known:
            self._known[digest] = self._read(Digest(digest))
        return self._known[digest]

    def _read(self, digest: Digest) -> tuple[str, ...]:
        from tranship.model import manifest

        with contextlib.suppress(OSError, TranshipError), open(self._layout.blob(digest), "rb", buffering=0) as file:
            if file.read(1) == b"{" and os.fstat(file.fileno()).st_size <= manifest.MAX_DOCUMENT:
                raw = b"{" + file.read(manifest.MAX_DOCUMENT)
                document = manifest.parse(raw, manifest.describe(raw, algorithm=digest.algorithm))
                return tuple(child.digest for child in document.children)
        return ()
