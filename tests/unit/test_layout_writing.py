"""A layout that has been written is on the disk, down to its own name, and all in one directory."""

from __future__ import annotations

import contextlib
import os
import random
import stat
from typing import TYPE_CHECKING, Any

import pytest

from support import graphs
from tranship import Layout, Limits, Store, plan, transfer
from tranship.testing.graphs import random_images
from tranship.testing.memory import Memory, MemorySource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tranship.model.descriptor import Descriptor


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The inodes that were brought to the disk."""
    found: set[int] = set()
    fsync = os.fsync

    def noted(fd: int) -> None:
        found.add(os.fstat(fd).st_ino)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    return found


def images() -> Memory:
    return random_images(random.Random(3))


def unsynced(folder: Path, synced: set[int]) -> list[str]:
    everything = [folder, *folder.rglob("*")]
    return [str(path) for path in everything if path.stat().st_ino not in synced]


def test_the_name_of_a_new_layout_reaches_the_disk(synced: set[int], tmp_path: Path) -> None:
    transfer(images(), Layout(tmp_path / "a" / "b" / "layout"))
    assert unsynced(tmp_path, synced) == []


def test_nothing_waits_for_the_disk_where_that_is_not_wanted(synced: set[int], tmp_path: Path) -> None:
    transfer(images(), Layout(tmp_path / "a" / "layout", durability="process"))
    assert synced == set()


def test_a_relative_path_may_be_of_one_name(synced: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    transfer(images(), Layout("layout"))
    transfer(images(), Layout("./a/../a/layout/"))
    assert unsynced(tmp_path, synced) == []


def test_linked_blobs_of_a_store_that_does_not_wait_reach_the_disk(synced: set[int], tmp_path: Path) -> None:
    store = Store(root=tmp_path / "store", durability="process")
    transfer(images(), store)
    assert synced == set()
    transfer(store, Layout(tmp_path / "layout", link=True))
    assert unsynced(tmp_path / "layout", synced) == []
    blobs = [path.stat() for path in (tmp_path / "layout" / "blobs").rglob("*") if path.is_file()]
    assert {blob.st_nlink for blob in blobs if stat.S_ISREG(blob.st_mode)} >= {2}, "none was linked"


@pytest.mark.parametrize("verification", ["parallel", "trusted"])
def test_blobs_that_were_there_before_reach_the_disk(synced: set[int], tmp_path: Path, verification: Any) -> None:
    transfer(images(), Layout(tmp_path / "layout", durability="process"))
    assert synced == set()
    plan(images(), Layout(tmp_path / "layout"))
    assert synced == set()
    transfer(images(), Layout(tmp_path / "layout"), verification=verification)
    blobs = {str(path) for path in (tmp_path / "layout" / "blobs").rglob("*")}
    assert blobs & set(unsynced(tmp_path / "layout", synced)) == set()


def test_a_layout_that_is_moved_while_it_is_written_is_whole_where_it_is(tmp_path: Path) -> None:
    path, moved = tmp_path / "layout", tmp_path / "moved"

    class Moving(Memory):
        kind = "memory"

        @contextlib.contextmanager
        def open_source(self, run: Any) -> Iterator[MemorySource]:
            class Source(MemorySource):
                def blob(self, descriptor: Descriptor) -> Any:
                    if path.exists() and not moved.exists():
                        path.rename(moved)
                        path.mkdir()
                    return super().blob(descriptor)

            yield Source(self)

    found = images()
    transfer(Moving(found.blobs, found.names), Layout(path), limits=Limits(jobs=1))
    assert list(path.iterdir()) == []
    assert len(graphs.images(moved)) == len(found.names)
