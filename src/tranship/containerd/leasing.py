"""A lease of our own at a containerd: it keeps what we read or write from collection, and streams of ours open."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tranship._api.services.leases.v1 import leases_pb2 as pb
from tranship.containerd.methods import Leases
from tranship.errors import TranshipError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tranship.containerd.channel import Channel
    from tranship.model.digest import Digest

LASTING = timedelta(hours=24)  # should we die before we give it back; containerd's default
GC_EXPIRE = "containerd.io/gc.expire"


@contextlib.contextmanager
def leased(channel: Channel) -> Iterator[Channel]:
    """The channel with calls under a lease, which is given back in the end."""
    expires = (datetime.now(UTC) + LASTING).strftime("%Y-%m-%dT%H:%M:%SZ")
    lease = channel.unary(Leases.CREATE, pb.CreateRequest(labels={GC_EXPIRE: expires})).lease.id
    try:
        yield channel.with_lease(lease)
    finally:
        give_back(channel, lease)


def give_back(channel: Channel, lease: str | None) -> None:
    """Remove a lease. What it held alone, streams too, goes with the next collection, which this brings about."""
    with contextlib.suppress(TranshipError):  # it is gone already, or the daemon is; it will expire
        channel.unary(Leases.DELETE, pb.DeleteRequest(id=lease or ""))


def hold(leased_channel: Channel, digest: Digest) -> None:
    """Let the channel's lease hold a blob, should it be there, and all that it refers to by its labels."""
    request = pb.AddResourceRequest(id=leased_channel.lease or "", resource=pb.Resource(id=digest, type="content"))
    leased_channel.unary(Leases.ADD_RESOURCE, request)
