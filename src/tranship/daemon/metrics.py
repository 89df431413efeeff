"""Figures for Prometheus, in its text format, on a loopback address or a unix socket, when asked for.

Counting costs an addition; what can be looked up is looked up when somebody asks.
"""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import grpc

from tranship.containerd.methods import methods
from tranship.daemon.address import Address
from tranship.errors import InvalidArgument, TranshipError, printable
from tranship.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READERS = 16  # of the figures, at once
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HELP = {
    "tranship_build_info": ("gauge", "The version that runs."),
    "tranship_rpcs_total": ("counter", "Calls that came in, by method."),
    "tranship_transfers_total": (
        "counter",
        "Transfers that have ended, by operation and result (ok, or a code of gRPC).",
    ),
    "tranship_transfer_seconds_total": ("counter", "Seconds that those took, by operation."),
    "tranship_transfer_bytes_total": ("counter", "Bytes that transfers brought to their destinations, by operation."),
    "tranship_transfers_running": ("gauge", "Transfers that are going on."),
    "tranship_streams_open": ("gauge", "Streams that clients have open."),
    "tranship_memory_bytes": ("gauge", "Resident memory of the process."),
    "tranship_threads": ("gauge", "Threads of the process."),
}
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """The figures of one daemon."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Labels], float] = defaultdict(float)
        self._lock = threading.Lock()
        self.gauges: dict[str, Callable[[], float]] = {
            "tranship_memory_bytes": _memory,
            "tranship_threads": threading.active_count,
        }
        self.add("tranship_build_info", 1, version=__version__)

    def add(self, name: str, value: float, **labels: str) -> None:
        """Count."""
        with self._lock:
            self._counts[name, tuple(sorted(labels.items()))] += value

    @contextlib.contextmanager
    def transfer(self, operation: str) -> Iterator[None]:
        """Count a transfer, its seconds, and how it ends."""
        started, result = time.monotonic(), "ok"
        self.add("tranship_transfers_running", 1)
        try:
            yield
        except TranshipError as error:
            result = error.code
            raise
        except BaseException:
            result = "INTERNAL"
            raise
        finally:
            self.add("tranship_transfers_running", -1)
            self.add("tranship_transfers_total", 1, operation=operation, result=result)
            self.add("tranship_transfer_seconds_total", time.monotonic() - started, operation=operation)

    def text(self) -> str:
        """All of them, as Prometheus reads them."""
        with self._lock:
            values = dict(self._counts)
        values |= {(name, ()): look() for name, look in self.gauges.items()}
        lines = []
        for name, (kind, told) in _HELP.items():
            lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}"]
            for (_, labels), value in sorted(item for item in values.items() if item[0][0] == name):
                said = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
                lines.append(f"{name}{{{said}}} {value:.15g}" if said else f"{name} {value:.15g}")
        return "\n".join(lines) + "\n"


class Counting(grpc.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    """Counts calls on their way to their method."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._known = frozenset(methods())

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        """Count, and go on. A name of a client's invention is counted as unknown."""
        method = details.method if details.method in self._known else "unknown"
        self._metrics.add("tranship_rpcs_total", 1, method=method)
        return continuation(details)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _memory() -> float:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return float(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        import resource

        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


# -------------------------------------------------------------------------------------------------------------- the page


class _Few(socketserver.ThreadingMixIn):
    """A thread for each connection, and at most READERS of them: any user of the machine may connect to a port."""

    daemon_threads = True
    _free = threading.Semaphore(READERS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)  # type: ignore[attr-defined]  # of the server that this is mixed into

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()


@contextlib.contextmanager
def served(metrics: Metrics, address: str) -> Iterator[str]:
    """Serve the figures at `HOST:PORT` of the loopback interface, or at the path of a unix socket; where it is."""

    class Handler(BaseHTTPRequestHandler):
        server_version = f"tranship/{__version__}"
        timeout = 10.0

        def do_GET(self) -> None:
            found = self.path.partition("?")[0] in ("/metrics", "/")
            body = metrics.text().encode() if found else b"there is /metrics\n"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", _CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "client"

        def log_message(self, *_: object) -> None:
            pass

    with contextlib.ExitStack() as stack:
        server = _bound(address, Handler, stack)
        stack.callback(server.server_close)
        thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        yield address if "/" in address else "{}:{}".format(*server.server_address[:2])


def _bound(address: str, handler: type[BaseHTTPRequestHandler], stack: contextlib.ExitStack) -> Any:
    if "/" in address:

        class Unix(_Few, socketserver.UnixStreamServer):
            pass

        with stack.enter_context(Address(address)).binding() as path:
            return Unix(path, handler)
    host, colon, port = address.rpartition(":")
    try:
        places = socket.getaddrinfo(host.strip("[]") or "localhost", int(port), type=socket.SOCK_STREAM)
    except (ValueError, OSError):
        places = []
    if not colon or not places:
        raise InvalidArgument(f"{printable(repr(address))} is no HOST:PORT and no path of a socket")
    family, _, _, _, where = places[0]
    if not str(where[0]).startswith("127.") and where[0] != "::1":
        raise InvalidArgument(
            f"the figures are for this machine: {printable(address)} is no loopback address",
            hint="127.0.0.1:9464, or the path of a socket",
        )

    class Tcp(_Few, socketserver.TCPServer):
        allow_reuse_address = True
        address_family = family

    return Tcp((str(where[0]), int(where[1])), handler)
