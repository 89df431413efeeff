"""What the store hands out and takes: plain values, in containerd's words."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tranship.model.descriptor import Descriptor
    from tranship.model.digest import Digest

NOTHING: Mapping[str, str] = MappingProxyType({})
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _nothing() -> Mapping[str, str]:
    return NOTHING


@dataclass(frozen=True, slots=True)
class ContentInfo:
    """A blob as one namespace records it. The times are those of the record, not of the file."""

    digest: Digest
    size: int  # bytes
    created_at: datetime
    updated_at: datetime
    labels: Mapping[str, str] = field(default_factory=_nothing, hash=False)
    verified_at: datetime | None = None  # when its bytes were last read and found right; None: when it was written


@dataclass(frozen=True, slots=True)
class IngestStatus:
    """Content that is being written, or was left in the middle."""

    ref: str
    offset: int  # bytes there, without a gap
    total: int  # bytes announced; 0: unknown
    expected: Digest | None
    started_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Image:
    """A name for content. The store sets the times; those of an Image handed in are not read."""

    name: str
    target: Descriptor
    labels: Mapping[str, str] = field(default_factory=_nothing, hash=False)
    created_at: datetime = EPOCH
    updated_at: datetime = EPOCH


@dataclass(frozen=True, slots=True)
class Lease:
    """What keeps content from collection while somebody works with it."""

    id: str
    created_at: datetime
    labels: Mapping[str, str] = field(default_factory=_nothing, hash=False)


@dataclass(frozen=True, slots=True, order=True)
class Resource:
    """Something that a lease holds: `content` by digest, `ingests` by ref, `images` by name, or `snapshots/NAME`."""

    id: str
    type: str = "content"


@dataclass(frozen=True, slots=True)
class Namespace:
    """A world of names and records of its own; the files are shared."""

    name: str
    labels: Mapping[str, str] = field(default_factory=_nothing, hash=False)


# ------------------------------------------------------------------------------- how the database spells them


def now() -> int:
    """The time as the database keeps it: microseconds since 1970."""
    return time.time_ns() // 1000


def moment(microseconds: int) -> datetime:
    """A time of the database as a datetime of UTC."""
    return EPOCH + timedelta(microseconds=microseconds)


def microseconds(when: datetime) -> int:
    """A datetime as the database keeps it."""
    return (when - EPOCH) // timedelta(microseconds=1)


def loads(text: str) -> Mapping[str, str]:
    """Labels from the database."""
    if text == "{}":
        return NOTHING
    labels: dict[str, str] = json.loads(text)
    return labels


def dumps(labels: Mapping[str, str] | None) -> str:
    """Labels for the database."""
    return json.dumps(dict(labels), sort_keys=True, ensure_ascii=False) if labels else "{}"
