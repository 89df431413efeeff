"""A few rounds of every part of the campaign, always the same ones (`make torture` does more)."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

import torture
from torture.box import PARTS, Box

for module in pkgutil.iter_modules(torture.__path__, "torture."):
    importlib.import_module(module.name)

ROUNDS = {
    "kill-failpoints": 3,
    "kill-random": 3,
    "inputs": 100,
    "differential": 100,
    "fuzz": 36,
    "permissions": 1,
    "network": 16,
    "cuts": 3,
    "kill-daemon": 2,
    "kill-large": 1,
    "load": 1,
    "proto": 120,
    "soak": 1,
    "exports": 10,
    "streams": 1,
    "syscalls": 4,
    "enospc": 2,
    "power": 3,
    "power-commands": 1,
    "gc-race": 0,  # test_store_race.py has its time
    "atheris": 0,  # a part for hours
}
ROOT = [pytest.mark.root]
MARKS = {
    "enospc": ROOT,
    "power": ROOT,
    "power-commands": ROOT,
    "syscalls": [pytest.mark.peer("strace")],
    "exports": [pytest.mark.peer("ctr", "containerd")],
}


def test_every_part_has_its_rounds_here() -> None:
    assert set(ROUNDS) == set(PARTS)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=MARKS.get(name, [])) for name, rounds in ROUNDS.items() if rounds]
)
def test_a_few_rounds_break_nothing(name: str, tmp_path: Path) -> None:
    box = Box(tmp_path, seed=1, limit=ROUNDS[name])
    PARTS[name](box)
    assert not box.breaks, "\n".join(box.breaks)
    assert box.figures, "nothing was tried"
