"""What every test may ask for: real images, and real peers.

A test that needs a peer program says so, `@pytest.mark.peer("skopeo", "crane")`, or asks for a daemon's fixture, which says so itself. Where
the peer is absent the test is skipped with the reason; it fails when TRANSHIP_REQUIRE_PEERS names the peer.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

from support import daemons, secrets
from support import images as image_builder
from support.peers import PeerMissing, Peers, find, required, temporary_home

T = TypeVar("T")

# A busy machine is no defect: no test fails for its slowness. (pytest-timeout ends one that hangs.)
settings.register_profile("tranship", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tranship")


def pytest_configure() -> None:
    secrets.watch()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it in what it runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    secrets.lasting |= secrets.made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test whose output or log holds a secret that it made ends with an error."""
    report = yield
    if report.when == "teardown":
        try:
            secrets.search("\n".join(text for _, text in report.sections), f"by {item.nodeid}")
        except AssertionError as error:
            report.outcome, report.longrepr = "failed", str(error)
        secrets.made.clear()
    return report


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("peer"):
        for name in mark.args:
            need(name)


def need(name: str) -> None:
    """Skip the test where a peer is absent; fail it where the peer is required."""
    try:
        find(name)
    except PeerMissing as error:
        (pytest.fail if name in required() else pytest.skip)(str(error))


def daemon(manager: contextlib.AbstractContextManager[T], *names: str) -> Iterator[T]:
    for name in names:
        need(name)
    try:
        with manager as running:
            yield running
    except PeerMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """images("multi") is the folder of an OCI layout (kinds: support/images.py), built once. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("images")
    return cache(lambda kind: image_builder.build(kind, folder))


@pytest.fixture
def peers() -> Iterator[Peers]:
    """Runs peer programs by name, in a home of the test's own."""
    with temporary_home() as home:
        yield Peers(home)


@pytest.fixture(scope="session")
def containerd() -> Iterator[daemons.Containerd]:
    yield from daemon(daemons.containerd(), "containerd", "ctr")


@pytest.fixture(scope="session")
def containerd_1_7() -> Iterator[daemons.Containerd]:
    """The first with a Transfer service."""
    yield from daemon(daemons.containerd("@trixie"), "containerd@trixie", "ctr@trixie")


@pytest.fixture(scope="session")
def old_containerd() -> Iterator[daemons.Containerd]:
    """containerd 1.6: content, images and leases, but no Transfer service."""
    yield from daemon(daemons.containerd("@bookworm"), "containerd@bookworm", "ctr@bookworm")


@pytest.fixture(scope="session")
def docker_registry() -> Iterator[daemons.DockerRegistry]:
    yield from daemon(daemons.docker_registry(), "docker-registry")


@pytest.fixture(scope="session")
def docker_overlay2() -> Iterator[daemons.Docker]:
    yield from daemon(daemons.dockerd(), "dockerd", "docker", "containerd", "ctr")


@pytest.fixture(scope="session")
def docker_containerd() -> Iterator[daemons.Docker]:
    """The engine with containerd's image store, which keeps manifests and their digests."""
    yield from daemon(daemons.dockerd(containerd_store=True), "dockerd", "docker", "containerd", "ctr")


@pytest.fixture(scope="session")
def old_docker() -> Iterator[daemons.Docker]:
    """docker 20.10: reads only archives with Docker's own manifest.json, and no zstd."""
    yield from daemon(
        daemons.dockerd("@bookworm"), "dockerd@bookworm", "docker@bookworm", "containerd@bookworm", "ctr@bookworm"
    )


@pytest.fixture(scope="session")
def podman() -> Iterator[daemons.Podman]:
    """Podman with its API service."""
    yield from daemon(daemons.podman(service=True), "podman")


@pytest.fixture(scope="session")
def old_podman() -> Iterator[daemons.Podman]:
    """podman 4.3."""
    yield from daemon(daemons.podman("@bookworm"), "podman@bookworm")
