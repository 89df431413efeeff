"""What the library says to its log, told to people: warnings always, with -v what happens behind the scenes at registries
(who is shown a password, what is tried again, where a registry sends us), with --debug all of it.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from tranship.cli.output import safe, say

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator


class _Heard(logging.Handler):
    def __init__(self, args: Namespace) -> None:
        super().__init__()
        self._args = args

    def emit(self, record: logging.LogRecord) -> None:
        """Tell it as any other remark."""
        say(self._args, safe(record.getMessage()))


@contextlib.contextmanager
def log_told(args: Namespace) -> Iterator[None]:
    """Listen while the block runs."""
    log = logging.getLogger("tranship")
    handler = _Heard(args)
    before = log.level
    log.setLevel(logging.DEBUG if args.debug else logging.INFO if args.verbose else logging.WARNING)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
