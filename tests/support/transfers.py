"""A client of the Transfer service that works like ctr: it opens streams, names them in a request, and waits for the answer.

Nothing of our own client for whole transfers is used here, so that the two can be wrong independently.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tranship.containerd import progress
from tranship.containerd.ends import transfer_request
from tranship.containerd.methods import Transfer
from tranship.containerd.streams import ByteReader, ByteWriter, ClientStream
from tranship.containerd.wire import WireEnd, WireExportStream, WireImageStore, WireImportStream, WireRegistry
from tranship.errors import TranshipError
from tranship.model.naming import ExtraName
from tranship.pump import pump

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tranship.containerd.channel import Channel
    from tranship.engine.progress import Progress

NAMED = (ExtraName(name="import-2026-11-24", is_prefix=True, allow_overwrite=True),)  # what ctr sends without a name
_ids = itertools.count()


class Transfers:
    """One client in one namespace. `events` are those of its last transfer."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.events: list[Progress] = []

    @contextlib.contextmanager
    def stream(self) -> Iterator[ClientStream]:
        with ClientStream(self.channel, f"s{next(_ids)}") as stream:
            yield stream

    def transfer(self, source: WireEnd, destination: WireEnd) -> list[str]:
        """Run a transfer to its end, and to the end of its progress; the words of its events."""
        with self.stream() as stream, ThreadPoolExecutor(1) as pool:
            heard = pool.submit(self._hear, stream)
            try:
                self.channel.unary(Transfer.TRANSFER, transfer_request(source, destination, stream.id))
            finally:
                self.events = heard.result(30)
        return [event.event for event in self.events]

    def start(self, source: WireEnd, destination: WireEnd) -> Future[None]:
        """Begin a transfer without progress, in a thread of its own."""
        done: Future[None] = Future()

        def run() -> None:
            try:
                self.channel.unary(Transfer.TRANSFER, transfer_request(source, destination))
                done.set_result(None)
            except BaseException as error:
                done.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return done

    def _hear(self, stream: ClientStream) -> list[Progress]:
        heard = []
        while (message := stream.receive()) is not None:
            heard.append(progress.decode(message))
        return heard

    # -------------------------------------------------------------------------------------------------------- the verbs

    def export(self, *names: str, source: WireEnd | None = None, **options: Any) -> bytes:
        """The archive's bytes, as they are when the answer comes: nothing is read after it."""
        source = source or WireImageStore(extra_references=tuple(ExtraName(name=name) for name in names))
        arrived = io.BytesIO()
        with self.stream() as stream:
            thread = threading.Thread(target=self._receive, args=(stream, arrived))
            thread.start()
            try:
                self.transfer(source, WireExportStream(stream=stream.id, **options))
            finally:
                whole = arrived.getvalue()
                stream.cancel()
                thread.join(30)
        return whole

    @staticmethod
    def _receive(stream: ClientStream, arrived: io.BytesIO) -> None:
        with contextlib.suppress(TranshipError):
            pump(ByteReader(stream), arrived.write)

    def load(self, data: bytes, destination: WireEnd | None = None, **options: Any) -> list[str]:
        """Import an archive; the words of the events."""
        destination = destination or WireImageStore(extra_references=NAMED)
        with self.stream() as stream:
            thread = threading.Thread(target=self._send, args=(stream, data))
            thread.start()
            try:
                return self.transfer(WireImportStream(stream=stream.id, **options), destination)
            finally:
                stream.cancel()
                thread.join(30)

    @staticmethod
    def _send(stream: ClientStream, data: bytes) -> None:
        with contextlib.suppress(TranshipError):
            writing = ByteWriter(stream)
            writing.write(data)
            writing.finish()

    @contextlib.contextmanager
    def answering(self, answer: Callable[[Any], Any]) -> Iterator[tuple[str, list[Any]]]:
        """An auth stream on which each question gets `answer(question)`, or none at all for None; its id, and the questions."""
        from tranship.containerd.credentials import decode_question

        asked: list[Any] = []
        with self.stream() as stream:

            def listen() -> None:
                with contextlib.suppress(TranshipError):
                    while (message := stream.receive()) is not None:
                        asked.append(decode_question(message))
                        reply = answer(asked[-1])
                        if reply is not None:
                            stream.send(reply)

            thread = threading.Thread(target=listen, daemon=True)
            thread.start()
            yield stream.id, asked
            stream.cancel()
            thread.join(30)


def registry(host: str, name: str, **options: Any) -> WireRegistry:
    return WireRegistry(reference=f"{host}/{name}", default_scheme="http", **options)
