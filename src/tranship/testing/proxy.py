"""A TCP proxy on the loopback interface that breaks connections: after so many bytes, in one direction, in several ways.

    with tcp_proxy(registry.host) as proxy:
        proxy.cut(after=1 << 20, direction="down")       # the next connection whose answers come to 1 MiB
        …point a client at proxy.host…
        assert proxy.downloaded == 1 << 20

It knows nothing of what passes, so it serves TLS and any protocol. "Up" is from the client to the server, "down" the other
way. One thread carries all connections.
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Direction = Literal["up", "down"]
Ending = Literal["close", "reset", "stall"]
_CHUNK = 64 * 1024  # bytes
# Bytes that may wait within a socket: what a broken connection loses, which the kernel would let be megabytes.
_BUFFER = 256 * 1024


@dataclass(slots=True)
class _Cut:
    after: int  # bytes of one connection, in that direction
    direction: Direction
    how: Ending
    left: int  # connections to come that it ends; -1: all


@dataclass(slots=True, eq=False)
class _Flow:
    """One direction of one connection: what was read from `source` and must go to `target`."""

    source: socket.socket
    target: socket.socket
    direction: Direction
    moved: int = 0  # bytes
    pending: bytes = b""
    not_before: float = 0.0  # monotonic seconds
    reads: bool = True  # False: the source has ended, or a stall wants no more of it
    ending: Ending | None = None  # what happens when the pending bytes have gone


class Proxy:
    """The proxy at work; `tcp_proxy` starts and ends it.

    delay        seconds that each piece of bytes waits before it goes on
    connections  accepted so far
    """

    def __init__(self, host: str, port: int) -> None:
        self.delay = 0.0
        self.connections = 0
        self._passed: dict[Direction, int] = {"up": 0, "down": 0}
        self._counting = threading.Lock()
        self._target = (host, port)
        self._cuts: list[_Cut] = []
        self._flows: dict[socket.socket, tuple[_Flow, _Flow]] = {}  # socket -> the flow from it, the flow to it
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._woken, self._waker = socket.socketpair()

    @property
    def port(self) -> int:
        """The port to connect to."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`."""
        return f"127.0.0.1:{self.port}"

    @property
    def uploaded(self) -> int:
        """Bytes that went to the server, all connections together."""
        with self._counting:  # what a peer has read is counted
            return self._passed["up"]

    @property
    def downloaded(self) -> int:
        """Bytes that went to the client, all connections together."""
        with self._counting:
            return self._passed["down"]

    def cut(self, *, after: int, direction: Direction = "down", how: Ending = "close", times: int | None = 1) -> None:
        """End each of the next `times` connections (None: all) that moves `after` bytes in that direction, exactly there."""
        self._cuts.append(_Cut(after, direction, how, -1 if times is None else times))

    def mend(self) -> None:
        """Forget every cut that was asked for."""
        self._cuts.clear()

    def run(self) -> None:
        """Carry bytes until `stop`, then close everything."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        while True:
            patience = self._patience()
            events = self._selector.select(patience)
            for key, mask in events:
                if key.fileobj is self._woken:
                    self._close()
                    return
                if key.fileobj is self._listener:
                    self._connect()
                elif isinstance(key.fileobj, socket.socket):
                    self._carry(key.fileobj, mask)
            for sock in tuple(self._flows) if patience is not None else ():
                self._watch(sock)

    def stop(self) -> None:
        """Let `run` end."""
        self._waker.send(b".")

    def _connect(self) -> None:
        client, _ = self._listener.accept()
        self.connections += 1
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            client.close()
            return
        up, down = _Flow(client, server, "up"), _Flow(server, client, "down")
        self._flows[client], self._flows[server] = (up, down), (down, up)
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                sock.setsockopt(socket.SOL_SOCKET, buffer, _BUFFER)
            self._watch(sock)

    def _carry(self, sock: socket.socket, mask: int) -> None:
        if sock not in self._flows:  # closed by an earlier event of this round
            return
        outgoing, incoming = self._flows[sock]
        try:
            if mask & selectors.EVENT_READ:
                self._read(outgoing)
            if mask & selectors.EVENT_WRITE and sock in self._flows:
                self._write(incoming)
        except BlockingIOError:
            pass
        except OSError:
            self._end(sock)
        for end in (outgoing.source, outgoing.target):
            self._watch(end)

    def _read(self, flow: _Flow) -> None:
        data = flow.source.recv(_CHUNK)
        if not data:
            flow.reads = False
            flow.target.shutdown(socket.SHUT_WR)
            _, other = self._flows[flow.source]
            if not other.reads and not other.pending:
                self._end(flow.source)
            return
        flow.not_before = time.monotonic() + self.delay
        for cut in tuple(self._cuts):
            if cut.direction == flow.direction and cut.left and flow.moved + len(data) >= cut.after >= flow.moved:
                cut.left -= cut.left > 0
                data, flow.ending, flow.reads = data[: cut.after - flow.moved], cut.how, False
                break
        flow.pending = data
        if not data:
            self._finish(flow)

    def _write(self, flow: _Flow) -> None:
        with self._counting:
            sent = flow.target.send(flow.pending)
            self._passed[flow.direction] += sent
        flow.pending = flow.pending[sent:]
        flow.moved += sent
        if not flow.pending:
            self._finish(flow)

    def _finish(self, flow: _Flow) -> None:
        if flow.ending in ("close", "reset"):
            self._end(flow.source, reset=flow.ending == "reset")

    def _watch(self, sock: socket.socket) -> None:
        """Register for what can be done now: nothing at all, in a stalled direction."""
        if sock not in self._flows:
            return
        outgoing, incoming = self._flows[sock]
        mask = selectors.EVENT_READ if outgoing.reads and not outgoing.pending else 0
        if incoming.pending and incoming.not_before <= time.monotonic():
            mask |= selectors.EVENT_WRITE
        known = self._selector.get_map().get(sock)
        if known is not None and known.events == mask:
            return
        if known is not None:
            self._selector.unregister(sock)
        if mask:
            self._selector.register(sock, mask)

    def _patience(self) -> float | None:
        """Seconds until the first delayed bytes may go on."""
        now = time.monotonic()
        waiting = [flow.not_before for flow, _ in self._flows.values() if flow.pending and flow.not_before > now]
        return min(waiting) - now if waiting else None

    def _end(self, sock: socket.socket, *, reset: bool = False) -> None:
        if sock not in self._flows:
            return
        outgoing, _ = self._flows[sock]
        for end in (outgoing.source, outgoing.target):
            del self._flows[end]
            if end in self._selector.get_map():
                self._selector.unregister(end)
            if reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()

    def _close(self) -> None:
        for sock in (*self._flows, self._listener, self._woken, self._waker):
            sock.close()
        self._flows.clear()
        self._selector.close()


@contextmanager
def tcp_proxy(target: str) -> Iterator[Proxy]:
    """Run a proxy in front of `HOST:PORT` for the length of the block."""
    host, _, port = target.rpartition(":")
    proxy = Proxy(host, int(port))
    thread = threading.Thread(target=proxy.run, name="tcp proxy", daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join()
