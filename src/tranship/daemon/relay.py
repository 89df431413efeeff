"""Connections that arrive at a socket which somebody else has bound, handed on to the one that gRPC has bound.

gRPC takes no descriptor from Python. So what a service manager listens on is accepted here, and bytes go back and forth; a
daemon that binds its own address does without.
"""

from __future__ import annotations

import contextlib
import socket
import threading

_BUFFER = 256 << 10  # bytes


class Relay:
    """Accepts on `listening` until it is closed."""

    def __init__(self, listening: socket.socket, path: str) -> None:
        """`path` is the socket to which connections are handed on."""
        self._listening = listening
        self._path = path
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def close(self) -> None:
        """Accept no more, and break off what is connected."""
        with self._lock:
            self._closed = True
            ends = [self._listening, *self._open]
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._path)
            except OSError:
                client.close()
                server.close()
                continue
            with self._lock:
                self._open |= {client, server}
            done = threading.Barrier(2, action=lambda pair=(client, server): self._forget(pair))  # type: ignore[misc]
            for source, destination in ((client, server), (server, client)):
                threading.Thread(target=_copy, args=(source, destination, done), name="relay", daemon=True).start()

    def _forget(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            self._open -= set(pair)
        for end in pair:
            end.close()


def _copy(source: socket.socket, destination: socket.socket, done: threading.Barrier) -> None:
    buffer = memoryview(bytearray(_BUFFER))
    with contextlib.suppress(OSError):
        while count := source.recv_into(buffer):
            destination.sendall(buffer[:count])
    with contextlib.suppress(OSError):
        destination.shutdown(socket.SHUT_WR)  # half-closed, as the source is
    done.wait()
