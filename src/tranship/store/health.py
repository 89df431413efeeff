"""Looking after a store: count what it holds, hash its blobs again, put aside what is corrupt."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal

from tranship import files, pump
from tranship.errors import printable
from tranship.failpoints import hit
from tranship.model.digest import Digest
from tranship.store import ingests
from tranship.store.gc import mark_all
from tranship.store.mark import load, needing
from tranship.store.values import now

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator

    from tranship.store.core import Core

Kind = Literal["database", "missing", "size", "corrupt", "mode", "stray"]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What hashing again found."""

    checked: int  # blobs
    bytes: int
    corrupt: tuple[Digest, ...]  # now in quarantine, and gone from every namespace


@dataclass(frozen=True, slots=True)
class Hashed:
    """What a blob's file turned out to be."""

    digest: Digest
    size: int
    fd: int  # open, so that no other file can be taken for it

    def is_at(self, path: str) -> bool:
        """Is the file there still, or has another one taken its place?"""
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self.fd), os.stat(path))
        return False


@dataclass(frozen=True, slots=True)
class NamespaceUsage:
    """What one namespace records; blobs may be shared with others."""

    images: int
    blobs: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a store holds."""

    blobs: int
    bytes: int
    reclaimable_blobs: int  # that a collection would remove now
    reclaimable_bytes: int
    ingests: int
    ingest_bytes: int
    free_bytes: int  # of the disk
    quota: int | None
    namespaces: dict[str, NamespaceUsage] = field(default_factory=dict)


# ------------------------------------------------------------------------------------------------------------- counting


def usage(core: Core) -> Usage:
    """Count; see `Store.usage`."""
    with core.database.snapshot() as connection:
        sizes: dict[str, int] = dict(connection.execute("SELECT digest, size FROM blobs"))
        marked = mark_all(core, connection)
        refs = connection.execute("SELECT namespace, ref FROM ingests").fetchall()
    kept = {digest for records, marks in marked.values() for digest in records.content.keys() & marks.content}
    garbage = sizes.keys() - kept
    return Usage(
        blobs=len(sizes),
        bytes=sum(sizes.values()),
        reclaimable_blobs=len(garbage),
        reclaimable_bytes=sum(sizes[digest] for digest in garbage),
        ingests=len(refs),
        ingest_bytes=sum(ingests.read_offset(core.layout.ingest(*key)) for key in refs),
        free_bytes=files.free_bytes(core.layout.root),
        quota=core.space.quota,
        namespaces={
            namespace: NamespaceUsage(
                len(records.images), len(records.content), sum(sizes.get(digest, 0) for digest in records.content)
            )
            for namespace, (records, _) in sorted(marked.items())
        },
    )


# ------------------------------------------------------------------------------------------------------------ verifying


def verify(
    core: Core,
    digests: Iterable[Digest] | None,
    *,
    rate: float | None = None,
    advance: pump.Advance = pump.nothing,
) -> VerifyReport:
    """Hash blobs again; see `Store.verify`."""
    if digests is None:
        with core.database.read() as connection:
            rows = connection.execute("SELECT digest FROM blobs ORDER BY verified_at, digest").fetchall()
        digests = [Digest(digest) for (digest,) in rows]
    checked = total = 0
    corrupt = []
    paced = _paced(advance, rate)
    for digest in digests:
        with hashed(core, digest, paced) as found:
            if found is None:
                continue
            checked, total = checked + 1, total + found.size
            if found.digest == digest:
                _note_sound(core, digest, found)
            elif set_aside(core, digest, partial(found.is_at, core.layout.blob(digest))):
                corrupt.append(digest)
    return VerifyReport(checked, total, tuple(corrupt))


@contextlib.contextmanager
def hashed(core: Core, digest: Digest, advance: pump.Advance) -> Iterator[Hashed | None]:
    """Hash the file of a blob, which stays open for the block; None when there is none."""
    try:
        fd = os.open(core.layout.blob(digest), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        hasher = digest.hasher()
        count = pump.hash_range(fd, 0, os.fstat(fd).st_size, hasher, advance=advance)
        yield Hashed(Digest.from_hash(digest.algorithm, hasher), count, fd)
    finally:
        os.close(fd)


def _note_sound(core: Core, digest: Digest, found: Hashed) -> None:
    with core.database.write(durable=False) as connection:
        if found.is_at(core.layout.blob(digest)):
            connection.execute("UPDATE blobs SET verified_at = ?, vouched = 0 WHERE digest = ?", (now(), digest))


def _paced(advance: pump.Advance, rate: float | None) -> pump.Advance:
    """`advance`, made to wait so that no more than `rate` bytes a second pass."""
    if rate is None:
        return advance
    began, done = time.monotonic(), 0

    def paced(count: int) -> None:
        nonlocal done
        done += count
        advance(count)
        time.sleep(max(0.0, began + done / rate - time.monotonic()))

    return paced


def set_aside(core: Core, digest: Digest, is_so: Callable[[], object]) -> bool:
    """Move a corrupt blob into quarantine and forget it in every namespace, so that it can be fetched again.

    Only if it `is_so` still when nobody else can write: another process may have put the blob aside and brought it anew.
    """
    target = f"{core.layout.root}/quarantine/{digest.algorithm}-{digest.hex}-{time.time_ns()}"
    with core.database.write() as connection:
        if not is_so():
            return False
        with contextlib.suppress(FileNotFoundError):
            os.rename(core.layout.blob(digest), target)
        hit("aside.moved")
        connection.execute("DELETE FROM content WHERE digest = ?", (digest,))
        connection.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
    return True


def file_fault(core: Core, digest: Digest, size: int) -> tuple[Kind, str] | None:
    """What is wrong with a recorded blob's file, by a look at its length."""
    try:
        found = os.stat(core.layout.blob(digest)).st_size
    except FileNotFoundError:
        return "missing", f"blob {digest} is recorded and its file is missing"
    if found != size:
        return "size", f"blob {digest} has {found} bytes instead of {size}"
    return None


def needed_by(connection: sqlite3.Connection, digest: Digest) -> str:
    """The names of the images that need a blob, as a list for people."""
    names = sorted({name for records in load(connection).values() for name in needing(records, digest)})
    return ", ".join(printable(name) for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
