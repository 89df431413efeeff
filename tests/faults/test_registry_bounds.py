"""Registries that send without end: what a client keeps of it in memory, in a process that may not have much."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from support.children import ran
from support.registry_runs import ALICE, NEW, OLD, REPOSITORY, auth, content
from tranship import Layout, Store, transfer
from tranship.testing.registry import RegistryServer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the limits and the measure are Linux's"),
    pytest.mark.timeout(60),
]

ADDRESS_SPACE = 512 << 20  # bytes; what is sent is more, or would be if it were read
MEMORY = 96  # MiB

# fault, parameters, how it asks for credentials, the error
PULLS: tuple[tuple[str, dict[str, Any], str, str | None], ...] = (
    ("endless", {"limit": 1 << 40, "times": None}, "basic", None),
    ("huge-manifest", {"size": 1 << 40, "times": None}, "basic", "DataLoss"),
    ("gzip", {"bomb": 1 << 40, "kind": "manifest.get"}, "basic", "DataLoss"),
    ("gzip", {"bomb": 1 << 40, "kind": "blob.get"}, "basic", None),
    ("error-body", {"form": "huge", "kind": "blob.get"}, "basic", "FailedPrecondition"),
    ("token", {"form": "huge-body"}, "token", "Unavailable"),
    ("challenge", {"form": "many"}, "token", "Unavailable"),
    ("header-flood", {"times": None}, "basic", "Unavailable"),
    ("long-header", {"size": 32 << 20, "times": None}, "basic", "Unavailable"),
    ("endless-continue", {"count": 1 << 40, "times": None}, "basic", "Unavailable"),
)
PUSHES: tuple[tuple[str, dict[str, Any], str, str | None], ...] = (
    ("error-body", {"form": "huge", "kind": "manifest.put"}, "basic", "FailedPrecondition"),
    # The blob is taken, and that is found out.
    ("long-header", {"size": 32 << 20, "kind": "upload.finish", "times": None}, "basic", None),
    ("endless-continue", {"count": 1 << 40, "kind": "upload.finish", "times": None}, "basic", None),
)


def end(server: RegistryServer) -> tuple[str, dict[str, Any]]:
    names = f"{server.host}/{REPOSITORY}:1"
    given = {"environment": {}, "hosts_dir": "/nonexistent", "plain_http": True, "credential": ALICE}
    return "registry", {"names": names, **given}


@pytest.mark.parametrize(("fault", "parameters", "kind", "error"), PULLS, ids=str)
def test_a_pull_keeps_little_of_what_comes(
    fault: str, parameters: dict[str, Any], kind: str, error: str | None, tmp_path: Path
) -> None:
    with RegistryServer(auth=auth(kind, ALICE)) as server:
        NEW.put(server)
        server.fault(fault, **parameters)
        said = ran(
            end(server),
            ("store", {"root": str(tmp_path / "store")}),
            address_space=ADDRESS_SPACE,
            limits={"retries": 1},
        )
    assert said.get("error") == error, said
    assert said["peak"] < MEMORY
    found, names = content(Store(root=tmp_path / "store"))
    assert bool(names) == (error is None)
    assert error or found == NEW.everything


@pytest.mark.parametrize(("fault", "parameters", "kind", "error"), PUSHES, ids=str)
def test_a_push_keeps_little_of_what_comes(
    fault: str, parameters: dict[str, Any], kind: str, error: str | None, tmp_path: Path
) -> None:
    transfer(NEW.memory(), Layout(tmp_path / "layout"))
    with RegistryServer(auth=auth(kind, ALICE)) as server:
        OLD.put(server)
        server.fault(fault, **parameters)
        said = ran(
            ("layout", {"path": str(tmp_path / "layout")}),
            end(server),
            address_space=ADDRESS_SPACE,
            limits={"retries": 1},
        )
    assert said.get("error") == error, said
    assert said["peak"] < MEMORY
