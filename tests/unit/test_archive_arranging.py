"""What an archive says to docker of the images in it."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from support import graphs
from support.interop import names
from tranship import Archive, Layout, transfer
from tranship.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def attested(images: Callable[[str], Path], tmp_path: Path) -> Layout:
    """An attestation alone, in a layout."""
    (root,) = names(images("multi")).values()
    children = json.loads(graphs.blob(images("multi"), root))["manifests"]
    (digest,) = (child["digest"] for child in children if child["platform"]["os"] == "unknown")
    transfer(Layout(images("multi")), Layout(tmp_path / "all"))
    index = json.loads((tmp_path / "all/index.json").read_bytes())
    index["manifests"] = [{key: child[key] for key in ("mediaType", "digest", "size")} for child in children]
    (tmp_path / "all/index.json").write_text(json.dumps(index), "utf-8")
    return Layout(tmp_path / "all", digest)


def test_docker_is_not_told_of_an_attestation(attested: Layout, tmp_path: Path) -> None:
    transfer(attested, Archive(tmp_path / "a.tar"))
    with tarfile.open(tmp_path / "a.tar") as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        with manifest:
            assert json.load(manifest) == []
    with pytest.raises(InvalidArgument, match="is no image that docker can load"):
        transfer(attested, Archive(tmp_path / "docker.tar", format="docker"))
