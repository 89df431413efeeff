"""The embedded store does what a store must do."""

from pathlib import Path

import pytest

from tranship.store import Store
from tranship.testing import store_suite


@pytest.mark.parametrize("check", store_suite.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("durability", ["full", "process"])
def test_the_store_behaves_as_containerd_does(tmp_path: Path, check: store_suite.Check, durability: str) -> None:
    with Store.open(tmp_path / "store", durability=durability) as store:
        check(store)
        assert store.fsck(deep=True).ok
