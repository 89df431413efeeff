"""The kinds of ends: one module or package each, found by the scheme under which a user writes them.

The table names classes as text, so that nothing is imported before it is used, and nothing imports upwards. Packages of others
add to it by the entry-point group `tranship.endpoints` (`SCHEME = "module:Class"`).
"""

from __future__ import annotations

from typing import Any

from tranship.errors import InvalidArgument, printable

KINDS = {
    "store": "tranship.endpoints.store:Store",
    "archive": "tranship.endpoints.archive:Archive",
    "oci-archive": "tranship.endpoints.archive:Archive",
    "docker-archive": "tranship.endpoints.archive:Archive",
    "oci": "tranship.endpoints.layout:Layout",
    "pack": "tranship.endpoints.pack:Pack",
    "docker": "tranship.endpoints.registry:Registry",
    "containerd": "tranship.containerd.endpoint:Containerd",
    "docker-daemon": "tranship.endpoints.docker_engine:DockerEngine",
    "podman": "tranship.endpoints.docker_engine:Podman",
}


def kind(scheme: str) -> type[Any]:
    """The class of a scheme; InvalidArgument names those that exist."""
    import importlib

    target = KINDS.get(scheme) or _others().get(scheme)
    if target is None:
        raise InvalidArgument(
            f"{printable(repr(scheme))} is no kind of end", hint=f"these are: {', '.join(sorted({*KINDS, *_others()}))}"
        )
    module, _, name = target.partition(":")
    found: type[Any] = getattr(importlib.import_module(module), name)
    return found


def _others() -> dict[str, str]:
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group="tranship.endpoints")}
