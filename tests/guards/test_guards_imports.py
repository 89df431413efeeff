"""What a command imports: its start-up costs what its modules cost, so their number is held down. Nothing is timed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.counting import modules
from torture.content import NAME, in_memory
from tranship import Archive, Store, transfer

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = (
    "urllib3",
    "ssl",
    "rich",
    "grpc",
    "google.protobuf",
    "asyncio",
    "email",
    "http",
    "hypothesis",
    "isal",
    "backports.zstd",
)
MOST = {  # modules, and those of them that are ours
    "version": (6, 3),
    "--help": (45, 10),
    "ls": (170, 70),
    "export": (190, 90),
    "import": (190, 90),
}


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imports")
    transfer(in_memory(), Archive(folder / "in.tar", durability="process"))
    transfer(Archive(folder / "in.tar"), Store(root=folder / "store", durability="process"))
    return folder


@pytest.mark.parametrize("command", MOST)
def test_a_command_imports_no_more_than_it_needs(command: str, stocked: Path) -> None:
    words = {
        "export": ["export", NAME, "-o", str(stocked / "out.tar")],
        "import": ["import", str(stocked / "in.tar")],
    }.get(command, [command])
    root = [] if command in ("version", "--help") else ["--root", str(stocked / "store"), "--quiet"]
    found = modules(*words, *root)
    assert [name for name in HEAVY if name in found] == []
    assert len(found) <= MOST[command][0], sorted(found)
    assert sum(name.split(".")[0] == "tranship" for name in found) <= MOST[command][1]
