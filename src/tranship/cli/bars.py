"""Progress on a terminal: a line for each blob on its way, and one for all. Drawn by rich, which is imported for it alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from tranship.cli.output import safe
from tranship.cli.progress import Totals
from tranship.engine.progress import Reporter, Stage

if TYPE_CHECKING:
    from tranship.engine.progress import Progress as Event

SHOW_CURSOR = b"\x1b[?25h\n"  # which is hidden while bars are drawn (DECTCEM)
_MOST = 12  # lines of blobs; further ones are counted in the total alone


class Bars(Reporter):
    """A context in which the lines are drawn; they are gone when it ends, and what was said above them stays."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
        )
        self._all: TaskID | None = None
        self._blobs: dict[str, TaskID] = {}
        self._totals = Totals()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def report(self, event: Event) -> None:
        """Draw what the event says."""
        self._totals.hear(event)
        if event.stage is Stage.STARTED:
            self._all = self._progress.add_task(event.event.lower(), total=None)
        elif event.stage is Stage.NOTICE:
            self._console.print(Text(f"tranship: {safe(event.event)}"))
        elif self._all is None:
            return
        elif event.stage in (Stage.RECEIVING, Stage.HASHING):
            self._progress.update(
                self._all, description=safe(event.event), completed=event.progress, total=event.total or None
            )
        elif event.stage is Stage.PLANNED:
            self._progress.reset(self._all, total=event.total, description="all")
        elif event.stage is Stage.BLOB:
            self._blob(event, self._all)

    def _blob(self, event: Event, everything: TaskID) -> None:
        task = self._blobs.get(event.name)
        if event.outcome is not None:
            if task is not None:
                self._progress.remove_task(self._blobs.pop(event.name))
        elif task is not None:
            self._progress.update(task, completed=event.progress)
        elif len(self._blobs) < _MOST and event.descriptor is not None:
            self._blobs[event.name] = self._progress.add_task(
                str(event.descriptor), total=event.total, completed=event.progress
            )
        # what was there already is left out: it says nothing of the speed
        totals = self._totals
        self._progress.update(everything, completed=totals.moved, total=totals.total - totals.here)
