"""Connections that arrive at a socket which somebody else has bound, handed on to the one that gRPC has bound.

gRPC takes no descriptor from Python. So what a service manager listens on is accepted here, and bytes go back and forth; a
daemon that binds its own address does without.
"""

from __future__ import annotations

import contextlib
import errno
import select
import selectors
import socket
import threading

MOST = 256  # connections at once; one more is closed again
_BUFFER = 128 << 10  # bytes, for each direction of each
_NO_DESCRIPTOR = 0.1  # seconds until another try; the socket stays readable meanwhile


class Relay:
    """Accepts on `listening` until it is closed."""

    def __init__(self, listening: socket.socket, path: str) -> None:
        """`path` is the socket to which connections are handed on."""
        self._listening = listening
        self._path = path
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._wake, self._waker = socket.socketpair()
        listening.setblocking(False)
        self._accepting = threading.Thread(target=self._accept, name="relay", daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Accept no more, and break off what is connected. Whoever bound the socket goes on listening."""
        self._waker.close()
        self._accepting.join()
        self._wake.close()
        with self._lock:
            ends = tuple(self._open)
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._listening.close()  # this process's descriptor of it

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listening, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while self._wake not in [key.fileobj for key, _ in selector.select()]:
                self._accept_one()

    def _accept_one(self) -> None:
        with contextlib.suppress(OSError):  # whoever has gone again
            try:
                client, _ = self._listening.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._wait(_NO_DESCRIPTOR)
                raise
            with self._lock:
                full = len(self._open) >= 2 * MOST
            if full:
                client.close()
                return
            client.setblocking(True)
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._path)
            except OSError:
                client.close()
                server.close()
                raise
            with self._lock:
                self._open |= {client, server}
            done = threading.Barrier(2, action=lambda: self._forget(client, server))
            for source, destination in ((client, server), (server, client)):
                threading.Thread(target=_copy, args=(source, destination, done), name="relay", daemon=True).start()

    def _wait(self, seconds: float) -> None:
        """Until then, or until `close`. By poll(2), which needs no descriptor of its own."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.poll(seconds * 1000)

    def _forget(self, *ends: socket.socket) -> None:
        with self._lock:
            self._open -= set(ends)
        for end in ends:
            end.close()


def _copy(source: socket.socket, destination: socket.socket, done: threading.Barrier) -> None:
    with contextlib.suppress(OSError):
        source.recv(1, socket.MSG_PEEK)  # whoever says nothing gets no buffer
        buffer = memoryview(bytearray(_BUFFER))
        while count := source.recv_into(buffer):
            destination.sendall(buffer[:count])
    with contextlib.suppress(OSError):
        destination.shutdown(socket.SHUT_WR)  # half-closed, as the source is
    done.wait()
