"""The Transfer service: containerd's one operation, over our engine.

    from, to       image store   registry   export stream
    registry       pull          copy       copy
    image store    tag           push       export
    import stream  import        copy       echo

containerd answers "not implemented" to what is called a copy here. A request names streams that its client has opened: for the
archive's bytes, for questions about credentials, for progress. All of them are closed when the transfer has ended, in whatever
way, before its answer goes out; and an answer that says "done" goes out when the client has the bytes.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

from tranship._api.events import content_pb2, image_pb2
from tranship._api.wellknown import Empty
from tranship.containerd.codec import url
from tranship.containerd.ends import decode_end
from tranship.containerd.mapping import naming_of, selection_of
from tranship.containerd.methods import Transfer
from tranship.containerd.progress import Wording
from tranship.containerd.wire import WireExportStream, WireImageStore, WireImportStream, WireRegistry
from tranship.daemon.calls import Route, unary
from tranship.daemon.ends import Ends
from tranship.daemon.streams import WindowBudget
from tranship.daemon.telling import Telling
from tranship.engine.progress import Progress, Stage, operation
from tranship.engine.transfer import transfer
from tranship.errors import Cancelled, NotFound, TranshipError, Unsupported
from tranship.pump import pump
from tranship.store import Image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tranship._api.services.transfer.v1 import transfer_pb2 as pb
    from tranship.daemon.calls import Call
    from tranship.daemon.collector import Collector
    from tranship.daemon.ends import Destination, Source
    from tranship.daemon.events import Events
    from tranship.daemon.metrics import Metrics
    from tranship.daemon.streams import OpenStream, Streams
    from tranship.store import Store

log = logging.getLogger(__name__)
_KINDS = {WireRegistry: "registry", WireImageStore: "store", WireImportStream: "archive", WireExportStream: "archive"}


class TransferService:
    """Over the daemon's store and its clients' streams."""

    def __init__(self, store: Store, streams: Streams, events: Events, collector: Collector, metrics: Metrics) -> None:
        self._metrics = metrics
        self._store = store
        self._streams = streams
        self._events = events
        self._collector = collector
        self._windows = WindowBudget()

    def routes(self) -> list[Route]:
        """What serves the methods."""
        return [unary(Transfer.TRANSFER, self._transfer)]

    def _transfer(self, request: pb.TransferRequest, call: Call) -> Empty:
        with self._streams.in_use(), contextlib.ExitStack() as stack:
            ends = Ends(self._store, self._streams, self._windows, call, stack)
            stream = request.options.progress_stream
            progress = ends.stream(stream) if stream else None
            source, destination = decode_end(request.source, "source"), decode_end(request.destination, "destination")
            if isinstance(source, WireExportStream) or isinstance(destination, WireImportStream):
                raise Unsupported(
                    f"method Transfer not implemented for {url(request.source)} to {url(request.destination)}"
                )
            word = _word(source, destination)
            with self._metrics.transfer(word), _logged(word, source, destination, call):
                match source, destination:
                    case WireImageStore(), WireImageStore():
                        self._tag(source, destination, ends, call)
                    case WireImportStream(), WireExportStream():
                        self._echo(source, destination, ends)
                    case _:
                        self._move(source, destination, ends, call, progress)
                stack.close()  # it is done when the client has everything
        return Empty()

    def _echo(self, source: WireImportStream, destination: WireExportStream, ends: Ends) -> None:
        """Send the bytes back as they come. Nobody looks at them: clients try their streams by this."""
        reader, writer = ends.reader(source), ends.writer(destination, pad=False)

        def write(chunk: memoryview) -> None:
            writer.write(chunk)
            writer.flush()

        pump(reader, write)

    def _tag(self, source: WireImageStore, destination: WireImageStore, ends: Ends, call: Call) -> None:
        """Give an image further names. Its content is not looked at, and names that exist are moved, as by containerd."""
        target = ends.space.images.get(source.name).target
        names = naming_of(destination).of_top(target)
        if not names:
            raise NotFound("no image name found")
        ends.space.images.put_all(Image(name, target, destination.labels) for name in names)
        self._tell_of_images(names, call)

    def _move(
        self, source: Source, destination: Destination, ends: Ends, call: Call, stream: OpenStream | None
    ) -> None:
        both = (source, destination)
        word = _word(source, destination)
        reporter = Telling(
            Wording(
                word,
                reference=next((end.reference for end in both if isinstance(end, WireRegistry)), ""),
                image=next((end.name for end in both if isinstance(end, WireImageStore)), ""),
            ),
            stream,
        )
        try:
            summary = transfer(
                ends.source(source, destination),
                ends.destination(destination, source),
                selection=selection_of(source, destination),
                reporter=reporter,
                cancel=call.token,
            )
        except TranshipError as error:
            if not reporter.ended:
                stage = Stage.CANCELLED if isinstance(error, Cancelled) else Stage.FAILED
                reporter.report(Progress(stage=stage, event=f"{stage.value.capitalize()} {word}", reason=error.message))
            reporter.flush()
            raise
        finally:
            brought = sum(descriptor.size for descriptor in reporter.brought)
            self._metrics.add("tranship_transfer_bytes_total", brought, operation=word)
            if isinstance(destination, WireImageStore):
                self._tell_of_content(reporter, call)
        if isinstance(destination, WireImageStore):
            self._tell_of_images((root.name for root in summary.roots if root.name and root.subject is None), call)
        reporter.flush()

    # ------------------------------------------------------------------------------------------------------------ events

    def _tell_of_content(self, reporter: Telling, call: Call) -> None:
        for descriptor in reporter.brought:
            event = content_pb2.ContentCreate(digest=descriptor.digest, size=descriptor.size)
            self._events.publish(call.namespace, "/content/create", event)
            self._collector.changed()
        if call.lease is None:  # the transfer's own is gone now
            self._collector.deleted()

    def _tell_of_images(self, names: Iterable[str], call: Call) -> None:
        images = self._store.namespace(call.namespace).images
        for name in names:
            with contextlib.suppress(NotFound):  # somebody was quick to remove it
                image = images.get(name)
                labels = dict(image.labels)
                if image.created_at == image.updated_at:
                    self._events.publish(
                        call.namespace, "/images/create", image_pb2.ImageCreate(name=name, labels=labels)
                    )
                else:
                    self._events.publish(
                        call.namespace, "/images/update", image_pb2.ImageUpdate(name=name, labels=labels)
                    )
                self._collector.changed()


def _word(source: Source, destination: Destination) -> str:
    """What the transfer is called."""
    if isinstance(source, WireImportStream) and isinstance(destination, WireExportStream):
        return "echo"
    return operation(_KINDS[type(source)], _KINDS[type(destination)])


@contextlib.contextmanager
def _logged(word: str, source: Source, destination: Destination, call: Call) -> Iterator[None]:
    """Write down what was asked for, and how it ended."""
    started = time.monotonic()
    fields: dict[str, object] = {"namespace": call.namespace, "operation": word}
    fields |= {"from": _named(source), "to": _named(destination)}
    try:
        yield
    except TranshipError as error:
        fields |= {"seconds": time.monotonic() - started, "code": error.code, "error": error.message}
        log.warning("transfer failed", extra={"fields": fields})
        raise
    log.info("transfer done", extra={"fields": fields | {"seconds": time.monotonic() - started}})


def _named(end: Source | Destination) -> str:
    match end:
        case WireRegistry():
            return end.reference
        case WireImageStore():
            return ",".join(filter(None, (end.name, *(rule.name for rule in end.extra_references))))
    return "stream"
