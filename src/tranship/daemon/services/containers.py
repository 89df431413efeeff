"""The Containers service of a daemon that runs nothing: there are no containers, and none can be made.

Clients look here for what is in use; `ctr containers ls` shows an empty table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from tranship._api.services.containers.v1 import containers_pb2 as pb
from tranship.containerd.methods import Containers
from tranship.daemon.calls import Route, server_stream, unary
from tranship.errors import NotFound, Unsupported, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tranship.daemon.calls import Call


def routes() -> list[Route]:
    """What serves the methods."""
    return [
        unary(Containers.GET, _absent),
        unary(Containers.LIST, _list),
        server_stream(Containers.LIST_STREAM, _list_stream),
        unary(Containers.CREATE, _refuse),
        unary(Containers.UPDATE, _absent_container),
        unary(Containers.DELETE, _absent),
    ]


def _absent(request: pb.GetContainerRequest | pb.DeleteContainerRequest, _: Call) -> NoReturn:
    raise NotFound(f'container "{printable(request.id)}": not found')


def _absent_container(request: pb.UpdateContainerRequest, _: Call) -> NoReturn:
    raise NotFound(f'container "{printable(request.container.id)}": not found')


def _list(_: pb.ListContainersRequest, __: Call) -> pb.ListContainersResponse:
    return pb.ListContainersResponse()


def _list_stream(_: pb.ListContainersRequest, __: Call) -> Iterator[pb.ListContainerMessage]:
    return iter(())


def _refuse(_: object, __: Call) -> NoReturn:
    raise Unsupported("this daemon moves images and runs no containers: not implemented")
