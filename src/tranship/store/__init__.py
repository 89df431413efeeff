"""The embedded store: content, images, leases and collection with containerd's semantics, without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tranship.store.store import Store
from tranship.store.values import ContentInfo, Image, IngestStatus, Lease, Namespace, Resource
from tranship.store.views import NamespaceView

if TYPE_CHECKING:
    from tranship.store.batch import Batch

__all__ = [
    "Batch",
    "ContentInfo",
    "Image",
    "IngestStatus",
    "Lease",
    "Namespace",
    "NamespaceView",
    "Resource",
    "Store",
]


def __getattr__(name: str) -> Any:
    if name == "Batch":  # only its users pay for it
        from tranship.store.batch import Batch

        return Batch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
