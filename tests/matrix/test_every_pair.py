"""Every readable end × every writable one: what arrives is what was there, digest by digest, under the same names."""

from __future__ import annotations

import io
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from support import graphs
from tranship import Archive, Layout, Store, Summary, transfer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Each end: how to make one in a folder, and how to open what was written there for reading.
Made = tuple[Any, Any]  # (to write to, to read from)


def layout(folder: Path) -> Made:
    return (Layout(folder / "layout"), Layout(folder / "layout"))


def store(folder: Path) -> Made:
    return (Store(root=folder / "store"), Store(root=folder / "store"))


def archive(folder: Path) -> Made:
    return (Archive(folder / "a.tar"), Archive(folder / "a.tar"))


def gzip(folder: Path) -> Made:
    return (Archive(folder / "a.tar.gz", compression="gzip"), Archive(folder / "a.tar.gz"))


def zstd(folder: Path) -> Made:
    return (Archive(folder / "a.tar.zst", compression="zstd"), Archive(folder / "a.tar.zst"))


def memory(folder: Path) -> Made:
    buffer = io.BytesIO()

    class Rewound:
        kind = "archive"

        def open_source(self, run: Any) -> Any:
            buffer.seek(0)
            return Archive(buffer).open_source(run)

    return (Archive(buffer), Rewound())


ENDS: dict[str, Callable[[Path], Made]] = {f.__name__: f for f in (layout, store, archive, gzip, zstd, memory)}
KINDS = ["small", "multi", "docker", "zstd", "raw", "sha512", "many-10", "large"]


def names_and_digests(summary: Summary) -> list[tuple[str | None, str]]:
    return sorted((root.name, root.descriptor.digest) for root in summary.roots)


@pytest.fixture(params=ENDS)
def readable(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    (tmp_path / "from").mkdir()
    return ENDS[request.param](tmp_path / "from")


@pytest.fixture(params=ENDS)
def writable(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    (tmp_path / "to").mkdir()
    return ENDS[request.param](tmp_path / "to")


@pytest.mark.parametrize("kind", ["multi", "many-10"])
def test_every_pair_moves_the_same_content_under_the_same_names(
    kind: str, readable: Made, writable: Made, images: Callable[[str], Path], tmp_path: Path
) -> None:
    original = images(kind)
    first = transfer(Layout(original), readable[0])
    second = transfer(readable[1], writable[0])
    last = transfer(writable[1], Layout(tmp_path / "last"))
    assert names_and_digests(first) == names_and_digests(second) == names_and_digests(last)
    assert graphs.images(tmp_path / "last") == graphs.images(original)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_goes_through_store_and_archive_unchanged(
    kind: str, images: Callable[[str], Path], tmp_path: Path
) -> None:
    original = images(kind)
    transfer(Layout(original), Store(root=tmp_path / "one"))
    transfer(Store(root=tmp_path / "one"), Archive(tmp_path / "a.tar"))
    transfer(Archive(tmp_path / "a.tar"), Store(root=tmp_path / "two"))
    transfer(Store(root=tmp_path / "two"), Layout(tmp_path / "last"))
    assert graphs.images(tmp_path / "last") == graphs.images(original)


@pytest.mark.parametrize("writer", ["layout", "store", "archive"])
def test_an_archive_on_a_pipe_goes_into_every_end(writer: str, images: Callable[[str], Path], tmp_path: Path) -> None:
    original = images("multi")
    transfer(Layout(original), Store(root=tmp_path / "one"))
    out, into = os.pipe()

    def export() -> None:
        with open(into, "wb", buffering=0) as pipe:
            transfer(Store(root=tmp_path / "one"), Archive(pipe))

    thread = threading.Thread(target=export)
    thread.start()
    destination, again = ENDS[writer](tmp_path)
    with open(out, "rb", buffering=0) as pipe:
        transfer(Archive(pipe), destination)
    thread.join()
    transfer(again, Layout(tmp_path / "last"))
    assert graphs.images(tmp_path / "last") == graphs.images(original)


def test_the_same_images_give_the_same_archive_byte_for_byte(images: Callable[[str], Path], tmp_path: Path) -> None:
    transfer(Layout(images("multi")), Store(root=tmp_path / "one"))
    transfer(Layout(images("large")), Store(root=tmp_path / "one"))
    transfer(Layout(images("large")), Store(root=tmp_path / "two"))
    transfer(Layout(images("multi")), Store(root=tmp_path / "two"))
    buffer = io.BytesIO()
    transfer(Store(root=tmp_path / "one"), Archive(tmp_path / "one.tar"))
    transfer(Store(root=tmp_path / "two"), Archive(tmp_path / "two.tar"))
    transfer(Store(root=tmp_path / "two"), Archive(buffer))
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes() == buffer.getvalue()
