"""The Content service: looking at blobs and ingests, reading, and changing labels. Writing is in `content_write`."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from tranship._api.events import content_pb2 as events
from tranship._api.services.content.v1 import content_pb2 as pb
from tranship._api.wellknown import Empty
from tranship.containerd.codec import few, labels
from tranship.containerd.methods import Content
from tranship.containerd.records import to_info, to_ingest_status
from tranship.daemon.calls import Route, server_stream, stream, unary
from tranship.daemon.services.content_write import write
from tranship.errors import InvalidArgument, InvalidReference, printable
from tranship.model.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tranship.daemon.calls import Call
    from tranship.daemon.collector import Collector
    from tranship.daemon.events import Events
    from tranship.store import Store
    from tranship.store.content import Content as StoredContent

PAGE = 100  # records in one answer of List, as in containerd


class ContentService:
    """Over the content of a store's namespaces."""

    def __init__(self, store: Store, events: Events, collector: Collector) -> None:
        self._store = store
        self._events = events
        self._collector = collector

    def routes(self) -> list[Route]:
        """What serves the methods."""
        return [
            unary(Content.INFO, self._info),
            unary(Content.UPDATE, self._update),
            server_stream(Content.LIST, self._list),
            unary(Content.DELETE, self._delete),
            server_stream(Content.READ, self._read),
            unary(Content.STATUS, self._status),
            unary(Content.LIST_STATUSES, self._list_statuses),
            stream(Content.WRITE, self._write),
            unary(Content.ABORT, self._abort),
        ]

    def _content(self, call: Call) -> StoredContent:
        return self._store.namespace(call.namespace).content

    def _info(self, request: pb.InfoRequest, call: Call) -> pb.InfoResponse:
        return pb.InfoResponse(info=to_info(self._content(call).info(checked_digest(request.digest))))

    def _update(self, request: pb.UpdateRequest, call: Call) -> pb.UpdateResponse:
        digest = checked_digest(request.info.digest)
        info = self._content(call).update(
            digest, labels(request.info.labels), few(request.update_mask.paths, "update_mask")
        )
        self._collector.changed()
        return pb.UpdateResponse(info=to_info(info))

    def _list(self, request: pb.ListContentRequest, call: Call) -> Iterator[pb.ListContentResponse]:
        found = self._content(call).walk(list(request.filters))
        while page := list(islice(found, PAGE)):
            yield pb.ListContentResponse(info=map(to_info, page))

    def _delete(self, request: pb.DeleteContentRequest, call: Call) -> Empty:
        digest = checked_digest(request.digest)
        self._content(call).delete(digest)
        self._events.publish(call.namespace, "/content/delete", events.ContentDelete(digest=digest))
        self._collector.deleted()
        return Empty()

    def _read(self, request: pb.ReadContentRequest, call: Call) -> Iterator[pb.ReadContentResponse]:
        offset = 0  # from the start of what was asked for, not of the blob: containerd's clients ignore it
        pieces = self._content(call).read(checked_digest(request.digest), request.offset, request.size)
        for piece in pieces:
            yield pb.ReadContentResponse(offset=offset, data=piece)
            offset += len(piece)

    def _status(self, request: pb.StatusRequest, call: Call) -> pb.StatusResponse:
        return pb.StatusResponse(status=to_ingest_status(self._content(call).status(request.ref)))

    def _list_statuses(self, request: pb.ListStatusesRequest, call: Call) -> pb.ListStatusesResponse:
        statuses = self._content(call).statuses(list(request.filters))
        return pb.ListStatusesResponse(statuses=map(to_ingest_status, statuses))

    def _write(self, requests: Iterator[pb.WriteContentRequest], call: Call) -> Iterator[pb.WriteContentResponse]:
        for answer in write(self._content(call), requests, call.lease):
            if answer.action == pb.COMMIT:
                self._events.publish(
                    call.namespace, "/content/create", events.ContentCreate(digest=answer.digest, size=answer.offset)
                )
                self._collector.changed()
            yield answer

    def _abort(self, request: pb.AbortRequest, call: Call) -> Empty:
        self._content(call).abort(request.ref)
        return Empty()


def checked_digest(text: str) -> Digest:
    """The digest, or InvalidArgument in containerd's words."""
    try:
        return Digest.parse(text)
    except InvalidReference as error:
        shown = printable(text)
        raise InvalidArgument(f'"{shown}" failed validation: invalid checksum digest format: {error.reason}') from None
