"""Progress of work that only counts bytes: verifying and checking."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from tranship.cli import progress
from tranship.engine.progress import Progress, Stage
from tranship.errors import Cancelled

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from tranship.pump import Advance


@contextlib.contextmanager
def counting(args: Namespace, what: str, total: int) -> Iterator[Advance]:
    """Give the function that is told of bytes; it raises Cancelled when the command is to end."""
    token, done, due = args.interruption.token, 0, 0.0
    with progress.reporter(args) as reporter:
        reporter.report(Progress(stage=Stage.STARTED, event=what))

        def advance(count: int) -> None:
            nonlocal done, due
            if token.reason is not None:
                raise Cancelled(token.reason)
            done += count
            if (now := time.monotonic()) >= due:
                due = now + 0.1
                reporter.report(Progress(stage=Stage.HASHING, event=what, progress=done, total=total))

        yield advance
