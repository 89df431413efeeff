"""Looking at an image costs no more than moving it may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.hostile import Bundle
from tranship import Layout
from tranship.cli import images
from tranship.engine import graph
from tranship.engine.run import Run

if TYPE_CHECKING:
    from pathlib import Path

    from support.commands import Commands


def large_index(folder: Path) -> Path:
    """A layout of one index of thirty manifests, of 100 kB together."""
    bundle = Bundle()
    manifests = [bundle.image(annotations={"x": f"{n:02}" * 1500}) for n in range(30)]
    return bundle.root(bundle.index(manifests)).write(folder)


@pytest.mark.parametrize("words", [["inspect"], ["inspect", "--tree"], ["ls"], ["check"], ["verify"]], ids=" ".join)
def test_documents_are_limited_together(tranship: Commands, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setattr(graph, "MAX_READ", 90_000)
    large_index(tranship.root.parent / "here" / "many")
    ran = tranship.failing(*words, "oci:many")
    assert (ran.code, "more than 90000 bytes" in ran.err) == (2, True), ran


def test_objects_are_limited_together(tranship: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "MAX_DESCRIPTORS", 50)
    large_index(tranship.root.parent / "here" / "many")
    ran = tranship.failing("inspect", "oci:many")
    assert (ran.code, "more than 50 objects" in ran.err) == (2, True), ran


def test_documents_are_not_kept_as_bytes(tmp_path: Path) -> None:
    with Layout(large_index(tmp_path / "many")).open_source(Run()) as source:
        (root,) = source.roots()
        nodes = images.graph(source, root).manifests
    assert len(nodes) == 30
    assert not any(node.document.raw for node in nodes if node.document is not None)
