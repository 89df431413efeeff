"""What happened, for whoever subscribes: no history, and no guarantee beyond this process.

As in containerd, a subscriber hears of every namespace unless its filters say otherwise. Unlike there, one that does not
listen is let go of instead of being remembered without end.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tranship._api.events import content_pb2, image_pb2, namespace_pb2
from tranship._api.types.event_pb2 import Envelope
from tranship.containerd.codec import pack, type_name
from tranship.containerd.values import to_timestamp
from tranship.errors import Aborted, InvalidArgument, printable
from tranship.formats import filters as grammar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from google.protobuf.message import Message

    from tranship._api.wellknown import Any

BACKLOG = 10_000  # events that may wait for one subscriber
BACKLOG_BYTES = 8 << 20  # of them, with their messages; anybody may publish large ones
_TOPIC = re.compile(r"(?:/[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*)+")

# The messages whose fields a filter may ask for as `event.FIELD`.
_MESSAGES: dict[str, type[Message]] = {
    message.DESCRIPTOR.full_name: message
    for message in (
        content_pb2.ContentCreate,
        content_pb2.ContentDelete,
        image_pb2.ImageCreate,
        image_pb2.ImageUpdate,
        image_pb2.ImageDelete,
        namespace_pb2.NamespaceCreate,
        namespace_pb2.NamespaceUpdate,
        namespace_pb2.NamespaceDelete,
    )
}


class Subscription:
    """One subscriber's events, in the order in which they happened. Iterating ends when the events do."""

    def __init__(self, wanted: grammar.Filter) -> None:
        self._wanted = wanted
        self._waiting: deque[Envelope] = deque()
        self._bytes = 0  # of those
        self._ended = self._lost = False
        self._changed = threading.Condition()

    def offer(self, envelope: Envelope) -> None:
        """Take an event in, if it is wanted."""
        if self._ended or not self._wanted.matches(_adaptor(envelope)):
            return
        with self._changed:
            if len(self._waiting) >= BACKLOG or self._bytes >= BACKLOG_BYTES:
                self._lost = self._ended = True
            else:
                self._waiting.append(envelope)
                self._bytes += envelope.ByteSize()
            self._changed.notify()

    def end(self) -> None:
        """There will be no more."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def __iter__(self) -> Iterator[Envelope]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    break
                envelope = self._waiting.popleft()
                self._bytes -= envelope.ByteSize()
            yield envelope
        if self._lost:
            raise Aborted("the subscriber fell too many events behind")


class Events:
    """Where the daemon's services tell of what they did."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._lock = threading.Lock()

    def publish(self, namespace: str, topic: str, event: Message) -> None:
        """Tell everybody of one of our own events."""
        self.forward(
            Envelope(timestamp=to_timestamp(datetime.now(UTC)), namespace=namespace, topic=topic, event=pack(event))
        )

    def forward(self, envelope: Envelope) -> None:
        """Tell everybody of an event that somebody made; InvalidArgument when it is not whole."""
        check_topic(envelope.topic)
        with self._lock:
            subscriptions = tuple(self._subscriptions)
        for subscription in subscriptions:
            subscription.offer(envelope)

    @contextlib.contextmanager
    def subscribe(self, filters: Sequence[str]) -> Iterator[Subscription]:
        """Hear of the events that one of the filters lets pass, from now on until the block ends."""
        subscription = Subscription(grammar.parse(filters))
        with self._lock:
            self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            with self._lock:
                self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End all subscriptions."""
        with self._lock:
            for subscription in self._subscriptions:
                subscription.end()


def check_topic(topic: str) -> None:
    """InvalidArgument for a topic that is none, in containerd's words (core/events/exchange)."""
    shown = printable(topic)
    if not topic:
        raise InvalidArgument(f'envelope topic "{shown}": topic must not be empty')
    if not topic.startswith("/"):
        raise InvalidArgument(f"envelope topic \"{shown}\": must start with '/'")
    if not _TOPIC.fullmatch(topic):
        raise InvalidArgument(f'envelope topic "{shown}": every component must be an identifier')


def _adaptor(envelope: Envelope) -> grammar.Adaptor:
    plain = grammar.adaptor({"namespace": envelope.namespace, "topic": envelope.topic}, {})

    def look(path: Sequence[str]) -> str | None:
        return _field(envelope.event, path[1:]) if path[0] == "event" and len(path) > 1 else plain(path)

    return look


def _field(event: Any, path: Sequence[str]) -> str | None:
    """A string field of the event's message; for `labels`, one of them."""
    known = _MESSAGES.get(type_name(event))
    if known is None or path[0] not in known.DESCRIPTOR.fields_by_name:
        return None
    value = getattr(known.FromString(event.value), path[0])
    if isinstance(value, str):
        return value
    labels: dict[str, str] = dict(value) if hasattr(value, "items") else {}
    return labels.get(".".join(path[1:]))
