"""Opening a store, and mending what processes that ended badly have left in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tranship.store import layout as layouts
from tranship.store import process as processes
from tranship.store.core import Core
from tranship.store.database import Database
from tranship.store.space import Space

if TYPE_CHECKING:
    from tranship.files import Durability


def open_core(path: str, *, durability: Durability, sharing: str, quota: int | None, create: bool) -> Core:
    """Check the folder, open the database, enter among the processes, and mend."""
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
            process.enter()
    except BaseException:
        if database is not None:
            database.close()
        process.close()
        os.close(root_fd)
        raise
    return core
