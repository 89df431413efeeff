"""Records of the store as containerd's messages, and back: blobs, ingests, images, leases, namespaces.

Times that a message does not give read as 1970.
"""

from __future__ import annotations

from tranship._api.services.content.v1 import content_pb2
from tranship._api.services.images.v1 import images_pb2
from tranship._api.services.leases.v1 import leases_pb2
from tranship._api.services.namespaces.v1 import namespace_pb2
from tranship.containerd.values import from_descriptor, from_timestamp, to_descriptor, to_timestamp
from tranship.model.digest import Digest
from tranship.store.values import EPOCH, ContentInfo, Image, IngestStatus, Lease, Namespace, Resource


def to_info(info: ContentInfo) -> content_pb2.Info:
    """Encode a blob's record."""
    return content_pb2.Info(
        digest=info.digest,
        size=info.size,
        created_at=to_timestamp(info.created_at),
        updated_at=to_timestamp(info.updated_at),
        labels=dict(info.labels),
    )


def from_info(message: content_pb2.Info) -> ContentInfo:
    """Decode a blob's record, as a client reads it."""
    return ContentInfo(
        Digest.parse(message.digest),
        message.size,
        from_timestamp(message.created_at) or EPOCH,
        from_timestamp(message.updated_at) or EPOCH,
        dict(message.labels),
    )


def to_ingest_status(status: IngestStatus) -> content_pb2.Status:
    """Encode the state of an ingest."""
    return content_pb2.Status(
        ref=status.ref,
        offset=status.offset,
        total=status.total,
        expected=status.expected or "",
        started_at=to_timestamp(status.started_at),
        updated_at=to_timestamp(status.updated_at),
    )


def from_ingest_status(message: content_pb2.Status) -> IngestStatus:
    """Decode the state of an ingest."""
    return IngestStatus(
        message.ref,
        message.offset,
        message.total,
        Digest.parse(message.expected) if message.expected else None,
        from_timestamp(message.started_at) or EPOCH,
        from_timestamp(message.updated_at) or EPOCH,
    )


def to_image(image: Image) -> images_pb2.Image:
    """Encode an image record. The target is always set: containerd dies of one without."""
    return images_pb2.Image(
        name=image.name,
        labels=dict(image.labels),
        target=to_descriptor(image.target),
        created_at=to_timestamp(image.created_at),
        updated_at=to_timestamp(image.updated_at),
    )


def from_image(message: images_pb2.Image) -> Image:
    """Decode an image record, with its target checked."""
    return Image(
        message.name,
        from_descriptor(message.target),
        dict(message.labels),
        from_timestamp(message.created_at) or EPOCH,
        from_timestamp(message.updated_at) or EPOCH,
    )


def to_lease(lease: Lease) -> leases_pb2.Lease:
    """Encode a lease."""
    return leases_pb2.Lease(id=lease.id, created_at=to_timestamp(lease.created_at), labels=dict(lease.labels))


def from_lease(message: leases_pb2.Lease) -> Lease:
    """Decode a lease."""
    return Lease(message.id, from_timestamp(message.created_at) or EPOCH, dict(message.labels))


def to_resource(resource: Resource) -> leases_pb2.Resource:
    """Encode what a lease holds."""
    return leases_pb2.Resource(id=resource.id, type=resource.type)


def from_resource(message: leases_pb2.Resource) -> Resource:
    """Decode what a lease holds."""
    return Resource(message.id, message.type)


def to_namespace(namespace: Namespace) -> namespace_pb2.Namespace:
    """Encode a namespace."""
    return namespace_pb2.Namespace(name=namespace.name, labels=dict(namespace.labels))


def from_namespace(message: namespace_pb2.Namespace) -> Namespace:
    """Decode a namespace."""
    return Namespace(message.name, dict(message.labels))
