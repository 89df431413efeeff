"""How a transfer is shown while it runs, always on stderr: bars on a terminal, a line now and then elsewhere, or JSON.

JSON is one event a line. Its fields are those of `tranship.engine.progress.Progress`, with `v` (the version of this schema),
`time` (seconds since 1970), and the descriptor's `digest`, `mediaType` and `size`; absent fields are left out. What a command
says besides is a notice among them, and what went wrong has the stage "error", with gRPC's word for it as `code`, and
`exitCode`. NO_COLOR takes the colours off the bars.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from tranship.cli.output import duration, safe, size
from tranship.engine.progress import Outcome, Progress, Reporter, Stage

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from tranship.cli.failures import Failure

SCHEMA = 1  # of JSON events
INTERVAL = 5.0  # seconds between two lines where there is no terminal
_AHEAD = (Stage.RECEIVING, Stage.HASHING)  # bytes that pass before the plan is known
_ENDS = (Stage.COMPLETED, Stage.FAILED, Stage.CANCELLED)


@contextlib.contextmanager
def reporter(args: Namespace) -> Iterator[Reporter]:
    """The reporter that the options and the terminal ask for."""
    how = "none" if args.quiet else args.progress
    if how == "auto":
        how = "tty" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else "plain"
    if how == "tty":
        from tranship.cli.bars import SHOW_CURSOR, Bars

        args.interruption.farewell = SHOW_CURSOR
        with Bars() as bars:
            yield bars
        args.interruption.farewell = b""
    elif how == "json":
        yield JsonLines()
    else:
        yield Lines(every=None if how == "none" else INTERVAL, notices=not args.quiet)


class JsonLines(Reporter):
    """An event a line."""

    def report(self, event: Progress) -> None:
        """Print the event."""
        print(json.dumps(_json(event), ensure_ascii=True), file=sys.stderr, flush=True)


def _json(event: Progress) -> dict[str, Any]:
    value: dict[str, Any] = {"v": SCHEMA, "time": round(time.time(), 3), "stage": event.stage, "event": event.event}
    if event.name:
        value["name"] = event.name
    if event.parents:
        value["parents"] = event.parents
    if event.total or event.progress:
        value |= {"progress": event.progress, "total": event.total}
    if event.descriptor is not None:
        value |= {
            "digest": event.descriptor.digest,
            "mediaType": event.descriptor.media_type,
            "size": event.descriptor.size,
        }
    if event.outcome is not None:
        value["outcome"] = event.outcome
    if event.reason is not None:
        value["reason"] = event.reason
    return value


def print_error(what: Failure) -> None:
    """Print what went wrong as an event."""
    value: dict[str, Any] = {"v": SCHEMA, "time": round(time.time(), 3), "stage": "error", "event": what.message}
    value |= {"code": what.code, "exitCode": what.exit_code}
    if what.hint:
        value["hint"] = what.hint
    if what.notes:
        value["notes"] = what.notes
    print(json.dumps(value, ensure_ascii=True), file=sys.stderr, flush=True)


class Totals:
    """How far a transfer is: what its events add up to."""

    def __init__(self) -> None:
        self.total = 0  # bytes; 0: not known yet
        self.here = 0  # bytes that were at the destination already
        self.ahead = 0  # bytes that came before the plan was known
        self.ahead_total = 0
        self._moved = 0  # bytes of blobs that are done
        self._moving: dict[str, int] = {}  # bytes of those that are on their way
        self._began = time.monotonic()

    def hear(self, event: Progress) -> None:
        """Take an event into account."""
        if event.stage is Stage.PLANNED:
            self.total, self._began = event.total, time.monotonic()
        elif event.stage in _AHEAD:
            self.ahead, self.ahead_total = event.progress, event.total
        elif event.stage is Stage.BLOB:
            self._moving[event.name] = event.progress
            if event.outcome is not None:
                self._moving.pop(event.name)
                if event.outcome is Outcome.PRESENT:
                    self.here += event.total
                else:
                    self._moved += event.total

    @property
    def moved(self) -> int:
        """Bytes moved so far."""
        return self._moved + sum(self._moving.values())

    @property
    def done(self) -> int:
        """Bytes that need no work any more."""
        return self.here + self.moved

    @property
    def rate(self) -> float:
        """Bytes a second, of those that move."""
        passed = time.monotonic() - self._began
        return (self.moved if self.total else self.ahead) / passed if passed > 0 else 0.0

    @property
    def left(self) -> float | None:
        """Seconds left at this rate; None while that cannot be told."""
        total, done = (self.total, self.done) if self.total else (self.ahead_total, self.ahead)
        return (total - done) / self.rate if total and self.rate else None

    def __str__(self) -> str:
        total, done = (self.total, self.done) if self.total else (self.ahead_total, self.ahead)
        parts = [f"{size(done)} of {size(total)}" if total else size(done), f"{size(self.rate)}/s"]
        if total:
            parts.insert(0, f"{100 * done // total} %")
        if self.left is not None and done < total:
            parts.append(f"{duration(self.left)} left")
        return ", ".join(parts)


class Lines(Reporter):
    """A line every few seconds, for logs; notices at once."""

    def __init__(self, *, every: float | None, notices: bool = True) -> None:
        """every: seconds, or None for notices alone."""
        self._every = every
        self._notices = notices
        self._totals = Totals()
        self._due = time.monotonic() + (every or 0)
        self._what = ""

    def report(self, event: Progress) -> None:
        """Print a line when one is due."""
        self._totals.hear(event)
        if event.stage is Stage.STARTED:
            self._what = event.event.lower()
        if event.stage is Stage.NOTICE and self._notices:
            print(f"tranship: {safe(event.event)}", file=sys.stderr)
        elif self._every is not None and event.stage not in _ENDS and time.monotonic() >= self._due:
            self._due = time.monotonic() + self._every
            what = safe(event.event) if event.stage in _AHEAD else self._what
            print(f"tranship: {what}: {self._totals}", file=sys.stderr, flush=True)
