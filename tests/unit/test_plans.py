"""A plan writes nothing, and refuses what a transfer would refuse."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from torture.content import NAME, in_memory
from tranship import Archive, Layout, Limits, Store, plan, transfer
from tranship.engine.protocols import Blob
from tranship.engine.run import Run
from tranship.errors import AlreadyExists, InvalidArgument
from tranship.model.descriptor import Descriptor
from tranship.testing.memory import Memory, MemorySource


def test_a_plan_for_a_store_that_is_not_there_does_not_make_it(images: Callable[[str], Path], tmp_path: Path) -> None:
    todo = plan(Layout(images("small")), Store(root=tmp_path / "store"))
    assert todo.bytes_to_move == todo.bytes > 0
    assert os.listdir(tmp_path) == []


def test_a_plan_counts_what_a_store_has(images: Callable[[str], Path], tmp_path: Path) -> None:
    store = Store(root=tmp_path / "store")
    transfer(Layout(images("small")), store)
    todo = plan(Layout(images("small")), store)
    assert (todo.bytes_to_move, len(todo.present)) == (0, 3)


@pytest.mark.parametrize("namespace", ["default", "mistyped"])
def test_a_plan_leaves_the_database_of_a_store_as_it_is(
    namespace: str, images: Callable[[str], Path], tmp_path: Path
) -> None:
    def everything() -> list[str]:
        with contextlib.closing(sqlite3.connect(tmp_path / "store" / "state.db")) as connection:
            return list(connection.iterdump())

    transfer(Layout(images("multi")), Store(root=tmp_path / "store"))
    before = everything()
    todo = plan(Layout(images("multi")), Store(root=tmp_path / "store", namespace=namespace))
    assert (todo.bytes_to_move == 0) == (namespace == "default")
    assert everything() == before


@pytest.mark.parametrize("end", ["store", "layout"])
def test_names_that_are_taken_are_refused_by_a_plan_and_by_a_transfer(
    end: str, images: Callable[[str], Path], tmp_path: Path
) -> None:
    def made(name: str, *, clobber: bool = False) -> Store | Layout:
        if end == "store":
            return Store(name, root=tmp_path / "store", clobber=clobber)
        return Layout(tmp_path / "layout", name, clobber=clobber)

    transfer(Layout(images("small")), made("app:1"))
    transfer(Layout(images("small")), made("app:1"))  # the same image is no other
    transfer(Layout(images("zstd")), made("app:2"))
    for act in (plan, transfer):
        with pytest.raises(AlreadyExists, match=r"app:1 is in .* already"):
            act(Layout(images("zstd")), made("app:1"))
    transfer(Layout(images("zstd")), made("app:1", clobber=True))


def test_names_that_do_not_fit_are_refused_by_a_plan(images: Callable[[str], Path], tmp_path: Path) -> None:
    for end in (Layout(tmp_path / "layout", "one"), Store("one:1", root=tmp_path / "store")):
        with pytest.raises(InvalidArgument, match="the source has 10 images"):
            plan(Layout(images("many-10")), end)
    assert os.listdir(tmp_path) == []


def test_an_archive_of_a_plan_is_not_made(images: Callable[[str], Path], tmp_path: Path) -> None:
    assert plan(Layout(images("small")), Archive(tmp_path / "a.tar")).bytes > 0
    assert os.listdir(tmp_path) == []


def busy(act: Callable[[], object]) -> Memory:
    """An image; `act` happens while its layer is moved, which is after names were looked at."""
    given = in_memory(NAME, 1, [500])

    class Source(MemorySource):
        def blob(self, descriptor: Descriptor) -> Blob:
            if descriptor.kind == "layer":
                act()
            return super().blob(descriptor)

    class Busy(Memory):
        @contextlib.contextmanager
        def open_source(self, run: Run) -> Iterator[MemorySource]:
            del run
            yield Source(given)

    return Busy()


def test_a_name_that_is_taken_while_its_image_comes_does_not_move(tmp_path: Path) -> None:
    def take() -> None:
        transfer(in_memory(NAME, 2, [700]), Store(root=tmp_path / "store"), limits=Limits(jobs=1))

    with pytest.raises(AlreadyExists, match=f"{NAME} is in the store already") as caught:
        transfer(busy(take), Store(root=tmp_path / "store", clobber=False), limits=Limits(jobs=1))
    assert caught.value.side == "destination"
    with Store(root=tmp_path / "store").open() as store:
        there = store.namespace("default").images.get(NAME)
    assert there.target == in_memory(NAME, 2, [700]).names[NAME]


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_file_that_appears_while_an_archive_is_made_stays(
    compression: Any, links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "as FAT answers")

    if not links:
        monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "a.tar"
    end = Archive(path, compression=compression, clobber=False)
    with pytest.raises(AlreadyExists, match=r"a\.tar exists already"):
        transfer(busy(lambda: path.write_bytes(b"mine")), end)
    assert path.read_bytes() == b"mine"
    assert os.listdir(tmp_path) == ["a.tar"]
    path.unlink()
    transfer(in_memory(NAME, 1, [500]), end)
    assert os.listdir(tmp_path) == ["a.tar"]
    assert [root.name for root in transfer(Archive(path), Memory()).roots] == [NAME]
