"""Our side of the tests with peers: stores that hold the images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tranship import Archive, Layout, Store, transfer

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


@pytest.fixture(scope="session")
def archives(images: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """archives("small") is an archive of this kind of image, as every peer reads it."""
    folder = tmp_path_factory.mktemp("archives")

    def get(kind: str) -> Path:
        if not (folder / kind).exists():
            transfer(Layout(images(kind)), Archive(folder / kind))
        return folder / kind

    return get
