"""Checking a store: the database, every file against its record, names, modes; and mending what can be mended."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tranship.errors import TranshipError, printable
from tranship.model.digest import ALGORITHMS, Digest
from tranship.store import health
from tranship.store.gc import blob_names, is_blob_name
from tranship.store.mark import load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from tranship import pump
    from tranship.store.core import Core
    from tranship.store.health import Hashed, Kind


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
    fault = health.file_fault(core, digest, size)
    hashing: AbstractContextManager[Hashed | None] = (
        health.hashed(core, digest, advance) if fault is None and deep else contextlib.nullcontext()
    )
    with hashing as found:
        if found is not None and found.digest != digest:
            fault = "corrupt", f"blob {digest} has bytes with digest {found.digest}"
        if fault is None:
            return
        with core.database.write() as connection:  # nobody collects it while we look once more
            recorded = connection.execute("SELECT 1 FROM content WHERE digest = ?", (digest,)).fetchone()
            is_there = found is not None and found.is_at(core.layout.blob(digest))
            fault = health.file_fault(core, digest, size) or (fault if is_there else None)
            images = health.needed_by(connection, digest)
    if recorded and fault:
        kind, detail = fault
        if repair:  # which has the store for itself
            health.set_aside(core, digest, lambda: True)
        yield Problem(kind, digest, f"{detail}; needed by {images or 'no image'}", repaired=repair)


def _strays(core: Core, *, repair: bool) -> Iterator[Problem]:
    for algorithm in ALGORITHMS:
        folder = f"{core.layout.root}/blobs/{algorithm}"
        for name in os.listdir(folder):
            if not is_blob_name(algorithm, name):
                path = f"{folder}/{name}"
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
