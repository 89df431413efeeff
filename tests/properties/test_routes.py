"""Routes change the cost of a transfer, never its content."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tranship.engine.moving as engine
from tranship import Archive, Layout, Store, transfer
from tranship.engine.routes import ROUTES
from tranship.testing.conformance import check_endpoint
from tranship.testing.graphs import random_images
from tranship.testing.memory import Memory

ENDS = {
    "layout": lambda folder: Layout(folder / "layout"),
    "store": lambda folder: Store(root=folder / "store", durability="process"),
    "archive": lambda folder: Archive(folder / "a.tar", durability="process"),
}


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    routes=st.sets(st.sampled_from(ROUTES[:-1])).map(lambda chosen: tuple(r for r in ROUTES if r in chosen)),
    ends=st.lists(st.sampled_from(sorted(ENDS)), min_size=1, max_size=3),
    verification=st.sampled_from(["parallel", "trusted", "strict"]),
)
def test_any_subset_of_routes_moves_the_same_content(
    seed: int, routes: Any, ends: list[str], verification: Any
) -> None:
    original, back = random_images(random.Random(seed)), Memory()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "ROUTES", (*routes, ROUTES[-1]))
        last: Any = original
        for number, name in enumerate(ends):
            (place := Path(folder, str(number))).mkdir()
            transfer(last, following := ENDS[name](place), verification=verification)
            last = following
        transfer(last, back, verification=verification)
    assert back.blobs == original.blobs
    assert {name: d.digest for name, d in back.names.items()} == {n: d.digest for n, d in original.names.items()}


@pytest.mark.parametrize("name", sorted(ENDS))
def test_each_end_conforms(name: str, tmp_path: Path) -> None:
    fresh = iter(range(1000))

    def make() -> Any:
        (place := tmp_path / str(next(fresh))).mkdir()
        return ENDS[name](place)

    check_endpoint(make)
