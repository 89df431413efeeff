"""What a referrer is, by OCI's rule: its artifactType, else the type of its config. Every source must choose by the same."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tranship import Archive, Layout, Registry, Selection, Store, transfer
from tranship.testing.memory import Memory
from tranship.testing.registry import RegistryServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KIND = "application/vnd.example.sbom.config.v1+json"
EVERYTHING = Selection(referrers="")
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def put(layout: Path, raw: bytes, media_type: str) -> dict[str, Any]:
    digits = hashlib.sha256(raw).hexdigest()
    (layout / "blobs" / "sha256" / digits).write_bytes(raw)
    return {"mediaType": media_type, "digest": f"sha256:{digits}", "size": len(raw)}


@pytest.fixture(params=["manifest", "index"])
def signed(request: pytest.FixtureRequest, images: Callable[[str], Path], tmp_path: Path) -> Layout:
    """An image, and what refers to it: a manifest without an artifactType, or an index with one, which has no config."""
    folder = tmp_path / "signed"
    shutil.copytree(images("small"), folder)
    index = json.loads((folder / "index.json").read_bytes())
    subject = {key: index["manifests"][0][key] for key in ("mediaType", "digest", "size")}
    value: dict[str, Any] = {"schemaVersion": 2, "subject": subject}
    if request.param == "manifest":
        value |= {"mediaType": OCI_MANIFEST, "config": put(folder, b"{}", KIND), "layers": []}
    else:
        value |= {"mediaType": OCI_INDEX, "artifactType": KIND, "manifests": [subject]}
    index["manifests"].append(put(folder, json.dumps(value).encode(), value["mediaType"]))
    (folder / "index.json").write_text(json.dumps(index))
    return Layout(folder, "v1")


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as running:
        yield running


def at(server: RegistryServer) -> Registry:
    return Registry(f"{server.host}/app:1", plain_http=True, environment={}, credential=lambda _host, _repository: None)


@pytest.fixture
def old_server() -> Iterator[RegistryServer]:
    """One whose list of referrers its clients keep."""
    with RegistryServer(referrers=False) as running:
        yield running


@pytest.mark.parametrize("end", ["layout", "archive", "store", "registry", "old registry"])
def test_a_referrer_is_chosen_by_its_type_or_else_by_that_of_its_config(
    end: str, signed: Layout, server: RegistryServer, old_server: RegistryServer, tmp_path: Path
) -> None:
    ends: dict[str, Any] = {
        "layout": signed,
        "archive": Archive(tmp_path / "a.tar", "v1"),
        "store": Store(root=tmp_path / "store"),
        "registry": at(server),
        "old registry": at(old_server),
    }
    if end != "layout":
        transfer(signed, ends[end], selection=EVERYTHING)
    for kind, number in ((KIND, 1), ("application/vnd.example.other", 0)):
        found = transfer(ends[end], Memory(), selection=Selection(referrers=kind)).roots
        assert sum(root.subject is not None for root in found) == number
