"""The Namespaces service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship._api.events import namespace_pb2 as events
from tranship._api.services.namespaces.v1 import namespace_pb2 as pb
from tranship._api.wellknown import Empty
from tranship.containerd.codec import few, labels
from tranship.containerd.methods import Namespaces
from tranship.containerd.records import to_namespace
from tranship.daemon.calls import Route, unary

if TYPE_CHECKING:
    from tranship.daemon.calls import Call
    from tranship.daemon.events import Events
    from tranship.store import Store


class NamespacesService:
    """Over the namespaces of a store."""

    def __init__(self, store: Store, events: Events) -> None:
        self._namespaces = store.namespaces
        self._events = events

    def routes(self) -> list[Route]:
        """What serves the methods."""
        return [
            unary(Namespaces.GET, self._get),
            unary(Namespaces.LIST, self._list),
            unary(Namespaces.CREATE, self._create),
            unary(Namespaces.UPDATE, self._update),
            unary(Namespaces.DELETE, self._delete),
        ]

    def _get(self, request: pb.GetNamespaceRequest, _: Call) -> pb.GetNamespaceResponse:
        return pb.GetNamespaceResponse(namespace=to_namespace(self._namespaces.get(request.name)))

    def _list(self, _: pb.ListNamespacesRequest, __: Call) -> pb.ListNamespacesResponse:
        # The request's filter is ignored, as in containerd.
        return pb.ListNamespacesResponse(namespaces=map(to_namespace, self._namespaces.list()))

    def _create(self, request: pb.CreateNamespaceRequest, _: Call) -> pb.CreateNamespaceResponse:
        made = self._namespaces.create(request.namespace.name, labels(request.namespace.labels))
        self._events.publish(
            made.name, "/namespaces/create", events.NamespaceCreate(name=made.name, labels=dict(made.labels))
        )
        return pb.CreateNamespaceResponse(namespace=to_namespace(made))

    def _update(self, request: pb.UpdateNamespaceRequest, _: Call) -> pb.UpdateNamespaceResponse:
        """Answer with the namespace as it is now; containerd's answer is empty."""
        new = self._namespaces.update(
            request.namespace.name, labels(request.namespace.labels), few(request.update_mask.paths, "update_mask")
        )
        self._events.publish(
            new.name, "/namespaces/update", events.NamespaceUpdate(name=new.name, labels=dict(new.labels))
        )
        return pb.UpdateNamespaceResponse(namespace=to_namespace(new))

    def _delete(self, request: pb.DeleteNamespaceRequest, _: Call) -> Empty:
        self._namespaces.delete(request.name)
        self._events.publish(request.name, "/namespaces/delete", events.NamespaceDelete(name=request.name))
        return Empty()
