"""The command line where Linux's calls are missing, as on macOS."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import elsewhere
from tranship import files
from tranship.testing.registry import RegistryServer

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def there(tmp_path: Path) -> Callable[..., str]:
    """there("ls") runs a command where Linux's calls are missing, demands that it ends well, and gives what it printed."""
    environment = os.environ | {
        "PYTHONPATH": str(Path(elsewhere.__file__).parents[1]),
        "TRANSHIP_ROOT": str(tmp_path / "root"),
    }

    def run(*words: object) -> str:
        command = [sys.executable, elsewhere.__file__, *map(str, words)]
        ran = subprocess.run(command, capture_output=True, env=environment, text=True, check=False)
        assert not ran.returncode, (words, ran.stderr)
        return ran.stdout

    return run


@pytest.fixture
def packed(there: Callable[..., str], tmp_path: Path) -> Path:
    """A folder that is the image app:1 in the store there."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}").write_bytes(os.urandom(100_000))
    there("pack", folder, "app:1")
    return folder


def digest(there: Callable[..., str], name: str, *options: object) -> str:
    return there("digest", "-q", *options, name).strip()


@pytest.mark.usefixtures("packed")
def test_an_image_goes_from_store_to_archive_to_store_to_layout(there: Callable[..., str], tmp_path: Path) -> None:
    archive, other = tmp_path / "a.tar.gz", tmp_path / "other"
    there("export", "app:1", "-o", archive)
    there("import", "--root", other, archive)
    there("copy", "--src-root", other, "store:app:1", f"oci:{tmp_path / 'layout'}:1")
    there("verify", "--root", other)
    there("fsck", "--deep", "--root", other)
    found = json.loads((tmp_path / "layout/index.json").read_bytes())["manifests"][0]["digest"]
    assert found == digest(there, "app:1", "--root", other) == digest(there, "app:1")


@pytest.mark.usefixtures("packed")
def test_an_image_goes_to_a_registry_and_comes_back(there: Callable[..., str], tmp_path: Path) -> None:
    with RegistryServer() as registry:
        name = f"{registry.host}/app:1"
        there("push", "--plain-http", "app:1", name)
        there("pull", "--plain-http", name, "--root", tmp_path / "other")
        assert digest(there, name, "--root", tmp_path / "other") == digest(there, "app:1")


@pytest.mark.usefixtures("packed")
def test_what_nothing_needs_is_collected(there: Callable[..., str]) -> None:
    there("tag", "app:1", "app:2")
    there("rmi", "app:1", "app:2")
    assert not there("ls", "-q")
    assert json.loads(there("gc", "--json"))["blobs"] == 0  # rmi has done it


def test_a_file_goes_to_the_disk_by_the_call_that_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda _fd, command: asked.append(command))
    monkeypatch.setattr(os, "fsync", lambda _fd: pytest.fail("the drive's cache is not the disk"))
    files.write_file(str(tmp_path / "file"), b"content")
    assert asked == [51, 51]  # the file, and its name in the folder
