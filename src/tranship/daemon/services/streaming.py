"""The Streaming service: a client opens a stream, names it, and is told that the name is known."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from tranship._api.services.streaming.v1.streaming_pb2 import StreamInit
from tranship._api.wellknown import Any, Empty
from tranship.containerd.codec import decode_any, pack, text, unpack
from tranship.containerd.methods import Streaming
from tranship.daemon.calls import Route, stream
from tranship.daemon.streams import OpenStream, Streams
from tranship.errors import DeadlineExceeded, InvalidArgument, TranshipError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tranship.daemon.calls import Call

FIRST_MESSAGE = 10.0  # seconds for it to come


class StreamingService:
    """Over the daemon's open streams."""

    def __init__(self, streams: Streams, first_message: float = FIRST_MESSAGE) -> None:
        self._streams = streams
        self._first_message = first_message

    def routes(self) -> list[Route]:
        """What serves the methods."""
        return [stream(Streaming.STREAM, self._stream, decode_any)]

    def _stream(self, requests: Iterator[Any], call: Call) -> Iterator[Any | bytes]:
        """Register, acknowledge, and then pass on what the daemon sends until one side ends the stream."""
        opening = self._first(requests)
        opened = OpenStream(call.namespace_or_none, text(opening.id, "id"), call.lease, requests)
        self._streams.register(opened)
        try:
            call.on_end(opened.close)
            yield pack(Empty())
            yield from opened.outgoing()
        finally:
            self._streams.drop(opened)
            opened.close()

    def _first(self, requests: Iterator[Any]) -> StreamInit:
        """The first message. It is read in a thread that the wait can be given up on."""
        arrived: queue.SimpleQueue[Any | TranshipError | None] = queue.SimpleQueue()

        def read() -> None:
            try:
                arrived.put(next(requests, None))
            except TranshipError as error:
                arrived.put(error)

        threading.Thread(target=read, name="first message", daemon=True).start()
        try:
            first = arrived.get(timeout=self._first_message)
        except queue.Empty:
            raise DeadlineExceeded(f"no first message came within {self._first_message:g} seconds") from None
        if first is None:
            raise InvalidArgument("the stream ended before its first message")
        if isinstance(first, TranshipError):
            raise first
        return unpack(first, StreamInit)
