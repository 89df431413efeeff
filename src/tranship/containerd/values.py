"""Small messages of containerd as values, and back: times, platforms, descriptors.

Nothing here trusts that a field is set: an absent message reads as an empty one. containerd dies of that in two places; a
client of ours sets everything that the server needs.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tranship._api.types import descriptor_pb2, platform_pb2
from tranship._api.wellknown import Timestamp
from tranship.errors import InvalidArgument
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.model.platform import Platform

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Go's zero time is the first second of year 1; real clients send it for times that they do not know.
_YEAR_1 = -62135596800  # seconds since 1970
_YEAR_10000 = 253402300800


def to_timestamp(when: datetime | None) -> Timestamp | None:
    """Encode an aware datetime; None stays unset."""
    if when is None:
        return None
    seconds, rest = divmod(when - _EPOCH, timedelta(seconds=1))
    return Timestamp(seconds=seconds, nanos=rest // timedelta(microseconds=1) * 1000)


def from_timestamp(message: Timestamp) -> datetime | None:
    """Decode; None for a time that is unset, Go's zero, or beyond what a datetime can hold."""
    if not message.seconds and not message.nanos:
        return None
    if not _YEAR_1 < message.seconds < _YEAR_10000 or not 0 <= message.nanos < 10**9:
        return None
    return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)


def to_platform(platform: Platform) -> platform_pb2.Platform:
    """Encode a platform."""
    return platform_pb2.Platform(
        os=platform.os,
        architecture=platform.architecture,
        variant=platform.variant,
        os_version=platform.os_version,
        os_features=platform.os_features,
    )


def from_platform(message: platform_pb2.Platform) -> Platform:
    """Decode a platform, in the spelling that was sent."""
    return Platform(message.os, message.architecture, message.variant, message.os_version, tuple(message.os_features))


def to_descriptor(descriptor: Descriptor) -> descriptor_pb2.Descriptor:
    """Encode what the API has fields for: media type, digest, size and annotations. The rest is lost, as in containerd."""
    return descriptor_pb2.Descriptor(
        media_type=descriptor.media_type,
        digest=descriptor.digest,
        size=descriptor.size,
        annotations=dict(descriptor.annotations),
    )


def from_descriptor(message: descriptor_pb2.Descriptor, what: str = "target") -> Descriptor:
    """Decode and check; `what` names it in the InvalidArgument, with containerd's words, that a bad one raises."""
    digest = Digest.parse(message.digest)
    if message.size <= 0:
        raise InvalidArgument(f"{what}.Size must be greater than zero")
    if not message.media_type:
        raise InvalidArgument(f"{what}.MediaType must be set")
    return Descriptor(
        media_type=message.media_type, digest=digest, size=message.size, annotations=dict(message.annotations)
    )
