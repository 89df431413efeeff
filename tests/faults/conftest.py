"""What the tests of hostile sources share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.hostile import Untouched

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def untouched() -> list[Untouched]:
    return []


@pytest.fixture
def ends(
    untouched: list[Untouched], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Untouched]:
    """Destinations that must stay as they are; made anew only when a test has failed to leave them so."""
    if not untouched:
        untouched.append(Untouched(tmp_path_factory.mktemp("ends")))
    untouched[0].enter(monkeypatch)
    yield untouched[0]
    if not untouched[0].sound:
        untouched.clear()
