"""The Events service."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tranship._api.types.event_pb2 import Envelope
from tranship._api.wellknown import Empty
from tranship.containerd.codec import few
from tranship.containerd.methods import Events as Methods
from tranship.containerd.values import to_timestamp
from tranship.daemon.calls import Route, server_stream, unary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tranship._api.services.events.v1 import events_pb2 as pb
    from tranship.daemon.calls import Call
    from tranship.daemon.events import Events


class EventsService:
    """Over the daemon's events."""

    def __init__(self, events: Events) -> None:
        self._events = events

    def routes(self) -> list[Route]:
        """What serves the methods."""
        return [
            unary(Methods.PUBLISH, self._publish),
            unary(Methods.FORWARD, self._forward),
            server_stream(Methods.SUBSCRIBE, self._subscribe),
        ]

    def _publish(self, request: pb.PublishRequest, call: Call) -> Empty:
        self._events.forward(
            Envelope(
                timestamp=to_timestamp(datetime.now(UTC)),
                namespace=call.namespace,
                topic=request.topic,
                event=request.event,
            )
        )
        return Empty()

    def _forward(self, request: pb.ForwardRequest, _: Call) -> Empty:
        self._events.forward(request.envelope)
        return Empty()

    def _subscribe(self, request: pb.SubscribeRequest, call: Call) -> Iterator[Envelope]:
        """Events of all namespaces, whatever the caller's: as containerd."""
        with self._events.subscribe(few(request.filters, "filters")) as subscription:
            call.on_end(subscription.end)
            yield from subscription
