"""tranship moves container images: any of registry, archive, OCI layout, store, containerd and docker engine to any other.

    from tranship import Archive, Store, transfer

    transfer(Store("docker.io/library/alpine:3"), Archive("alpine.tar"))

Endpoints are plain frozen values; `transfer` moves what lies between two of them and returns a Summary, or raises one of the
errors of `tranship.errors`. Everything is imported on first use.
"""

from __future__ import annotations

from tranship.version import __version__

TYPE_CHECKING = False  # checkers take it for true; the module typing would be half of what `tranship version` costs
if TYPE_CHECKING:
    from typing import Any

    from tranship import errors
    from tranship.containerd.endpoint import Containerd
    from tranship.containerd.remote import connect
    from tranship.endpoints.archive import Archive
    from tranship.endpoints.docker_engine import DockerEngine, Podman
    from tranship.endpoints.layout import Layout
    from tranship.endpoints.pack import Pack
    from tranship.endpoints.registry import Registry
    from tranship.endpoints.store import Store
    from tranship.engine.plan import Plan
    from tranship.engine.progress import Outcome, Progress, Reporter, Stage
    from tranship.engine.run import CancelToken, Limits
    from tranship.engine.selection import Selection
    from tranship.engine.transfer import Summary, plan, transfer
    from tranship.errors import TranshipError
    from tranship.model.descriptor import Descriptor, Root
    from tranship.model.digest import Digest
    from tranship.model.naming import Naming
    from tranship.model.platform import Platform
    from tranship.model.reference import Reference

_HOMES = {
    "Archive": "tranship.endpoints.archive",
    "CancelToken": "tranship.engine.run",
    "Containerd": "tranship.containerd.endpoint",
    "Descriptor": "tranship.model.descriptor",
    "Digest": "tranship.model.digest",
    "DockerEngine": "tranship.endpoints.docker_engine",
    "Layout": "tranship.endpoints.layout",
    "Limits": "tranship.engine.run",
    "Naming": "tranship.model.naming",
    "Outcome": "tranship.engine.progress",
    "Pack": "tranship.endpoints.pack",
    "Plan": "tranship.engine.plan",
    "Platform": "tranship.model.platform",
    "Podman": "tranship.endpoints.docker_engine",
    "Progress": "tranship.engine.progress",
    "Reference": "tranship.model.reference",
    "Registry": "tranship.endpoints.registry",
    "Reporter": "tranship.engine.progress",
    "Root": "tranship.model.descriptor",
    "Selection": "tranship.engine.selection",
    "Stage": "tranship.engine.progress",
    "Store": "tranship.endpoints.store",
    "Summary": "tranship.engine.transfer",
    "TranshipError": "tranship.errors",
    "connect": "tranship.containerd.remote",
    "plan": "tranship.engine.transfer",
    "transfer": "tranship.engine.transfer",
}

__all__ = [
    "Archive",
    "CancelToken",
    "Containerd",
    "Descriptor",
    "Digest",
    "DockerEngine",
    "Layout",
    "Limits",
    "Naming",
    "Outcome",
    "Pack",
    "Plan",
    "Platform",
    "Podman",
    "Progress",
    "Reference",
    "Registry",
    "Reporter",
    "Root",
    "Selection",
    "Stage",
    "Store",
    "Summary",
    "TranshipError",
    "__version__",
    "connect",
    "errors",
    "plan",
    "transfer",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "errors":
        return importlib.import_module("tranship.errors")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'tranship' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
