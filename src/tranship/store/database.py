"""The database: its schema, its connections, and its transactions.

One connection writes, the others read. Threads of this process queue for the writer at a lock of ours, processes at
SQLite's own (`BEGIN IMMEDIATE`). Holding that write lock is also what it takes to make or remove a name under `blobs/`:
so no writer, collector or repair ever sees another's half-done work.

A transaction is durable (its commit waits for the disk), or it is not and rides on the next one that is: the log is
sequential, a commit that reaches the disk takes all earlier ones with it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any

from tranship.errors import (
    DataLoss,
    FailedPrecondition,
    NoSpace,
    PermissionDenied,
    TranshipError,
    Unavailable,
    printable,
)
from tranship.failpoints import hit

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

VERSION = 1
IDLE = 16  # connections that are kept for the next readers; each may cache 2 MB
BUSY_TIMEOUT = 10.0  # seconds that we wait for another process' transaction

SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE namespaces(name TEXT PRIMARY KEY, labels TEXT NOT NULL DEFAULT '{}') WITHOUT ROWID;

-- The files. One that no namespace records is condemned: the next sweep removes it, or a writer revives it.
CREATE TABLE blobs(
  digest TEXT PRIMARY KEY, size INTEGER NOT NULL, created_at INTEGER NOT NULL, verified_at INTEGER,
  vouched INTEGER NOT NULL DEFAULT 0  -- 1: taken at a user's word, and not hashed since
) WITHOUT ROWID;

CREATE TABLE content(
  namespace TEXT NOT NULL REFERENCES namespaces(name), digest TEXT NOT NULL REFERENCES blobs(digest),
  labels TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
  PRIMARY KEY(namespace, digest)
) WITHOUT ROWID;
CREATE INDEX content_by_digest ON content(digest);

CREATE TABLE images(
  namespace TEXT NOT NULL REFERENCES namespaces(name), name TEXT NOT NULL,
  media_type TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL,
  more TEXT,  -- the target's other fields, as JSON
  labels TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
  PRIMARY KEY(namespace, name)
) WITHOUT ROWID;

CREATE TABLE leases(
  namespace TEXT NOT NULL REFERENCES namespaces(name) ON DELETE CASCADE, id TEXT NOT NULL,
  labels TEXT NOT NULL, created_at INTEGER NOT NULL,
  holder TEXT,  -- the folder under run/ of the process that made it for its own transfer
  PRIMARY KEY(namespace, id)
) WITHOUT ROWID;
CREATE TABLE lease_resources(
  namespace TEXT NOT NULL, lease TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL,
  PRIMARY KEY(namespace, lease, type, id),
  FOREIGN KEY(namespace, lease) REFERENCES leases(namespace, id) ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE ingests(
  namespace TEXT NOT NULL REFERENCES namespaces(name) ON DELETE CASCADE, ref TEXT NOT NULL,
  total INTEGER NOT NULL, expected TEXT, started_at INTEGER NOT NULL, opened_at INTEGER NOT NULL,
  expires_at INTEGER,  -- NULL: it lives and dies with a lease
  length INTEGER NOT NULL,  -- bytes there when its writer closed it; 0 until then
  PRIMARY KEY(namespace, ref)
) WITHOUT ROWID;
"""  # times are microseconds since 1970, labels are JSON objects


class Database:
    """The connections to one `state.db`; safe to share between threads, not across a fork."""

    def __init__(self, path: str, *, durable: bool) -> None:
        """Open or create the file; FailedPrecondition when a newer tranship made it.

        durable=False never waits for the disk: the database stays consistent, and a power cut may undo the last commits.
        """
        self.path = path
        self._durable = durable
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._lagging = False  # commits that have not waited for the disk
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite gives its log the same mode
        with self._errors():
            self._writer = self._connect()
            try:
                self._writer_waits = self._synchronous(waits=durable)
                self._check_schema()
            except BaseException:
                self._writer.close()
                raise

    def close(self) -> None:
        """Close every connection. Nothing may be using one."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()
            self._writer.close()

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for reading; each statement sees what was committed when it began."""
        with self._errors():
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._connect()
            try:
                yield connection
            finally:
                if len(self._idle) < IDLE:
                    self._idle.append(connection)
                else:
                    connection.close()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for reading, of which every statement sees the same moment."""
        with self.read() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def write(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Run a transaction that holds the write lock from its start; not to be nested.

        Committed when the block ends well, rolled back when it does not; with `durable`, on the disk before it returns.
        """
        waits = durable and self._durable
        with self._lock, self._errors():
            if waits != self._writer_waits:
                self._writer_waits = self._synchronous(waits=waits)
            self._writer.execute("BEGIN IMMEDIATE")
            before = self._writer.total_changes
            try:
                yield self._writer
                hit("database.commit")
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
            if self._writer.total_changes != before:  # a commit of nothing writes nothing, so waits for nothing
                self._lagging = self._durable and not waits

    def settle(self) -> None:
        """Wait until every commit made so far is on the disk."""
        if self._lagging:
            with self.write() as connection:
                connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'settled'")

    def _connect(self) -> sqlite3.Connection:
        import sqlite3

        connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA fullfsync = ON")  # F_FULLFSYNC on macOS, see files.sync; nothing elsewhere
        return connection

    def _synchronous(self, *, waits: bool) -> bool:
        self._writer.execute(f"PRAGMA synchronous = {'FULL' if waits else 'NORMAL'}")
        return waits

    def _check_schema(self) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._writer.execute("PRAGMA journal_mode = WAL")
            self._writer.execute("BEGIN IMMEDIATE")  # another process may be making it just now
            (version,) = self._writer.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in SCHEMA.split(";\n"):
                    self._writer.execute(statement)
                self._writer.execute("INSERT INTO meta VALUES ('settled', 0)")
                self._writer.execute(f"PRAGMA user_version = {VERSION}")
                version = VERSION
            self._writer.execute("COMMIT")
        if version != VERSION:
            raise FailedPrecondition(
                f"store database {printable(self.path)} has version {version}; this tranship knows version {VERSION}",
                hint="use the tranship that made it, or a newer one",
            )

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        import sqlite3

        try:
            yield
        except sqlite3.ProgrammingError:  # a mistake of ours, which is not the store's state
            raise
        except sqlite3.Error as error:
            raise _translated(error, self.path) from error


def _translated(error: Any, path: str) -> TranshipError:
    """The error of ours that an error of SQLite amounts to."""
    import sqlite3

    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    shown = printable(path)
    if code == sqlite3.SQLITE_FULL or (code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and _is_full(path)):
        return NoSpace(f"no space left for the store's database {shown}", path=path)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(f"store database {shown} was busy for {BUSY_TIMEOUT:.0f} s; another process is writing")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DataLoss(
            f"store database {shown} is damaged: {error}",
            hint="keep a copy of it, move it away, and import the images again; blobs are not touched",
        )
    if code == sqlite3.SQLITE_IOERR:
        return DataLoss(
            f"the disk failed under the store's database {shown}: {error}",
            hint="look after the disk, then let `tranship fsck` check the store",
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return PermissionDenied(f"store database {shown} cannot be written: {error}")
    return FailedPrecondition(f"store database {shown}: {error}")


def _is_full(path: str) -> bool:
    """Has the disk neither a block nor an inode left? SQLite does not say why it cannot make a file."""
    usage = os.statvfs(os.path.dirname(path))
    return usage.f_bavail == 0 or (usage.f_files > 0 and usage.f_favail == 0)
