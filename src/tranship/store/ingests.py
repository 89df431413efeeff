"""Ingests: content that is being written under a ref, and can be taken up again where its writer left it.

One writer at a time has an ingest, through a lock that ends with its process. `offset` beside the data says how much of it is
there without a gap, never the file's size: files are preallocated, cloned in whole blocks, and filled by several threads.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from tranship import files
from tranship.errors import AlreadyExists, InvalidArgument, NotFound, Unavailable, printable
from tranship.failpoints import hit
from tranship.model.digest import Digest
from tranship.store import locks
from tranship.store.placing import hold, is_whole, may_take, release
from tranship.store.values import IngestStatus, moment, now

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from tranship.store.core import Scope

UNLEASED = (
    24 * 3600 * 1_000_000
)  # microseconds that an ingest without a lease is kept after its opening, as in containerd

_COLUMNS = "ref, total, expected, started_at, opened_at"


class Opened:
    """An ingest whose lock is held: its two open files, and what is known of it."""

    __slots__ = ("data_fd", "folder", "fresh", "ghost", "offset", "offset_fd", "started_at", "total")

    def __init__(self, folder: str, data_fd: int, offset_fd: int, *, fresh: bool) -> None:
        """Locked; the rest comes from the database."""
        self.folder = folder
        self.data_fd = data_fd
        self.offset_fd = offset_fd
        self.fresh = fresh  # the folder was made just now
        self.offset = 0
        self.total = 0
        self.started_at = 0
        self.ghost = False  # the blob is in the store already, and this namespace need not bring it

    def close(self) -> None:
        """Let go of the lock."""
        os.close(self.data_fd)
        os.close(self.offset_fd)


def open_ingest(scope: Scope, ref: str, total: int, expected: Digest | None, lease: str | None) -> Opened:
    """Take up an ingest, or begin one, and lock it.

    AlreadyExists when the namespace has `expected` (the lease holds it then); Unavailable while another writer has the ref;
    NotFound when there is no such lease. An ingest of another declared total begins again.
    """
    if not ref:
        raise InvalidArgument("ref must not be empty: invalid argument")
    if expected is not None and _has(scope, expected, lease):
        raise AlreadyExists(f"content {expected}: already exists")
    with files.no_space_as_error(scope.core.layout.root):
        return _open(scope, ref, total, expected, lease)


def _open(scope: Scope, ref: str, total: int, expected: Digest | None, lease: str | None) -> Opened:
    opened = _lock(scope, ref)
    try:
        with scope.core.database.write(durable=False) as connection:
            if _begin(connection, scope, opened, ref=ref, total=total, expected=expected, lease=lease):
                opened.offset = min(read_offset(opened.folder), os.fstat(opened.data_fd).st_size)
            else:
                os.ftruncate(opened.data_fd, 0)
            write_offset(opened.offset_fd, opened.offset)
        hit("ingest.begun")
    except BaseException:
        if opened.fresh:
            remove_folder(opened.folder)
        opened.close()
        raise
    return opened


def _has(scope: Scope, digest: Digest, lease: str | None) -> bool:
    with scope.write() as connection:
        found = connection.execute(
            "SELECT 1 FROM content WHERE namespace = ? AND digest = ?", (scope.namespace, digest)
        ).fetchone()
        if found is None or not is_whole(connection, scope.core.layout, digest):
            return False
        hold(connection, scope.namespace, lease, digest)
        return True


def _lock(scope: Scope, ref: str) -> Opened:
    folder = scope.core.layout.ingest(scope.namespace, ref)
    while True:
        fresh = True
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            fresh = False
        try:
            data_fd = locks.open_locked(f"{folder}/data")
            if data_fd is None:
                raise _locked(scope, ref)
            try:
                offset_fd = os.open(f"{folder}/offset", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except BaseException:
                os.close(data_fd)
                raise
        except FileNotFoundError:  # its last writer has just removed the folder
            continue
        return Opened(folder, data_fd, offset_fd, fresh=fresh)


def _locked(scope: Scope, ref: str) -> Unavailable:
    with scope.core.database.read() as connection:
        row = connection.execute(
            "SELECT opened_at FROM ingests WHERE namespace = ? AND ref = ?", (scope.namespace, ref)
        ).fetchone()
    since = row[0] if row is not None else now()
    shown = printable(f"{scope.namespace}/{ref}")
    seconds = max(now() - since, 0) / 1e6
    return Unavailable(f"ref {shown} locked for {seconds:.3f}s (since {moment(since).isoformat()}): unavailable")


def _begin(
    connection: sqlite3.Connection,
    scope: Scope,
    opened: Opened,
    *,
    ref: str,
    total: int,
    expected: Digest | None,
    lease: str | None,
) -> bool:
    """Record the ingest; was it there, with data that fits?"""
    key, time = (scope.namespace, ref), now()
    row = connection.execute("SELECT total, started_at FROM ingests WHERE namespace = ? AND ref = ?", key).fetchone()
    fits = row is not None and (total in (0, row[0]) or row[0] == 0)
    opened.total = total or (row[0] if fits else 0)
    opened.started_at = row[1] if fits else time
    opened.ghost = (
        not fits
        and expected is not None
        and may_take(connection, scope.core, scope.namespace, expected)
        and is_whole(connection, scope.core.layout, expected, total or None)
    )
    connection.execute("INSERT OR IGNORE INTO namespaces(name) VALUES (?)", (scope.namespace,))
    connection.execute(
        "INSERT OR REPLACE INTO ingests VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
        (*key, opened.total, expected, opened.started_at, time, None if lease else time + UNLEASED),
    )
    hold(connection, scope.namespace, lease, ref, "ingests")
    return fits


def note_length(scope: Scope, ref: str, length: int) -> None:
    """Record how much an ingest holds while nobody writes it: it counts against the quota, and survives a power cut."""
    with scope.core.database.write(durable=False) as connection:
        connection.execute(
            "UPDATE ingests SET length = ? WHERE namespace = ? AND ref = ?", (length, scope.namespace, ref)
        )


def read_offset(folder: str) -> int:
    """The length of the contiguous part, as it was last noted."""
    try:
        with open(f"{folder}/offset", "rb", buffering=0) as file:
            return int(file.read(20) or b"0")
    except (FileNotFoundError, ValueError):
        return 0


def write_offset(fd: int, offset: int) -> None:
    """Note the length of the contiguous part, after its bytes were written."""
    os.pwrite(fd, b"%020d" % offset, 0)


def remove(connection: sqlite3.Connection, folder: str, namespace: str, ref: str) -> None:
    """Remove an ingest, within a transaction; a writer that still has it cannot commit any more."""
    connection.execute("DELETE FROM ingests WHERE namespace = ? AND ref = ?", (namespace, ref))
    release(connection, namespace, "ingests", ref)
    remove_folder(folder)


def remove_folder(folder: str) -> None:
    """Remove the files of an ingest."""
    for remove, path in ((os.unlink, f"{folder}/data"), (os.unlink, f"{folder}/offset"), (os.rmdir, folder)):
        with contextlib.suppress(OSError):  # another writer may have begun anew; what stays without a row is collected
            remove(path)


# ------------------------------------------------------------------------------------------------------- looking at them


def status(scope: Scope, ref: str) -> IngestStatus:
    """What is known of an ingest; NotFound."""
    with scope.read() as connection:
        row = connection.execute(
            f"SELECT {_COLUMNS} FROM ingests WHERE namespace = ? AND ref = ?",  # noqa: S608  # a constant of ours
            (scope.namespace, ref),
        ).fetchone()
    if row is None:
        raise NotFound(f'could not get status for ref "{printable(ref)}": reference {printable(ref)}: not found')
    return _decode(scope, row)


def statuses(scope: Scope, filters: Sequence[str]) -> list[IngestStatus]:
    """The ingests of the namespace that one of the filters lets pass, by ref."""
    with scope.read() as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM ingests WHERE namespace = ? ORDER BY ref",  # noqa: S608  # a constant of ours
            (scope.namespace,),
        ).fetchall()
    if any(filters):
        from tranship.formats import filters as grammar

        wanted = grammar.parse(filters)
        rows = [row for row in rows if wanted.matches(grammar.adaptor({"ref": row[0]}, {}))]
    return [_decode(scope, row) for row in rows]


def abort(scope: Scope, ref: str) -> None:
    """Drop an ingest, even while somebody writes it; NotFound."""
    with scope.write() as connection:
        if not connection.execute(
            "SELECT 1 FROM ingests WHERE namespace = ? AND ref = ?", (scope.namespace, ref)
        ).fetchone():
            raise NotFound(f"reference {printable(ref)}: not found")
        remove(connection, scope.core.layout.ingest(scope.namespace, ref), scope.namespace, ref)


def _decode(scope: Scope, row: tuple[Any, ...]) -> IngestStatus:
    ref, total, expected, started_at, opened_at = row
    folder = scope.core.layout.ingest(scope.namespace, ref)
    written = opened_at
    with contextlib.suppress(FileNotFoundError):
        written = max(opened_at, os.stat(f"{folder}/offset").st_mtime_ns // 1000)
    return IngestStatus(
        ref,
        read_offset(folder),
        total,
        Digest(expected) if expected else None,
        moment(started_at),
        moment(written),
    )
