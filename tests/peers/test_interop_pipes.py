"""Archives on pipes: what we write goes into engines that read their standard input, and what peers write on their output comes to us."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.interop import Seen, image, in_containerd, in_docker, in_podman, names, piped
from tranship import Archive, Store, transfer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.daemons import Containerd, Docker, Podman

    Images = Callable[[str], Path]
    Stores = Callable[[str], Store]


@pytest.mark.parametrize("kind", ["large", "multi"])
@pytest.mark.parametrize("fixture", ["docker_overlay2", "docker_containerd", "old_docker"])
def test_docker_loads_from_our_pipe(
    fixture: str, kind: str, stores: Stores, images: Images, request: pytest.FixtureRequest
) -> None:
    engine: Docker = request.getfixturevalue(fixture)
    with piped(engine.peers, f"docker{engine.suite}", "--host", engine.host, "load", stdin=True) as pipe:
        transfer(stores(kind), Archive(pipe))
    ((name, root),) = names(images(kind)).items()
    keeps = fixture == "docker_containerd"
    seen = Seen(frozenset({root})) if keeps else Seen(config=image(images(kind), root).config)
    assert in_docker(engine, [name], keeps_manifests=keeps) == {name: seen}


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
@pytest.mark.parametrize("fixture", ["podman", "old_podman"])
def test_podman_loads_from_our_pipe(
    fixture: str, compression: str | None, stores: Stores, images: Images, request: pytest.FixtureRequest
) -> None:
    engine: Podman = request.getfixturevalue(fixture)
    with piped(engine.peers, f"podman{engine.suite}", *engine.options, "load", stdin=True) as pipe:
        transfer(stores("python"), Archive(pipe, compression=compression))
    ((name, root),) = names(images("python")).items()
    assert in_podman(engine, [name]) == {name: Seen(frozenset({root}), image(images("python"), root).config)}


@pytest.mark.parametrize(
    ("fixture", "mode"),
    [("containerd", "--local"), ("containerd", "--local=false"), ("old_containerd", "--digests=false")],
)
def test_containerd_imports_from_our_pipe(
    fixture: str, mode: str, stores: Stores, images: Images, request: pytest.FixtureRequest
) -> None:
    daemon: Containerd = request.getfixturevalue(fixture)
    words = ["--address", daemon.address, "images", "import", mode, "--no-unpack", "--all-platforms", "-"]
    with piped(daemon.peers, f"ctr{daemon.suite}", *words, stdin=True) as pipe:
        transfer(stores("multi"), Archive(pipe))
    ((name, root),) = names(images("multi")).items()
    assert in_containerd(daemon, [name]) == {name: Seen.of(image(images("multi"), root))}
