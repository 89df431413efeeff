"""A few rounds of every part of the campaign that needs neither root nor tools, always the same ones (`make torture` does more)."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

import torture
from torture.box import PARTS, Box, Impossible

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
    "load": 1,
    "proto": 120,
    "soak": 1,
    "syscalls": 4,
    "enospc": 2,
    "power": 2,
    "power-commands": 1,
    "gc-race": 0,  # test_store_race.py has its time
    "atheris": 0,
}
NEEDS = {"enospc": "root", "power": "root", "power-commands": "root", "syscalls": "strace"}


def test_every_part_has_its_rounds_here() -> None:
    assert set(ROUNDS) == set(PARTS)


@pytest.mark.parametrize("name", [name for name, rounds in ROUNDS.items() if rounds and name not in NEEDS])
def test_a_few_rounds_break_nothing(name: str, tmp_path: Path) -> None:
    box = Box(tmp_path, seed=1, limit=ROUNDS[name])
    PARTS[name](box)
    assert not box.breaks, "\n".join(box.breaks)
    assert box.figures, "nothing was tried"


@pytest.mark.parametrize("name", [name for name in ROUNDS if NEEDS.get(name) == "root"])
@pytest.mark.root
def test_a_few_rounds_on_small_disks_break_nothing(name: str, tmp_path: Path) -> None:
    _where_possible(name, tmp_path)


@pytest.mark.peer("strace")
def test_a_few_calls_that_fail_break_nothing(tmp_path: Path) -> None:
    _where_possible("syscalls", tmp_path)


def _where_possible(name: str, folder: Path) -> None:
    box = Box(folder, seed=1, limit=ROUNDS[name])
    try:
        PARTS[name](box)
    except Impossible as reason:
        pytest.skip(str(reason))
    assert not box.breaks, "\n".join(box.breaks)
    assert box.figures, "nothing was tried"
