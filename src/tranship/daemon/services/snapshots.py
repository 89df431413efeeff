"""The Snapshots service of a daemon that unpacks nothing: there are no snapshots, and none can be made.

Clients ask whether an image is unpacked (`ctr images check`), and get on when it is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from tranship.containerd.methods import Snapshots
from tranship.daemon.calls import Route, server_stream, unary
from tranship.errors import NotFound, Unsupported, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tranship._api.services.snapshots.v1 import snapshots_pb2 as pb
    from tranship.daemon.calls import Call


def routes() -> list[Route]:
    """What serves the methods."""
    return [
        unary(Snapshots.STAT, _absent),
        unary(Snapshots.USAGE, _absent),
        unary(Snapshots.MOUNTS, _absent),
        unary(Snapshots.REMOVE, _absent),
        unary(Snapshots.UPDATE, _absent_info),
        server_stream(Snapshots.LIST, _list),
        unary(Snapshots.PREPARE, refuse),
        unary(Snapshots.VIEW, refuse),
        unary(Snapshots.COMMIT, refuse),
        unary(Snapshots.CLEANUP, refuse),
    ]


def _absent(
    request: pb.StatSnapshotRequest | pb.UsageRequest | pb.MountsRequest | pb.RemoveSnapshotRequest, _: Call
) -> NoReturn:
    raise NotFound(f"snapshot {printable(request.key)} does not exist: not found")


def _absent_info(request: pb.UpdateSnapshotRequest, _: Call) -> NoReturn:
    raise NotFound(f"snapshot {printable(request.info.name)} does not exist: not found")


def _list(_: pb.ListSnapshotsRequest, __: Call) -> Iterator[pb.ListSnapshotsResponse]:
    return iter(())


def refuse(_: object, __: Call) -> NoReturn:
    """Unsupported, in a sentence that people will read."""
    raise Unsupported("this daemon moves images and does not unpack them: not implemented")
