"""Which images of a layout or an archive are meant: all that are images of their own, or those that a name picks."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from support import graphs
from support.images import tar_layout
from support.interop import ARCHITECTURE, manifest_of, names
from tranship import Archive, Layout, Platform, Selection, Store, transfer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(params=["layout", "archive"])
def listing_everything(
    request: pytest.FixtureRequest, images: Callable[[str], Path], tmp_path: Path
) -> tuple[Callable[..., Layout | Archive], str]:
    """An image of several platforms, whose manifests stand in the index too, without names: as oras writes it; and its digest."""
    folder = shutil.copytree(images("multi"), tmp_path / "everything")
    index = json.loads((folder / "index.json").read_bytes())
    (root,) = index["manifests"]
    index["manifests"] += json.loads(graphs.blob(folder, root["digest"]))["manifests"]
    (folder / "index.json").write_text(json.dumps(index), "utf-8")
    if request.param == "layout":
        return lambda *chosen: Layout(folder, chosen), root["digest"]
    tar_layout(folder, tmp_path / "everything.tar")
    return lambda *chosen: Archive(tmp_path / "everything.tar", chosen), root["digest"]


def test_nameless_manifests_beside_the_index_that_names_them_are_parts_of_its_image(
    listing_everything: tuple[Callable[..., Layout | Archive], str], tmp_path: Path
) -> None:
    end, root = listing_everything
    stored = transfer(end(), Store(root=tmp_path / "store"))
    assert [(image.name, image.descriptor.digest) for image in stored.roots] == [("localhost/multi:v1", root)]
    transfer(end(), Layout(tmp_path / "copy"))
    assert names(tmp_path / "copy") == {"localhost/multi:v1": root}
    host = Selection(platforms=(Platform.parse(f"linux/{ARCHITECTURE}"),))
    assert [
        image.descriptor.digest for image in transfer(end(), Store(root=tmp_path / "host"), selection=host).roots
    ] == [root]


def test_a_digest_picks_a_manifest_beside_its_index(
    listing_everything: tuple[Callable[..., Layout | Archive], str], images: Callable[[str], Path], tmp_path: Path
) -> None:
    end, root = listing_everything
    manifest = manifest_of(images("multi"), root)
    transfer(end(manifest), Layout(tmp_path / "copy"))
    assert graphs.images(tmp_path / "copy") == {manifest: graphs.closure(images("multi"), manifest)}


def test_nameless_manifests_that_no_index_names_are_images(images: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(images("many-3"), tmp_path / "nameless")
    index = json.loads((folder / "index.json").read_bytes())
    for entry in index["manifests"][1:]:
        del entry["annotations"]
    (folder / "index.json").write_text(json.dumps(index), "utf-8")
    transfer(Layout(folder), Layout(tmp_path / "copy"))
    assert graphs.images(tmp_path / "copy") == graphs.images(images("many-3"))


def test_a_nameless_manifest_whose_subject_is_there_is_its_referrer(
    images: Callable[[str], Path], tmp_path: Path
) -> None:
    subject, referrer = (entry["digest"] for entry in graphs.index(images("artifact")))
    stored = transfer(Layout(images("artifact")), Store(root=tmp_path / "store"))
    found = [(image.name, image.descriptor.digest, image.subject) for image in stored.roots]
    assert found == [("localhost/artifact:v1", subject, None), (None, referrer, subject)]
    transfer(Store(root=tmp_path / "store"), Layout(tmp_path / "without"))
    assert graphs.images(tmp_path / "without").keys() == {subject}
    transfer(Store(root=tmp_path / "store"), Layout(tmp_path / "with"), selection=Selection(referrers=""))
    assert graphs.images(tmp_path / "with") == graphs.images(images("artifact"))


def test_a_nameless_manifest_whose_subject_is_absent_is_an_image(images: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(images("artifact"), tmp_path / "alone")
    index = json.loads((folder / "index.json").read_bytes())
    del index["manifests"][0]
    (folder / "index.json").write_text(json.dumps(index), "utf-8")
    (image,) = transfer(Layout(folder), Store(root=tmp_path / "store")).roots
    assert image.name is not None
    assert image.name.endswith(f"@{index['manifests'][0]['digest']}")
