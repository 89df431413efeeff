"""The Leases service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship._api.services.leases.v1 import leases_pb2 as pb
from tranship._api.wellknown import Empty
from tranship.containerd.codec import labels, text
from tranship.containerd.methods import Leases
from tranship.containerd.records import from_resource, to_lease, to_resource
from tranship.daemon.calls import Route, unary

if TYPE_CHECKING:
    from tranship.daemon.calls import Call
    from tranship.daemon.collector import Collector
    from tranship.store import Store


class LeasesService:
    """Over the leases of a store's namespaces."""

    def __init__(self, store: Store, collector: Collector) -> None:
        self._store = store
        self._collector = collector

    def routes(self) -> list[Route]:
        """What serves the methods."""
        return [
            unary(Leases.CREATE, self._create),
            unary(Leases.DELETE, self._delete),
            unary(Leases.LIST, self._list),
            unary(Leases.ADD_RESOURCE, self._add_resource),
            unary(Leases.DELETE_RESOURCE, self._delete_resource),
            unary(Leases.LIST_RESOURCES, self._list_resources),
        ]

    def _create(self, request: pb.CreateRequest, call: Call) -> pb.CreateResponse:
        lease = self._store.namespace(call.namespace).leases.create(
            text(request.id, "id") or None, labels=labels(request.labels)
        )
        self._collector.changed()
        return pb.CreateResponse(lease=to_lease(lease))

    def _delete(self, request: pb.DeleteRequest, call: Call) -> Empty:
        self._store.namespace(call.namespace).leases.delete(request.id)
        if request.sync:
            self._collector.run()
        else:
            self._collector.deleted()
        return Empty()

    def _list(self, request: pb.ListRequest, call: Call) -> pb.ListResponse:
        leases = self._store.namespace(call.namespace).leases.list(list(request.filters))
        return pb.ListResponse(leases=map(to_lease, leases))

    def _add_resource(self, request: pb.AddResourceRequest, call: Call) -> Empty:
        self._store.namespace(call.namespace).leases.add_resource(request.id, from_resource(request.resource))
        self._collector.changed()
        return Empty()

    def _delete_resource(self, request: pb.DeleteResourceRequest, call: Call) -> Empty:
        self._store.namespace(call.namespace).leases.delete_resource(request.id, from_resource(request.resource))
        self._collector.deleted()
        return Empty()

    def _list_resources(self, request: pb.ListResourcesRequest, call: Call) -> pb.ListResourcesResponse:
        resources = self._store.namespace(call.namespace).leases.list_resources(request.id)
        return pb.ListResourcesResponse(resources=map(to_resource, resources))
