"""A part of the campaign while it runs: its time, its chance, what it counts, and the breaks that it has found."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from support.disks import Impossible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Box:
    """What a part gets. `rounds` says when to end; `unbroken` stands around each harm and the checks after it.

    is_slice  a few rounds among the ordinary tests: no time, small images, few clients
    """

    def __init__(self, folder: Path, *, seed: int, seconds: float = float("inf"), limit: int | None = None) -> None:
        self.folder = folder
        self.seed = seed
        self.chance = random.Random(seed)
        self.figures: Counter[str] = Counter()
        self.breaks: list[str] = []
        self.is_slice = limit is not None
        self._limit = limit
        self._began = time.monotonic()
        self.end = self._began + seconds

    @property
    def seconds(self) -> float:
        """How long the part has run."""
        return time.monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return max(0.0, self.end - time.monotonic())

    @property
    def over(self) -> bool:
        """Has the time run out?"""
        return time.monotonic() >= self.end

    def rounds(self) -> Iterator[int]:
        """0, 1, 2 … until the time or the number of rounds has run out."""
        number = 0
        while not self.over and (self._limit is None or number < self._limit):
            yield number
            number += 1

    def count(self, what: str, number: int = 1) -> None:
        """Add to a figure."""
        self.figures[what] += number

    @contextlib.contextmanager
    def unbroken(self, what: str) -> Iterator[None]:
        """Whatever is raised within the block is a break of `what`; the part goes on."""
        try:
            yield
        except Impossible:
            raise
        except Exception as error:  # it is what we are looking for
            self.breaks.append(f"{what}: {''.join(traceback.format_exception(error)[-6:])}")

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A new folder, removed in the end."""
        path = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def told(self, name: str) -> str:
        """One line for the report."""
        figures = ", ".join(f"{number} {what}" for what, number in sorted(self.figures.items()))
        return f"{name} seed={self.seed} {self.seconds:.0f} s: {figures or 'nothing'}, {len(self.breaks)} breaks"


Part = "Callable[[Box], None]"
PARTS: dict[str, Callable[[Box], None]] = {}


def part(name: str) -> Callable[[Callable[[Box], None]], Callable[[Box], None]]:
    """Give a part its name and its place in PARTS."""

    def register(function: Callable[[Box], None]) -> Callable[[Box], None]:
        PARTS[name] = function
        return function

    return register
