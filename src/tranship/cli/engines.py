"""Ends that are programs which run: containerd:NAME, docker-daemon:NAME, podman:NAME."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from tranship.cli import names
from tranship.errors import InvalidArgument, printable

if TYPE_CHECKING:
    from tranship.cli.ends import End
    from tranship.containerd.endpoint import Containerd
    from tranship.endpoints.docker_engine import DockerEngine


def containerd_of(end: End) -> Containerd:
    """`containerd:NAME`, or `containerd://NAMESPACE/NAME?address=SOCKET`; either without a name."""
    from tranship.containerd.endpoint import Containerd

    name, namespace, address = end.rest, end.take("namespace"), None
    if name.startswith("//"):
        place, _, query = name[2:].partition("?")
        space, _, name = place.partition("/")
        namespace, name = unquote(space) or namespace, unquote(name)
        said = parse_qs(query, keep_blank_values=True)
        address = said.pop("address", [None])[0]
        if said:
            raise InvalidArgument(
                f"{printable(next(iter(said)))} is nothing that {end} can say",
                hint="containerd://NAMESPACE/NAME?address=SOCKET",
            )
    return Containerd(
        _names(end, name),
        address=address,
        namespace=namespace,
        clobber=not getattr(end.args, "no_clobber", False),
    )


def engine_of(end: End) -> DockerEngine:
    """`docker-daemon:NAME` or `podman:NAME`; without a name, all images of the engine."""
    from tranship.endpoints.docker_engine import DockerEngine, Podman

    if not end.is_source and getattr(end.args, "no_clobber", False):
        raise InvalidArgument(f"--no-clobber cannot be kept by {end}: the engine moves names as it loads images")
    return (Podman if end.scheme == "podman" else DockerEngine)(_names(end, end.rest))


def _names(end: End, name: str) -> tuple[str, ...]:
    if not name:
        return ()
    return (name,) if end.is_source else (names.completed(end.args, name),)
