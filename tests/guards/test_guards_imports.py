"""What a command imports: its start-up costs what its modules cost, so their number is held down. Nothing is timed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.counting import modules
from torture.content import NAME, in_memory
from tranship import Archive, Registry, Store, transfer
from tranship.testing.registry import RegistryServer

if TYPE_CHECKING:
    from collections.abc import Iterator
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
SLOW = (
    "shutil",
    "bz2",
    "lzma",
    "pathlib",
    "tempfile",
    "difflib",
    "concurrent.futures",
    "uuid",
    "random",
)  # some ms each
QUICK = {  # commands that look or name need none of those; what is written is, by a pathlib that files come with
    "ls": SLOW,
    "tag": (*SLOW, "tranship.engine.progress"),
    "export": tuple(name for name in SLOW if name != "pathlib"),
}
MOST = {  # modules, and those of them that are ours
    "version": (6, 3),
    "--help": (45, 10),
    "ls": (136, 60),
    "export": (176, 88),
    "import": (184, 90),
    "tag": (131, 54),  # five to call syncfs, since the store here was made by one that does not wait for the disk
    "push": (310, 120),
    "pull": (310, 120),
    "copy": (280, 95),
}
OF_HTTP = {"backports.zstd"}  # what a registry takes


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imports")
    transfer(in_memory(), Archive(folder / "in.tar", durability="process"))
    transfer(Archive(folder / "in.tar"), Store(root=folder / "store", durability="process"))
    return folder


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    """The host of a registry that holds an image."""
    with RegistryServer() as server:
        there = Registry(f"{server.host}/there:1", plain_http=True, credential=lambda *_: None, environment={})
        transfer(in_memory(), there)
        yield server.host


@pytest.mark.parametrize("command", MOST)
def test_a_command_imports_no_more_than_it_needs(command: str, stocked: Path, registry: str) -> None:
    words = {
        "tag": ["tag", NAME, "example.com/other:1"],
        "push": ["push", "--plain-http", NAME, f"{registry}/app:1"],
        "pull": ["pull", "--plain-http", f"{registry}/there:1"],
        "copy": ["copy", "--plain-http", f"docker://{registry}/there:1", f"docker://{registry}/mirror:1"],
        "export": ["export", NAME, "-o", str(stocked / "out.tar")],
        "import": ["import", str(stocked / "in.tar")],
    }.get(command, [command])
    root = [] if command in ("version", "--help") else ["--root", str(stocked / "store"), "--quiet"]
    found = modules(*words, *root)
    allowed = OF_HTTP if command in ("push", "pull", "copy") else set()
    assert [name for name in HEAVY if name in found and name not in allowed] == []
    assert [name for name in QUICK.get(command, ()) if name in found] == []
    assert len(found) <= MOST[command][0], sorted(found)
    assert sum(name.split(".")[0] == "tranship" for name in found) <= MOST[command][1]
