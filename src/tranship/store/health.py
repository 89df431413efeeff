"""Looking after a store: count what it holds, hash its blobs again, put aside what is corrupt."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
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
    from collections.abc import Iterable

    from tranship.store.core import Core

Kind = Literal["database", "missing", "size", "corrupt", "mode", "stray"]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What hashing again found."""

    checked: int  # blobs
    bytes: int
    corrupt: tuple[Digest, ...]  # now in quarantine, and gone from every namespace


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
                len(records.images), len(records.content), sum(sizes[digest] for digest in records.content)
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
        found = hash_of(core, digest, paced)
        if found is None:
            continue
        checked, total = checked + 1, total + found[1]
        if found[0] == digest:
            with core.database.write(durable=False) as connection:
                connection.execute("UPDATE blobs SET verified_at = ?, vouched = 0 WHERE digest = ?", (now(), digest))
        else:
            set_aside(core, digest)
            corrupt.append(digest)
    return VerifyReport(checked, total, tuple(corrupt))


def hash_of(core: Core, digest: Digest, advance: pump.Advance) -> tuple[Digest, int] | None:
    """The digest that the file really has, and its length; None when there is no file."""
    try:
        fd = os.open(core.layout.blob(digest), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        hasher = digest.hasher()
        count = pump.hash_range(fd, 0, os.fstat(fd).st_size, hasher, advance=advance)
        return Digest.from_hash(digest.algorithm, hasher), count
    finally:
        os.close(fd)


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


def set_aside(core: Core, digest: Digest) -> str | None:
    """Move a corrupt blob into quarantine and forget it in every namespace, so that it can be fetched again.

    Returns where it is now; None when there was no file.
    """
    target = f"{core.layout.root}/quarantine/{digest.algorithm}-{digest.hex}-{time.time_ns()}"
    with core.database.write() as connection:
        moved = False
        with contextlib.suppress(FileNotFoundError):
            os.rename(core.layout.blob(digest), target)
            moved = True
        hit("aside.moved")
        connection.execute("DELETE FROM content WHERE digest = ?", (digest,))
        connection.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
    return target if moved else None


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
