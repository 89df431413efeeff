"""A plan writes nothing, and refuses what a transfer would refuse."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tranship import Archive, Layout, Store, plan, transfer
from tranship.errors import AlreadyExists, InvalidArgument


def test_a_plan_for_a_store_that_is_not_there_does_not_make_it(images: Callable[[str], Path], tmp_path: Path) -> None:
    todo = plan(Layout(images("small")), Store(root=tmp_path / "store"))
    assert todo.bytes_to_move == todo.bytes > 0
    assert os.listdir(tmp_path) == []


def test_a_plan_counts_what_a_store_has(images: Callable[[str], Path], tmp_path: Path) -> None:
    store = Store(root=tmp_path / "store")
    transfer(Layout(images("small")), store)
    todo = plan(Layout(images("small")), store)
    assert (todo.bytes_to_move, len(todo.present)) == (0, 3)


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
