"""The embedded store: content, images, leases and collection with containerd's semantics, without a server."""

from tranship.store.batch import Batch
from tranship.store.store import Store
from tranship.store.values import ContentInfo, Image, IngestStatus, Lease, Namespace, Resource
from tranship.store.views import NamespaceView

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
