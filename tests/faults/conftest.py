"""What the tests of hostile sources and of bad registries share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.disks import Impossible
from support.hostile import Untouched
from support.registry_runs import make_impatient

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """A test that needs what is not to be had here (root, a kernel's ability) is skipped with its reason."""
    try:
        return (yield)
    except Impossible as reason:
        pytest.skip(str(reason))


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


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions with registries that wait no longer than they are told to, and hardly between attempts."""
    make_impatient(monkeypatch)
