"""What the parts of a store share: where it is, its database, this process' place in it, and how careful it is."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from tranship.store.batch import Batch
    from tranship.store.database import Database
    from tranship.store.layout import Layout
    from tranship.store.process import Process
    from tranship.store.space import Space


@dataclass(frozen=True, slots=True)
class Core:
    """An open store."""

    layout: Layout
    database: Database
    process: Process
    space: Space
    full: bool  # durability: every step waits for the disk
    shared: bool  # content of one namespace may be taken into another by its digest
    root_fd: int  # opened before anything was written, so that syncfs tells of every write error since


@dataclass(frozen=True, slots=True)
class Scope:
    """One namespace of an open store, perhaps within a batch."""

    core: Core
    namespace: str
    batch: Batch | None = None

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Read, with everything that the batch has taken in so far."""
        self.flush()
        with self.core.database.read() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Run a transaction after everything that the batch has taken in so far; in a batch it is durable with the batch."""
        self.flush()
        with self.core.database.write(durable=durable and self.batch is None) as connection:
            yield connection

    def flush(self) -> None:
        """Let everybody see what the batch has taken in so far."""
        if self.batch is not None:
            self.batch.flush()
