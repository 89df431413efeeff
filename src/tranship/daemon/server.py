"""The daemon: containerd's services over a store, on a unix socket, from `start` to `stop`.

with Store.open(root) as store, Daemon(store, "/run/tranship/tranship.sock") as daemon:
    daemon.wait()
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import tempfile
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NoReturn, Self
from urllib.parse import quote

import grpc

from tranship.containerd.channel import MAX_MESSAGE
from tranship.daemon.address import Address
from tranship.daemon.calls import limited
from tranship.daemon.collector import Collector
from tranship.daemon.events import Events
from tranship.daemon.metrics import Counting, Metrics
from tranship.daemon.relay import Relay
from tranship.daemon.services import containers, diff, health, snapshots, version
from tranship.daemon.services.content import ContentService
from tranship.daemon.services.events import EventsService
from tranship.daemon.services.images import ImagesService
from tranship.daemon.services.introspection import IntrospectionService
from tranship.daemon.services.leases import LeasesService
from tranship.daemon.services.namespaces import NamespacesService
from tranship.daemon.services.streaming import StreamingService
from tranship.daemon.services.transfer import TransferService
from tranship.daemon.streams import Streams
from tranship.errors import NotFound, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tranship.daemon.calls import Route
    from tranship.store import Store

THREADS = 512  # of the pool; an open RPC holds one, and one command of ctr's has up to five
MAX_RPCS = 480  # at once; more are refused with RESOURCE_EXHAUSTED. Below THREADS, so that none waits for a thread
MAX_LASTING = 400  # of those, calls that are streams: whoever subscribes and stays leaves room for whoever only asks
GRACE = 5.0  # seconds for calls that are going on when the daemon stops

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_concurrent_streams", 256),  # of one connection
    ("grpc.http2.lookahead_bytes", 1 << 20),
    ("grpc.server_handshake_timeout_ms", 10_000),  # for whoever connects and says nothing
)
log = logging.getLogger(__name__)


class Daemon:
    """One daemon over one store. It is started once, and stopped once; a context manager does both."""

    def __init__(
        self,
        store: Store,
        address: str | os.PathLike[str] | socket.socket,
        *,
        follow_manifests: bool = False,
        metrics: Metrics | None = None,
    ) -> None:
        """Prepare; nothing is served before `start`.

        address           the path of a socket to make; or one that listens already, handed over by a service manager
        follow_manifests  collection keeps what kept manifests name, though a client lost the labels that say so
        """
        self._store = store
        self._metrics = metrics or Metrics()
        self._follow_manifests = follow_manifests
        self.events = Events()
        self.streams = Streams(self._lease_exists)
        self.collector = Collector(self._collect)
        self._where = address
        self._address: Address | None = None
        self._outside = contextlib.ExitStack()  # what a socket that was handed over needs
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="rpc")
        self._server: grpc.Server | None = None
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """The path of the socket, once started."""
        if isinstance(self._where, socket.socket):
            return str(self._where.getsockname())
        return self._address.path if self._address is not None else ""

    def start(self) -> None:
        """Take the address and serve. FailedPrecondition when another daemon has it; see `Address` for the rest."""
        handed = self._where if isinstance(self._where, socket.socket) else None
        if handed is not None:
            folder = self._outside.enter_context(tempfile.TemporaryDirectory(prefix="tranship-"))
            self._address = Address(os.path.join(folder, "t.sock"))
        else:
            self._address = Address(self._where)  # type: ignore[arg-type]  # the other case is above
        self._metrics.gauges["tranship_streams_open"] = lambda: len(self.streams)
        try:
            self._server = grpc.server(
                self._pool,
                options=_OPTIONS,
                maximum_concurrent_rpcs=MAX_RPCS,
                interceptors=[Counting(self._metrics)],
            )
            self._server.add_generic_rpc_handlers((*_handlers(self.routes()), _Unknown()))
            with self._address.binding() as path:
                self._server.add_insecure_port(f"unix:{quote(path)}")
            self._server.start()
            if handed is not None:
                self._outside.callback(Relay(handed, self._address.path).close)
        except BaseException:
            self._address.release()
            self._outside.close()
            raise
        self.collector.start()
        log.info("serving at %s", self.address)

    def stop(self, grace: float = GRACE) -> None:
        """Refuse new calls, let those that are going on end within `grace` seconds, and give the address back."""
        if self._server is None or self._stopped.is_set():
            return
        stopping = self._server.stop(grace)
        self.events.close()
        self.streams.close(grace)
        stopping.wait()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.collector.stop()
        if self._address is not None:
            self._address.release()
        self._outside.close()
        self._stopped.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Return when the daemon has been stopped: True; or False after `timeout` seconds."""
        return self._stopped.wait(timeout)

    def routes(self) -> list[Route]:
        """Every method that is served."""
        return [
            *version.routes(),
            *health.routes(),
            *snapshots.routes(),
            *diff.routes(),
            *containers.routes(),
            *IntrospectionService(_uuid(self._store)).routes(),
            *NamespacesService(self._store, self.events).routes(),
            *LeasesService(self._store, self.collector).routes(),
            *ImagesService(self._store, self.events, self.collector).routes(),
            *ContentService(self._store, self.events, self.collector).routes(),
            *StreamingService(self.streams).routes(),
            *TransferService(self._store, self.streams, self.events, self.collector, self._metrics).routes(),
            *EventsService(self.events).routes(),
        ]

    def _collect(self) -> None:
        self._store.gc(follow_manifests=self._follow_manifests)
        self.streams.collect()

    def _lease_exists(self, namespace: str, lease: str) -> bool:
        try:
            self._store.namespace(namespace).leases.get(lease)
        except NotFound:
            return False
        return True


def _handlers(routes: Iterable[Route]) -> list[grpc.GenericRpcHandler[Any, Any]]:
    services: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {}
    lasting = threading.Semaphore(MAX_LASTING)
    for route in routes:
        services.setdefault(route.method.service, {})[route.method.name] = limited(route, lasting)
    return [grpc.method_handlers_generic_handler(service, methods) for service, methods in services.items()]


class _Unknown(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs alone
    """Asked last: refuses in containerd's words what nobody serves."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        service, _, method = printable(details.method).strip("/").rpartition("/")

        def refuse(_: object, context: grpc.ServicerContext) -> NoReturn:
            context.abort(
                grpc.StatusCode.UNIMPLEMENTED, f"unknown method {method} for service {service}: not implemented"
            )

        return grpc.stream_stream_rpc_method_handler(refuse)


def _uuid(store: Store) -> str:
    """Known over restarts, without a file of its own: it follows from the machine and the store's folder."""
    found = os.stat(store.root)
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{socket.gethostname()}:{store.root}:{found.st_dev}:{found.st_ino}"))
