"""Giving staged files their names: the one way in which blobs get into the store.

    1. the bytes reach the disk                           (durability full; nothing is locked yet)
    2. the write lock is taken: BEGIN IMMEDIATE
    3. each file is renamed to blobs/ALG/HEX, or dropped where the blob is there already
    4. the directory reaches the disk                     (full)
    5. rows: the file, the namespace's record, the lease's hold on it
    6. COMMIT, which reaches the disk                     (full, outside of a batch)

A crash before 6 leaves a file without a row, which is invisible and collected; no order of events leaves a row without its
file. Since names under `blobs/` change only under the write lock, a collector cannot come between 3 and 6.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tranship import files
from tranship.errors import Aborted, NotFound, printable
from tranship.failpoints import hit
from tranship.store import labels as label_rules
from tranship.store.values import dumps, loads, now

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from tranship.model.digest import Digest
    from tranship.store.core import Core
    from tranship.store.layout import Layout

SYNC_ALL_FROM = 16  # files; from here one syncfs is cheaper than an fsync each (1,000 small files: 11 ms and 330)
SYNC_THREADS = 4  # file systems join the flushes of several threads in one journal commit


@dataclass(slots=True)
class Placement:
    """A whole, verified file on its way to its name. `path` is ours: it is renamed or removed."""

    namespace: str
    digest: Digest
    size: int
    path: str
    labels: Mapping[str, str]
    lease: str | None
    ref: str | None = None  # the ingest that ends with it,
    fd: int = -1  # and its open file, which `path` must still lead to: an ingest can be aborted under its writer

    vouched: bool = False  # a user's word stands for its bytes: nobody has hashed them
    created: bool = False  # set by `place`: the namespace did not have it before
    synced: bool = False  # its bytes are on the disk
    lost: bool = False  # they could not be brought there: what the file now reads as is not what the disk has
    named: bool = False  # set by `place`: the file has its name, so `path` is no more ours
    known: bool = False  # set by `place`: the blob was recorded before its file got the name

    @property
    def stays(self) -> bool:
        """Does the file mend a blob, so that it is right in its place whatever becomes of the transaction?"""
        return self.known and not self.vouched

    def check_path(self) -> None:
        """NotFound when an ingest's path does not lead to its writer's file any more.

        Aborted when the file is not whole: it stands for the blob of another namespace, which has just been put aside.
        """
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            found = None
        if found is None or (self.fd >= 0 and not os.path.samestat(os.fstat(self.fd), found)):
            raise NotFound(f"reference {printable(self.ref or '')}: not found")
        if found.st_size != self.size:
            raise Aborted(f"content {self.digest} is no more in the store and must be written: aborted")

    def drop(self) -> None:
        """Remove the file where it has not got its name."""
        if not self.named:
            with contextlib.suppress(OSError):  # it is in our own folder, which is removed as a whole
                os.unlink(self.path)


def place(core: Core, placements: Sequence[Placement], *, durable: bool = True) -> None:
    """Put every file in its place, in one transaction; see above for the order.

    durable=False leaves it to a later commit to bring the transaction to the disk, as a batch does once, at its end.
    """
    with files.no_space_as_error(core.layout.root):
        _place(core, placements, durable=durable)
    if not all(p.named for p in placements):
        sync_others(core)
    hit("place.committed")
    for p in placements:
        p.drop()


def _place(core: Core, placements: Sequence[Placement], *, durable: bool) -> None:
    if core.full:
        with core.database.read() as connection:
            new = [
                p
                for p in placements
                if is_vouched(connection, p.digest) or not is_whole(connection, core.layout, p.digest)
            ]
        sync_files(core, new)
    hit("place.synced")
    try:
        with core.database.write(durable=durable) as connection:
            try:
                _name(core, connection, placements)
                core.space.check(connection, sum(p.size for p in placements if p.named))
                record(connection, placements)
                hit("place.recorded")
            except BaseException:
                _take_back(core, placements)
                raise
    except BaseException:
        _take_back_late(core, placements)
        raise


def _name(core: Core, connection: sqlite3.Connection, placements: Sequence[Placement]) -> None:
    for p in placements:
        if is_whole(connection, core.layout, p.digest) and (p.vouched or not is_vouched(connection, p.digest)):
            continue
        if core.full:  # again: what was there when we looked may have been collected since
            sync_files(core, [p])
        p.check_path()
        p.known = is_recorded(connection, p.digest)
        os.replace(p.path, core.layout.blob(p.digest))  # over what a crash may have left there without a row
        p.named = True
        if p.fd >= 0:
            os.fchmod(p.fd, 0o400)
        hit("place.renamed")
    if core.full:
        for algorithm in {p.digest.algorithm for p in placements if p.named}:
            files.fsync_directory(f"{core.layout.root}/blobs/{algorithm}")
    hit("place.directory")


def _take_back(core: Core, placements: Sequence[Placement]) -> None:
    """Undo the names of a transaction that fails, so that an ingest can be resumed; but no record loses its file by that."""
    for p in placements:
        if p.named and not p.stays:
            with contextlib.suppress(OSError):
                os.rename(core.layout.blob(p.digest), p.path)
                p.named = False
                if p.fd >= 0:
                    os.fchmod(p.fd, 0o600)


def _take_back_late(core: Core, placements: Sequence[Placement]) -> None:
    """The same after a COMMIT that failed, as on a full disk: the lock is gone, and what others have recorded since stays."""
    left = [p for p in placements if p.named and not p.stays]
    if left:
        with contextlib.suppress(Exception), core.database.write(durable=False) as connection:
            # What was known may have been hashed once: a file at a user's word does not stay in its place.
            _take_back(core, [p for p in left if p.known or not is_recorded(connection, p.digest)])


def is_whole(connection: sqlite3.Connection, layout: Layout, digest: Digest, size: int | None = None) -> bool:
    """Is there a row (of this size, where one is given), and a file of the row's size?"""
    row = connection.execute("SELECT size FROM blobs WHERE digest = ?", (digest,)).fetchone()
    if row is None or (size is not None and row[0] != size):
        return False
    try:
        return bool(os.stat(layout.blob(digest)).st_size == row[0])
    except FileNotFoundError:
        return False


def is_recorded(connection: sqlite3.Connection, digest: Digest) -> bool:
    """Is there a row, whatever its file may be?"""
    return connection.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,)).fetchone() is not None


def is_vouched(connection: sqlite3.Connection, digest: Digest) -> bool:
    """Was the blob taken at a user's word, and not hashed since? Verified bytes take its place when they come."""
    row = connection.execute("SELECT vouched FROM blobs WHERE digest = ?", (digest,)).fetchone()
    return row is not None and bool(row[0])


def record(connection: sqlite3.Connection, placements: Iterable[Placement]) -> None:
    """Write the rows: the files, the namespaces' records, the holds of leases; note in each what was new."""
    time = now()
    for p in placements:
        connection.execute(
            "INSERT INTO blobs(digest, size, created_at, vouched) VALUES (?, ?, ?, ?) "
            "ON CONFLICT(digest) DO UPDATE SET size = excluded.size, created_at = excluded.created_at, "
            "vouched = excluded.vouched, verified_at = NULL WHERE ?",
            (p.digest, p.size, time, p.vouched, p.named),  # what is known of the old file says nothing of a new one
        )
        p.created = add_record(connection, p.namespace, p.digest, p.labels, time, merge=p.ref is None)
        hold(connection, p.namespace, p.lease, p.digest)
        if p.ref is not None:
            connection.execute("DELETE FROM ingests WHERE namespace = ? AND ref = ?", (p.namespace, p.ref))
            release(connection, p.namespace, "ingests", p.ref)


def add_record(
    connection: sqlite3.Connection,
    namespace: str,
    digest: Digest,
    labels: Mapping[str, str],
    time: int,
    *,
    merge: bool = True,
) -> bool:
    """Let a namespace have a blob; where it has it already, `merge` the labels with those there. Says whether it is new."""
    row = connection.execute(
        "SELECT labels FROM content WHERE namespace = ? AND digest = ?", (namespace, digest)
    ).fetchone()
    if row is None:
        connection.execute("INSERT OR IGNORE INTO namespaces(name) VALUES (?)", (namespace,))
        connection.execute(
            "INSERT INTO content VALUES (?, ?, ?, ?, ?)",
            (namespace, digest, dumps(label_rules.merged({}, labels)), time, time),
        )
        return True
    if labels and merge:
        old = loads(row[0])
        new = label_rules.merged(old, labels)
        if new != old:
            connection.execute(
                "UPDATE content SET labels = ?, updated_at = ? WHERE namespace = ? AND digest = ?",
                (dumps(new), time, namespace, digest),
            )
    return False


def may_take(connection: sqlite3.Connection, core: Core, namespace: str, digest: Digest) -> bool:
    """May a namespace use a blob of the store without bringing its bytes? (containerd, core/metadata/content.go, isolation)."""
    if core.shared:
        return True
    holders = connection.execute(
        "SELECT name, namespaces.labels FROM content JOIN namespaces ON name = namespace WHERE digest = ?", (digest,)
    )
    return any(name == namespace or loads(labels).get(label_rules.SHAREABLE) == "true" for name, labels in holders)


def hold(
    connection: sqlite3.Connection, namespace: str, lease: str | None, resource: str, kind: str = "content"
) -> None:
    """Let a lease hold a resource; NotFound when there is no such lease."""
    if lease is None:
        return
    if not connection.execute("SELECT 1 FROM leases WHERE namespace = ? AND id = ?", (namespace, lease)).fetchone():
        raise NotFound("lease does not exist: not found")
    connection.execute("INSERT OR IGNORE INTO lease_resources VALUES (?, ?, ?, ?)", (namespace, lease, kind, resource))


def is_lasting(connection: sqlite3.Connection, namespace: str, lease: str | None) -> bool:
    """Must what the lease holds be on the disk? Not for a transfer's own lease, which means nothing after a power cut."""
    if lease is None:
        return False
    row = connection.execute("SELECT holder FROM leases WHERE namespace = ? AND id = ?", (namespace, lease)).fetchone()
    return row is not None and row[0] is None


def release(connection: sqlite3.Connection, namespace: str, kind: str, resource: str) -> None:
    """Let every lease of the namespace drop a resource that is no more."""
    connection.execute(
        "DELETE FROM lease_resources WHERE namespace = ? AND type = ? AND id = ?", (namespace, kind, resource)
    )


def sync_files(core: Core, placements: Sequence[Placement]) -> None:
    """Bring the bytes of these files to the disk, many of them with one call where the system has it.

    After an error the bytes must be written anew: another fsync of the same file would succeed, and mean nothing.
    """
    waiting = [p for p in placements if not p.synced]
    try:
        if len(waiting) >= SYNC_ALL_FROM and sys.platform.startswith("linux"):
            _sync_filesystem(core)
        elif len(waiting) > 1:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(min(SYNC_THREADS, len(waiting)), thread_name_prefix="sync") as pool:
                for _ in pool.map(_sync_file, [p.path for p in waiting]):
                    pass
        elif waiting:
            _sync_file(waiting[0].path)
    except OSError:
        for p in waiting:
            p.lost = True
        raise
    for p in waiting:
        p.synced = True


def _sync_file(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        hit("sync.file")
        files.sync(fd)
    finally:
        os.close(fd)


def sync_others(core: Core) -> None:
    """Bring blobs to the disk that others have written without waiting for it, before they are counted on for good."""
    if core.full:
        with core.database.read() as connection:
            lax = connection.execute("SELECT 1 FROM meta WHERE key = 'lax' AND value = 1").fetchone()
        if lax is not None:
            _sync_filesystem(core)


def _sync_filesystem(core: Core) -> None:
    """syncfs(2), which Python has not got. It tells of a write error once to each descriptor opened before the error."""
    if not sys.platform.startswith("linux"):
        os.sync()
        return
    import ctypes

    if ctypes.CDLL(None, use_errno=True).syncfs(core.root_fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), core.layout.root)
