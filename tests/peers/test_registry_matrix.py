"""Registries with every other end, and other programs on the far side: what they write we take and bring back, and they read the same digests.

a program ──> a registry ──> us, into an end ──> us, out of it, into the registry again ──> the program
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from support.images import blobs
from support.raw_http import OCI_INDEX, OCI_MANIFEST, Client
from tranship import Archive, Layout, Registry, Store, transfer
from tranship.model.mediatypes import DOCKER_INDEX, DOCKER_MANIFEST
from tranship.testing.registry import RegistryServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.peers import Peers

ACCEPT = f"{OCI_INDEX}, {OCI_MANIFEST}, {DOCKER_INDEX}, {DOCKER_MANIFEST}"


@pytest.fixture(params=["docker-registry", "ours"])
def host(request: pytest.FixtureRequest) -> Any:
    if request.param == "docker-registry":
        yield request.getfixturevalue("docker_registry").host
    else:
        with RegistryServer() as server:
            yield server.host


def write(program: str, peers: Peers, layout: Path, reference: str) -> None:
    """Let a program push the one image of a layout."""
    several = "manifests" in json.loads(blobs(layout)[root(layout)].read_bytes())
    words: dict[str, list[str | Path]] = {
        "skopeo": [
            *("copy", "--all", "--preserve-digests", "--dest-tls-verify=false"),
            *(f"oci:{layout}:v1", f"docker://{reference}"),
        ],
        "crane": ["push", "--insecure", *(["--index"] if several else []), layout, reference],
        "oras": ["cp", "--from-oci-layout", "--to-plain-http", f"{layout}:v1", reference],
    }
    peers.run(program, *words[program])


def read(program: str, peers: Peers, reference: str, into: Path) -> None:
    """Let it pull an image into a layout."""
    words: dict[str, list[str | Path]] = {
        "skopeo": [
            *("copy", "--all", "--preserve-digests", "--src-tls-verify=false"),
            *(f"docker://{reference}", f"oci:{into}:v1"),
        ],
        "crane": ["pull", "--insecure", "--format=oci", reference, into],
        "oras": ["cp", "--to-oci-layout", "--from-plain-http", reference, f"{into}:v1"],
    }
    peers.run(program, *words[program])


def root(layout: Path) -> str:
    return str(json.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"])


def there(host: str, repository: str) -> str:
    """The digest that a registry gives for the tag v1."""
    with Client(int(host.rpartition(":")[2])) as client:
        answer = client.ask("GET", f"/v2/{repository}/manifests/v1", headers={"Accept": ACCEPT})
    return f"sha256:{hashlib.sha256(answer.body).hexdigest()}"


def directly(source: Any, destination: Any, _folder: Path) -> None:
    transfer(source, destination)


def by_pipe(source: Any, destination: Any, _folder: Path) -> None:
    out, into = os.pipe()

    def export() -> None:
        with open(into, "wb", buffering=0) as pipe:
            transfer(source, Archive(pipe))

    thread = threading.Thread(target=export)
    thread.start()
    with open(out, "rb", buffering=0) as pipe:
        transfer(Archive(pipe), destination)
    thread.join()


def by(make: Callable[[Path], Any]) -> Callable[[Any, Any, Path], None]:
    def go(source: Any, destination: Any, folder: Path) -> None:
        transfer(source, make(folder))
        transfer(make(folder), destination)

    return go


ENDS: dict[str, Callable[[Any, Any, Path], None]] = {
    "registry": directly,
    "store": by(lambda folder: Store(root=folder / "store")),
    "archive": by(lambda folder: Archive(folder / "a.tar")),
    "pipe": by_pipe,
    "layout": by(lambda folder: Layout(folder / "layout")),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", ["multi", "docker"])
@pytest.mark.parametrize(
    "program", [pytest.param(name, marks=pytest.mark.peer(name)) for name in ("skopeo", "crane", "oras")]
)
def test_what_a_program_pushes_goes_through_every_end_and_is_what_it_pulls(  # noqa: PLR0917  # fixtures
    program: str, kind: str, end: str, host: str, peers: Peers, images: Callable[[str], Path], tmp_path: Path
) -> None:
    name = f"{program}/{kind}-{end}"
    write(program, peers, images(kind), f"{host}/{name}:v1")
    pushed = there(host, name)
    if program != "crane" or kind != "multi":  # it pushes the layout's own index around the image's
        assert pushed == root(images(kind))

    def at(repository: str) -> Registry:
        return Registry(f"{host}/{repository}:v1", environment={}, credential=lambda _host, _repository: None)

    ENDS[end](at(name), at(f"back/{name}"), tmp_path)
    assert there(host, f"back/{name}") == pushed
    read(program, peers, f"{host}/back/{name}:v1", tmp_path / "made")
    assert root(tmp_path / "made") == pushed
    made = blobs(tmp_path / "made")
    assert blobs(images(kind)).keys() <= made.keys() | {root(images(kind))}
    for digest, path in made.items():
        assert f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" == digest
