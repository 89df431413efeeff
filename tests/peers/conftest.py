"""Our side of the tests with peers: stores that hold the images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tranship import Layout, Store, transfer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def stores(images: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Store]:
    """stores("small") is a store that holds this kind of image."""
    folder = tmp_path_factory.mktemp("stores")

    def get(kind: str) -> Store:
        if not (folder / kind).exists():
            transfer(Layout(images(kind)), Store(root=folder / kind))
        return Store(root=folder / kind)

    return get
