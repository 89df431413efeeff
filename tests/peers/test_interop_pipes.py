"""Archives on pipes: what we write goes into engines that read their standard input, and what peers write on their output comes to us."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from support.interop import Seen, image, in_containerd, in_docker, in_podman, names, piped, uncompressed
from tranship import Archive, Store, transfer
from tranship.errors import Truncated

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
    fixture: str, compression: Any, stores: Stores, images: Images, request: pytest.FixtureRequest
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
    words = ["--address", str(daemon.address), "images", "import", mode, "--no-unpack", "--all-platforms", "-"]
    with piped(daemon.peers, f"ctr{daemon.suite}", *words, stdin=True) as pipe:
        transfer(stores("multi"), Archive(pipe))
    ((name, root),) = names(images("multi")).items()
    assert in_containerd(daemon, [name]) == {name: Seen.of(image(images("multi"), root))}


@pytest.mark.parametrize(
    ("fixture", "mode"),
    [("containerd", "--local"), ("containerd", "--local=false"), ("old_containerd", "--all-platforms")],
)
def test_what_containerd_exports_on_a_pipe_is_read(  # noqa: PLR0917  # fixtures
    fixture: str, mode: str, stores: Stores, images: Images, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    daemon: Containerd = request.getfixturevalue(fixture)
    ((name, root),) = names(images("multi")).items()
    transfer(stores("multi"), Archive(tmp_path / "in.tar"))
    daemon.ctr("images", "import", "--all-platforms", "--no-unpack", tmp_path / "in.tar")
    words = ["--address", str(daemon.address), "images", "export", "--all-platforms", mode, "-", name]
    for attempt in range(20):
        # ctr of containerd 2 sometimes ends before the end is written, and says that all is well.
        with piped(daemon.peers, f"ctr{daemon.suite}", *words) as pipe, contextlib.suppress(Truncated):
            transfer(Archive(pipe), Store(root=tmp_path / "store"))
            break
        assert (fixture, mode) == ("containerd", "--local=false"), attempt
    assert in_containerd(daemon, [name]) == {name: Seen.of(image(tmp_path / "store", root))}


@pytest.mark.parametrize("fixture", ["docker_overlay2", "docker_containerd", "old_docker"])
def test_what_docker_saves_on_a_pipe_is_read(
    fixture: str, stores: Stores, images: Images, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    engine: Docker = request.getfixturevalue(fixture)
    ((name, root),) = names(images("python")).items()
    transfer(stores("python"), Archive(tmp_path / "in.tar"))
    engine.docker("load", "--input", tmp_path / "in.tar")
    with piped(engine.peers, f"docker{engine.suite}", "--host", engine.host, "save", name) as pipe:
        (read,) = transfer(Archive(pipe), Store(root=tmp_path / "store")).roots
    in_docker(engine, [name], keeps_manifests=False)
    assert read.name == name
    assert image(tmp_path / "store", read.descriptor.digest).config == image(images("python"), root).config
    assert uncompressed(tmp_path / "store", read.descriptor.digest) == uncompressed(images("python"), root)


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
@pytest.mark.parametrize("fixture", ["podman", "old_podman"])
def test_what_podman_saves_on_a_pipe_is_read(  # noqa: PLR0917  # fixtures
    fixture: str, form: str, stores: Stores, images: Images, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    engine: Podman = request.getfixturevalue(fixture)
    ((name, root),) = names(images("python")).items()
    transfer(stores("python"), Archive(tmp_path / "in.tar"))
    engine.podman("load", "--input", tmp_path / "in.tar")
    with piped(engine.peers, f"podman{engine.suite}", *engine.options, "save", "--format", form, name) as pipe:
        (read,) = transfer(Archive(pipe), Store(root=tmp_path / "store")).roots
    in_podman(engine, [name])
    assert read.name == name
    assert image(tmp_path / "store", read.descriptor.digest).config == image(images("python"), root).config
    assert uncompressed(tmp_path / "store", read.descriptor.digest) == uncompressed(images("python"), root)
