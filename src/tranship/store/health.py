"""Looking after a store: hash its blobs again, find what is wrong, put aside what is corrupt, count what it holds."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tranship import files, pump
from tranship.errors import TranshipError, printable
from tranship.model.digest import Digest
from tranship.store import ingests
from tranship.store.gc import blob_names, mark_all
from tranship.store.mark import load, needing
from tranship.store.values import now

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from tranship.store.core import Core

Kind = Literal["database", "missing", "size", "corrupt", "mode", "stray"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that should not be."""

    kind: Kind
    subject: str  # a digest or a path
    detail: str  # a sentence
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What a check found."""

    problems: tuple[Problem, ...]
    incomplete: tuple[tuple[str, str, str], ...]  # (namespace, image, what is missing): no fault of the store
    blobs: int
    bytes: int
    orphans: int  # files that no record speaks of; the next collections remove them

    @property
    def ok(self) -> bool:
        """Was nothing wrong, or is all of it repaired?"""
        return all(problem.repaired for problem in self.problems)


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
        found = _hash_of(core, digest, paced)
        if found is None:
            continue
        checked, total = checked + 1, total + found[1]
        if found[0] == digest:
            with core.database.write(durable=False) as connection:
                connection.execute("UPDATE blobs SET verified_at = ? WHERE digest = ?", (now(), digest))
        else:
            set_aside(core, digest)
            corrupt.append(digest)
    return VerifyReport(checked, total, tuple(corrupt))


def _hash_of(core: Core, digest: Digest, advance: pump.Advance) -> tuple[Digest, int] | None:
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
        connection.execute("DELETE FROM content WHERE digest = ?", (digest,))
        connection.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
    return target if moved else None


# ------------------------------------------------------------------------------------------------------------- checking


def fsck(core: Core, *, repair: bool, deep: bool, advance: pump.Advance) -> FsckReport:
    """Check everything; see `Store.fsck`."""
    problems = [Problem("database", core.layout.database, fault) for fault in _database_faults(core, deep=deep)]
    with core.database.read() as connection:
        rows = connection.execute("SELECT DISTINCT digest, size FROM content JOIN blobs USING(digest)").fetchall()
        known = {digest for (digest,) in connection.execute("SELECT digest FROM blobs")}
    for digest, size in rows:
        problems += _blob_problems(core, Digest(digest), size, repair=repair, deep=deep, advance=advance)
    problems += _strays(core, repair=repair)
    problems += _modes(core, repair=repair)
    return FsckReport(
        problems=tuple(problems),
        incomplete=tuple(_incomplete(core)),
        blobs=len(rows),
        bytes=sum(size for _, size in rows),
        orphans=sum(digest not in known for digest in blob_names(core)),
    )


def _database_faults(core: Core, *, deep: bool) -> Iterator[str]:
    with core.database.read() as connection:
        for (text,) in connection.execute("PRAGMA integrity_check" if deep else "PRAGMA quick_check"):
            if text != "ok":
                yield f"SQLite says: {text}"
        for table, *_ in connection.execute("PRAGMA foreign_key_check"):
            yield f"a row of {table} refers to nothing"


def _blob_problems(
    core: Core, digest: Digest, size: int, *, repair: bool, deep: bool, advance: pump.Advance
) -> Iterator[Problem]:
    fault = file_fault(core, digest, size)
    if fault is None and deep:
        found = _hash_of(core, digest, advance)
        if found is not None and found[0] != digest:
            fault = "corrupt", f"blob {digest} has bytes with digest {found[0]}"
    if fault is None:
        return
    with core.database.write() as connection:  # nobody collects it while we look once more
        still = connection.execute("SELECT 1 FROM content WHERE digest = ?", (digest,)).fetchone()
        fault = file_fault(core, digest, size) or (fault if fault[0] == "corrupt" else None)
        images = needed_by(connection, digest)
    if still and fault:
        kind, detail = fault
        if repair:
            set_aside(core, digest)
        yield Problem(kind, digest, f"{detail}; needed by {images or 'no image'}", repaired=repair)


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


def _strays(core: Core, *, repair: bool) -> Iterator[Problem]:
    named = {core.layout.blob(digest) for digest in blob_names(core)}
    for folder in os.scandir(f"{core.layout.root}/blobs"):
        for path in (f"{folder.path}/{name}" for name in os.listdir(folder.path)):
            if path not in named:
                if repair:
                    os.rename(path, f"{core.layout.root}/quarantine/stray-{time.time_ns()}")
                yield Problem("stray", path, f"{printable(path)} is not named by a digest", repaired=repair)


def _modes(core: Core, *, repair: bool) -> Iterator[Problem]:
    root = core.layout.root
    wanted = [(root, 0o700), *((f"{root}/{name}", 0o700) for name in ("blobs", "ingest", "run", "quarantine"))]
    wanted += [(core.layout.database, 0o600), *((core.layout.blob(digest), 0o400) for digest in blob_names(core))]
    for path, mode in wanted:
        with contextlib.suppress(FileNotFoundError):
            found = os.lstat(path)
            fault = None
            if stat.S_IMODE(found.st_mode) != mode:
                fault = f"{printable(path)} has mode {stat.S_IMODE(found.st_mode):04o} instead of {mode:04o}"
            elif found.st_uid != os.geteuid():
                fault = f"{printable(path)} belongs to user {found.st_uid}"
            if fault:
                if repair:
                    os.chmod(path, mode)
                yield Problem("mode", path, fault, repaired=repair and found.st_uid == os.geteuid())


def _incomplete(core: Core) -> Iterator[tuple[str, str, str]]:
    """The images that cannot be used whole: by manifests, not by labels. Of an index one child is enough."""
    with core.database.snapshot() as connection:
        everything = load(connection)
    for namespace, records in sorted(everything.items()):
        complete: dict[str, str | None] = {}
        for name, (digest, _) in sorted(records.images.items()):
            lack = _lacks(core, records.content.keys(), Digest(digest), complete)
            if lack is not None:
                yield namespace, name, lack


def _lacks(core: Core, here: Iterable[str], digest: Digest, known: dict[str, str | None]) -> str | None:
    from tranship.model import manifest, mediatypes

    if digest in known:
        return known[digest]
    known[digest] = None  # a loop, which hashes do not allow, ends here
    if digest not in here:
        known[digest] = f"{digest} is not here"
        return known[digest]
    with contextlib.suppress(OSError, TranshipError):
        with open(core.layout.blob(digest), "rb", buffering=0) as file:
            raw = file.read(manifest.MAX_DOCUMENT)
        document = manifest.parse(raw, manifest.describe(raw, algorithm=digest.algorithm))
        if isinstance(document, manifest.Index):
            lacks = [_lacks(core, here, child.digest, known) for child in document.manifests]
            known[digest] = lacks[0] if lacks and all(lacks) else None
        else:
            for child in document.children:
                if child.digest not in here and not mediatypes.is_non_distributable(child.media_type):
                    known[digest] = f"{child} is not here"
    return known[digest]
