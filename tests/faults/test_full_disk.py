"""Transfers onto a disk that is too small, at every size: no space is said, nothing half-made stays, and more room helps."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from support.disks import mounted, tool
from support.hostile import Bundle, assert_readable
from tranship import Archive, Layout, Store, transfer
from tranship.errors import NoSpace
from tranship.testing.memory import Memory

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root

ENDS = {
    "archive": lambda folder: Archive(folder / "there"),
    "gzip": lambda folder: Archive(folder / "there", compression="gzip"),
    "layout": lambda folder: Layout(folder / "there"),
    "store": lambda folder: Store(root=folder / "there"),
}


@pytest.fixture
def source(tmp_path: Path) -> Any:
    """An image of 2.2 MB that does not compress."""
    bundle = Bundle()
    sizes = [1_200_000, *[100_000] * 8, *[5_000] * 40]
    layers = [bundle.put(os.urandom(size), "application/vnd.oci.image.layer.v1.tar") for size in sizes]
    return Layout(bundle.root(bundle.image(layers=layers), "localhost/big:1").write(tmp_path / "source"))


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("limit", ["bytes", "inodes"])
def test_a_disk_that_is_too_small_is_said_as_such(kind: str, limit: str, source: Any, tmp_path: Path) -> None:
    refused = 0
    for step in (1, 2, 4, 7, 11):
        option = f"size={step * 190}k" if limit == "bytes" else f"size=20m,nr_inodes={step * 3}"
        with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", option, "none") as disk:
            try:
                transfer(source, ENDS[kind](disk))
            except NoSpace as error:
                refused += 1
                assert_readable(error)  # a small one may be large enough for some
                assert error.exit_code == 11  # noqa: PT017  # a small one may be large enough for some
                assert kind in ("layout", "store") or os.listdir(disk) == []
            tool("mount", "-o", "remount,size=20m,nr_inodes=10000", disk)
            transfer(source, ENDS[kind](disk))
            back = Memory()
            transfer(ENDS[kind](disk), back)
            assert list(back.names) == ["localhost/big:1"]
            assert len(back.blobs) == 51
    assert refused > 2 or (limit == "inodes" and kind in ("archive", "gzip"))


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_full_destination_is_not_taken_for_full_scratch(compression: Any, source: Any, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=400k", "none") as disk:
        out = Archive(disk / "there", format="docker", recompress=True, compression=compression)
        with pytest.raises(NoSpace) as caught:
            transfer(source, out)
        assert caught.value.path == str(disk / "there")
        assert os.listdir(disk) == []


def test_a_disk_that_is_too_small_for_what_comes_through_a_pipe_is_said_as_such(source: Any, tmp_path: Path) -> None:
    transfer(source, Archive(tmp_path / "a.tar"))
    for step in (2, 5, 8):
        with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", f"size={step * 300}k", "none") as disk:
            with open(tmp_path / "a.tar", "rb") as file, pytest.raises(NoSpace):
                transfer(Archive(OnlyReads(file)), Store(root=disk / "there"))
            tool("mount", "-o", "remount,size=20m", disk)
            with open(tmp_path / "a.tar", "rb") as file:
                transfer(Archive(OnlyReads(file)), Store(root=disk / "there"))
            with Store(root=disk / "there").open() as store:
                assert store.fsck(deep=True).ok


class OnlyReads:
    """A file that is no file to those who ask."""

    def __init__(self, file: Any) -> None:
        self.read = file.read
