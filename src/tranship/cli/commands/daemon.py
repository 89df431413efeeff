"""Serve containerd's API on a unix socket over the same store that the other commands use: to ctr and any client of containerd.

Its log goes to stderr. SIGTERM and SIGINT end it when the calls that are going on have ended, or after some seconds; a second
one ends it at once. A service manager is told when it is ready (NOTIFY_SOCKET), and may hand over the socket (LISTEN_FDS).
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from tranship.cli import options
from tranship.errors import Unsupported

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterator, Mapping

_M_ARENA_MAX = -8  # malloc.h
EXAMPLES = """
  tranship daemon
  ctr --address /run/tranship/tranship.sock images ls
  tranship daemon --address /run/user/1000/t.sock --metrics 127.0.0.1:9464 --log-format json
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    group = parser.add_argument_group("serving")
    group.add_argument(
        "--address",
        metavar="SOCKET",
        help="the socket's path (else TRANSHIP_ADDRESS, else root's /run/tranship/tranship.sock, or the user's own)",
    )
    group.add_argument(
        "--metrics",
        metavar="ADDRESS",
        help="figures for Prometheus, at HOST:PORT of this machine or at a socket's path",
    )
    group.add_argument("--log-format", choices=("text", "json"), default="text", help="key=value pairs, or JSON lines")
    group.add_argument(
        "--grace", metavar="SECONDS", type=float, default=5.0, help="for calls that are going on at the end"
    )
    store = parser.add_argument_group("the store")
    store.add_argument("--durability", choices=("full", "process"), default="full", help="what survives a power cut")
    store.add_argument("--sharing", choices=("shared", "isolated"), default="shared", help="of content by namespaces")
    store.add_argument(
        "--follow-manifests", action="store_true", help="collection keeps what kept manifests name, whatever labels say"
    )
    options.common(parser)


def default_address(environ: Mapping[str, str], uid: int) -> str:
    """Where it listens when nobody says."""
    if environ.get("TRANSHIP_ADDRESS"):
        return environ["TRANSHIP_ADDRESS"]
    if uid == 0:
        return "/run/tranship/tranship.sock"
    return os.path.join(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}", "tranship", "tranship.sock")


def run(args: Namespace) -> int:
    """Serve until a signal says that it is enough."""
    try:
        import grpc
    except ImportError:
        raise Unsupported("the daemon needs grpcio", hint="pip install 'tranship[daemon]'") from None
    from tranship.daemon import logs, metrics, notify
    from tranship.daemon.server import Daemon
    from tranship.endpoints.store import Store

    del grpc
    _open_many_files()
    _share_arenas()
    level = logging.DEBUG if args.debug else logging.WARNING if args.quiet else logging.INFO
    logs.set_up(sys.stderr, level, args.log_format)
    log = logging.getLogger("tranship.daemon")
    figures = metrics.Metrics()
    address: Any = notify.inherited(os.environ) or args.address or default_address(os.environ, os.getuid())
    value = Store(root=args.root, durability=args.durability, sharing=args.sharing)
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(value.open())
        asked = stack.enter_context(_stop_signals())
        daemon = Daemon(store, address, follow_manifests=args.follow_manifests, metrics=figures)
        if args.metrics:
            # Before anybody is served: a unix socket is bound under another umask, which is the whole process's.
            where = stack.enter_context(metrics.served(figures, args.metrics))
            log.info("figures", extra={"fields": {"address": where}})
        daemon.start()
        stack.callback(daemon.stop, args.grace)
        fields = {"address": daemon.address, "root": store.root, "pid": os.getpid()}
        log.info("ready", extra={"fields": fields})
        notify.notify(f"READY=1\nMAINPID={os.getpid()}", os.environ)
        asked()
        log.info("stopping")
        notify.notify("STOPPING=1", os.environ)
    log.info("stopped")
    return 0


def _open_many_files() -> None:
    """A call may hold three, and the usual limit for a process that does not ask is 1,024."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS gives less than it names
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _share_arenas() -> None:
    """Let threads share what malloc has free: glibc gives them up to eight arenas for each core, each with room of its own."""
    import ctypes

    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


@contextlib.contextmanager
def _stop_signals() -> Iterator[Callable[[], object]]:
    """Within it, what it gives waits for the first SIGTERM or SIGINT; the second ends the process as it always does.

    Python runs handlers in the main thread alone, and does not wake it for a signal that another thread has taken; the byte
    that every signal writes does.
    """

    def heard(_number: int, _frame: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)

    numbers = (signal.SIGTERM, signal.SIGINT)
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        woken = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, heard) for number in numbers}
        try:
            yield lambda: reader.recv(1)
        finally:
            signal.set_wakeup_fd(woken)
            for number, handler in before.items():
                signal.signal(number, handler)
