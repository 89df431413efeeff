"""A folder of its own for each test, as people have them: a tree, archives, a layout, and a store with some images."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from support.commands import Commands
from tranship import Digest, Layout, Registry, transfer
from tranship.model.mediatypes import OCI_INDEX, OCI_MANIFEST
from tranship.testing.registry import RegistryServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def scrub(patch: pytest.MonkeyPatch) -> None:
    """Let nothing of whoever runs the tests show."""
    for name in os.environ:
        if name.startswith(("TRANSHIP_", "XDG_", "DOCKER_", "REGISTRY_", "SSL_")) or name.lower().endswith("_proxy"):
            patch.delenv(name)
    for name in ("SOURCE_DATE_EPOCH", "NO_COLOR", "TERM"):
        patch.delenv(name, raising=False)
    patch.setenv("LC_ALL", "C.UTF-8")


@pytest.fixture
def tranship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Runs commands in an empty folder, with a store that is not there yet."""
    scrub(monkeypatch)
    monkeypatch.setenv("TRANSHIP_ROOT", str(tmp_path / "store"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Commands(tmp_path / "store")


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory, images: Callable[[str], Path]) -> Path:
    """What `stocked` copies: made once."""
    top = tmp_path_factory.mktemp("furnished")
    here = top / "here"
    site = here / "site"
    (site / ".git").mkdir(parents=True)
    (site / ".git" / "config").write_text("[core]\n")
    (site / "index.html").write_text("<h1>hello</h1>\n")
    (site / "run.sh").write_text("#!/bin/sh\necho hello\n")
    (site / "run.sh").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        scrub(patch)
        patch.setenv("TRANSHIP_ROOT", str(top / "store"))
        patch.chdir(here)
        tranship = Commands(top / "store")
        tranship("copy", f"oci:{images('multi')}:v1", "oci:layout:1.0")
        tranship("copy", "oci:layout:1.0", "store:app:1")
        tranship("copy", f"oci:{images('small')}:v1", "store:app:new")
        tranship("tag", "app:new", "old:1", "models:1")
        tranship("export", "app:1", "-o", "app.tar")
        shutil.make_archive("rootfs", "tar", "site")
    return top


@pytest.fixture
def stocked(furnished: Path, tranship: Commands, tmp_path: Path) -> Commands:
    """Runs commands in a folder with a tree `site`, `rootfs.tar`, `app.tar`, a layout `layout`, and a store of four images."""
    shutil.copytree(furnished / "here", tmp_path / "here", dirs_exist_ok=True)
    shutil.copytree(furnished / "store", tmp_path / "store")
    return tranship


@pytest.fixture
def registry(images: Callable[[str], Path]) -> Iterator[RegistryServer]:
    """A registry with team/app:1 for three platforms, which has an SBOM, and team/app:old."""
    with RegistryServer() as server:
        stock(server, images)
        yield server


def stock(server: RegistryServer, images: Callable[[str], Path], **options: object) -> None:
    for kind, tag in (("multi", "1"), ("small", "old")):
        transfer(Layout(images(kind), "v1"), Registry(f"{server.host}/team/app:{tag}", environment={}, **options))
    subject = server.content("team/app", "1")
    put_sbom(server, Digest.of(subject), len(subject))


def put_sbom(server: RegistryServer, subject: str, size: int, media_type: str = OCI_INDEX) -> str:
    """Let something refer to a document of the repository team/app."""
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": server.put_blob("team/app", b"{}"), "size": 2}
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.example.sbom",
        "config": empty,
        "layers": [empty],
        "subject": {"mediaType": media_type, "digest": subject, "size": size},
    }
    return server.put_manifest("team/app", json.dumps(value).encode(), OCI_MANIFEST)
