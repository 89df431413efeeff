"""The ends of a client's transfer as endpoints: over the daemon's open store, and over streams that the client has opened."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, assert_never

from tranship.containerd.mapping import naming_of, registry_of
from tranship.containerd.streams import ByteReader, ByteWriter
from tranship.containerd.wire import WireExportStream, WireImageStore, WireImportStream, WireRegistry
from tranship.daemon.asking import Asking, nobody
from tranship.daemon.calls import ours
from tranship.endpoints.archive import Archive
from tranship.endpoints.store import Store
from tranship.errors import Cancelled, InvalidArgument, NotFound, printable
from tranship.formats.stream_window import LARGE_CHUNK, Sender

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tranship.daemon.calls import Call
    from tranship.daemon.streams import OpenStream, Streams, WindowBudget
    from tranship.endpoints.registry import Registry
    from tranship.engine.protocols import Readable, Writable
    from tranship.model.descriptor import Descriptor
    from tranship.store import NamespaceView
    from tranship.store import Store as OpenStore

HOLD_BACK = 30.0  # seconds in which a client that has stopped reading may still show that it has everything

Source = WireRegistry | WireImageStore | WireImportStream
Destination = WireRegistry | WireImageStore | WireExportStream


class Ends:
    """Opens what the two ends of one request name, for as long as a stack of contexts lasts."""

    def __init__(
        self, store: OpenStore, streams: Streams, windows: WindowBudget, call: Call, stack: contextlib.ExitStack
    ) -> None:
        self.space: NamespaceView = store.namespace(call.namespace)
        self._store = store
        self._streams = streams
        self._windows = windows
        self._call = call
        self._stack = stack

    def source(self, end: Source, destination: Destination) -> Readable:
        """The end to read from."""
        match end:
            case WireRegistry():
                return self._registry(end)
            case WireImageStore():
                return Store(self._chosen(end), namespace=self.space.name, opened=self._store)
            case WireImportStream():
                names = naming_of(destination).outright if isinstance(destination, WireImageStore) else ()
                return Archive(self.reader(end, whole=True), index_names=names, compress_layers=end.force_compress)
            case _:
                assert_never(end)

    def destination(self, end: Destination, source: Source) -> Writable:
        """The end to write to."""
        match end:
            case WireRegistry():
                return self._registry(end)
            case WireImageStore():
                naming = naming_of(end)
                if not isinstance(source, WireImportStream) and not naming.outright:
                    raise NotFound("no image name found")
                return Store(
                    () if isinstance(source, WireImportStream) else naming.outright,
                    namespace=self.space.name,
                    naming=naming,
                    labels=end.labels,
                    opened=self._store,
                    lease=self._call.lease,
                )
            case WireExportStream():
                return Archive(
                    self.writer(end),
                    docker_manifest=not end.skip_compatibility_manifest,
                    origins=self._labels,
                )
            case _:
                assert_never(end)

    def reader(self, end: WireImportStream, *, whole: bool = False) -> ByteReader:
        """The bytes that the client sends; `whole` as for a ByteReader."""
        stream = self.stream(end.stream, tells=True)
        return ByteReader(stream, self._stack.enter_context(self._windows.window()), whole=whole)

    def writer(self, end: WireExportStream, *, pad: bool = True) -> ByteWriter:
        """Bytes for the client, which has them all when the stack has been left without an error."""
        stream = self.stream(end.stream, tells=True)
        return self._stack.enter_context(_held_back(stream, pad=pad))

    def stream(self, stream_id: str, *, tells: bool = False) -> OpenStream:
        """A stream that the client has opened. It is closed in the end, or at once when the call is given up.

        tells  its client sees from the stream itself why a transfer has failed
        """
        return self._stack.enter_context(self._used(self._streams.get(self._call.namespace, stream_id), tells=tells))

    @contextlib.contextmanager
    def _used(self, stream: OpenStream, *, tells: bool) -> Iterator[OpenStream]:
        self._call.on_end(stream.close)  # whoever waits for its next message waits no longer
        try:
            yield stream
        except Exception as error:  # of the system too: an end with OK would pass for the end of the archive
            stream.close(ours(error, "the transfer") if tells else None)
            raise
        finally:
            stream.close()

    def _registry(self, end: WireRegistry) -> Registry:
        if end.http_debug and end.logs_stream:
            self.stream(end.logs_stream)
        return registry_of(end, Asking(self.stream(end.auth_stream), end.reference) if end.auth_stream else nobody)

    def _chosen(self, end: WireImageStore) -> tuple[str, ...]:
        """The images that are meant, by their exact names; of a prefix, all that begin with it."""
        chosen = [self.space.images.get(end.name).name] if end.name else []
        for rule in end.extra_references:
            if not rule.is_prefix:
                chosen.append(self.space.images.get(rule.name).name)
                continue
            found = [image.name for image in self.space.images.list() if _is_below(image.name, rule.name)]
            if not found:
                raise NotFound(f'no image has a name below "{printable(rule.name)}"')
            chosen += found
        if not chosen:
            raise InvalidArgument("the source names no image")
        return tuple(dict.fromkeys(chosen))

    def _labels(self, descriptor: Descriptor) -> Mapping[str, str]:
        with contextlib.suppress(NotFound):  # of a registry's image
            return self.space.content.info(descriptor.digest).labels
        return {}


def _is_below(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and (prefix.endswith("/") or name[len(prefix) : len(prefix) + 1] in ("", *"/:@"))


@contextlib.contextmanager
def _held_back(stream: OpenStream, *, pad: bool) -> Iterator[ByteWriter]:
    """A writer for an archive. The block ends when the client must have it all, or has proven nothing for some time.

    containerd answers at once, and ctr cuts the archive off where its file happens to be then.
    """
    writer = ByteWriter(stream, Sender(LARGE_CHUNK, overdraft=True))
    yield writer
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        stream.close()

    timer = threading.Timer(HOLD_BACK, expire)
    timer.daemon = True
    timer.start()
    try:
        writer.finish(pad=pad)
    except Cancelled:
        if not expired.is_set():  # it was the client who went away
            raise
    finally:
        timer.cancel()
