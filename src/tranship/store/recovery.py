"""Opening a store, and mending what processes or machines that ended badly have left in it.

What a process leaves (kill -9) is only clutter: the order of `placing` sees to that. A machine that stops (power cut) may also
have lost bytes that were never synced. So an opener looks for two signs: folders under `run/` whose processes are dead, and
another boot than the last one the database knows. Without a sign it does nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
from functools import partial
from typing import TYPE_CHECKING

from tranship import files
from tranship.errors import DataLoss, printable
from tranship.model.digest import Digest
from tranship.store import layout as layouts
from tranship.store import process as processes
from tranship.store.core import Core
from tranship.store.database import Database
from tranship.store.space import Space

if TYPE_CHECKING:
    from tranship.files import Durability

log = logging.getLogger("tranship.store")

# Linux writes dirty pages back after 30 s, and a busy disk takes its time: what was written longer before the newest blob
# than this was on the disk when that one was written.
WRITTEN_BACK = 600 * 1_000_000  # microseconds


def open_core(path: str, *, durability: Durability, sharing: str, quota: int | None, create: bool) -> Core:
    """Check the folder, open the database, mend, and enter among the processes."""
    with files.no_space_as_error(path):
        return _open(path, durability=durability, sharing=sharing, quota=quota, create=create)


def _open(path: str, *, durability: Durability, sharing: str, quota: int | None, create: bool) -> Core:
    layout = layouts.prepare(path, create=create)
    process = processes.Process(layout)
    database = None
    root_fd = os.open(layout.root, os.O_RDONLY | os.O_CLOEXEC)
    try:
        process.share()
        with processes.gate(layout):
            database = Database(layout.database, durable=durability == "full")
            core = Core(
                layout,
                database,
                process,
                Space(layout.root, database, quota),
                full=durability == "full",
                shared=sharing == "shared",
                root_fd=root_fd,
            )
            _mend(core)
            process.enter()
    except BaseException:
        if database is not None:
            database.close()
        process.close()
        os.close(root_fd)
        raise
    return core


def _mend(core: Core) -> None:
    """Deal with dead processes and a new boot, if there are any; the caller holds the gate."""
    boot = boot_id()
    with core.database.read() as connection:
        known = dict(connection.execute("SELECT key, value FROM meta"))
        (newest,) = connection.execute("SELECT coalesce(max(created_at), 0) FROM blobs").fetchone()
    dead = processes.abandoned(core.layout)
    rebooted = known.get("boot", boot) != boot
    if rebooted:
        lax = known.get("lax") == 1
        _check_database(core)
        _check_blobs(core, newest - WRITTEN_BACK, hashes=lax)
        _check_ingests(core, lax=lax)
    if dead:
        _check_blobs(core, int(min(processes.began(core.layout, one) for one in dead) * 1e6), hashes=False)
        for one in dead:
            processes.bury(core.layout, one)
    wanted = {"boot": boot, "lax": int(not core.full or (known.get("lax") == 1 and not rebooted))}
    if any(known.get(key) != value for key, value in wanted.items()):
        with core.database.write() as connection:
            connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", wanted.items())


def _check_database(core: Core) -> None:
    with core.database.read() as connection:
        found = [text for (text,) in connection.execute("PRAGMA quick_check") if text != "ok"]
    if found:
        raise DataLoss(
            f"store database {printable(core.layout.database)} is damaged: {printable(found[0])}",
            hint="keep a copy of it, move it away, and import the images again; blobs are not touched",
        )


def _check_blobs(core: Core, since: int, *, hashes: bool) -> None:
    """Look at the files of blobs that were recorded since then; put aside those that are not what they should be."""
    from tranship.store import health

    with core.database.read() as connection:
        rows = connection.execute(
            "SELECT digest, size FROM blobs WHERE created_at >= ? AND digest IN (SELECT digest FROM content)", (since,)
        ).fetchall()
    for digest, size in ((Digest(digest), size) for digest, size in rows):
        fault = health.file_fault(core, digest, size)
        if fault is not None:
            with core.database.read() as connection:
                images = health.needed_by(connection, digest)
            if health.set_aside(core, digest, partial(health.file_fault, core, digest, size)):
                log.warning("%s, and is forgotten; needed by %s", fault[1], images or "no image")
    if hashes:
        for digest in health.verify(core, [Digest(digest) for digest, _ in rows]).corrupt:
            log.warning("blob %s did not survive the machine's stop, and is forgotten", digest)


def _check_ingests(core: Core, *, lax: bool) -> None:
    """Begin again those whose bytes may not have reached the disk: nobody closed them, or nobody waited for it."""
    with core.database.read() as connection:
        rows = connection.execute("SELECT namespace, ref, length FROM ingests").fetchall()
    for namespace, ref, length in rows:
        if lax or not length:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{core.layout.ingest(namespace, ref)}/offset")


def boot_id() -> str:
    """What changes when the machine starts anew; empty where that cannot be told."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return _boot_session()


def _boot_session() -> str:
    """What macOS has for that (sysctl kern.bootsessionuuid)."""
    import ctypes

    answer, length = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
    try:
        call = ctypes.CDLL(None).sysctlbyname
    except AttributeError:  # not there
        return ""
    failed = call(b"kern.bootsessionuuid", answer, ctypes.byref(length), None, ctypes.c_size_t(0))
    return "" if failed else answer.value.decode()
