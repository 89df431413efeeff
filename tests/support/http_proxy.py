"""An HTTP proxy for tests: it leads every host to one port of this machine."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading


class ProxyServer:
    """Sends everything to one port of this machine, whatever host it is asked for, and keeps the heads of requests to it.

    With `tls` it is spoken to by TLS itself.
    """

    def __init__(self, port: int, *, refuse: bool = False, tls: ssl.SSLContext | None = None) -> None:
        self.heads: list[str] = []
        self._tls = tls
        self._port = port
        self._refuse = refuse
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> ProxyServer:
        self._start(self._accept)
        return self

    def __exit__(self, *_args: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _start(self, work: object, *args: object) -> None:
        thread = threading.Thread(target=work, args=args)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._start(self._serve, self._listener.accept()[0])

    def _serve(self, sock: socket.socket) -> None:
        if self._tls is not None:
            try:
                sock = self._tls.wrap_socket(sock, server_side=True)
            except OSError:  # it does not trust us
                sock.close()
                return
        with sock, socket.create_connection(("127.0.0.1", self._port)) as onward:
            head = b""
            while b"\r\n\r\n" not in head:
                head += sock.recv(4096)
            self.heads.append(head.decode())
            if self._refuse:
                sock.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            if head.startswith(b"CONNECT "):
                sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:  # "GET http://host:port/path" becomes "GET /path", and the connection ends with its answer
                line, _, rest = head.partition(b"\r\n")
                method, url, version = line.split()
                fields = [field for field in rest.split(b"\r\n") if not field.lower().startswith(b"proxy-")]
                path = b"/" + url.split(b"/", 3)[3]
                onward.sendall(b"\r\n".join([b" ".join([method, path, version]), b"Connection: close", *fields]))
            with contextlib.suppress(OSError):
                _pour(sock, onward)


def _pour(one: socket.socket, other: socket.socket) -> None:
    """Pass on what either side sends, until one has ended: in one thread, since TLS is nothing that two may use at once."""
    while True:
        waiting = isinstance(one, ssl.SSLSocket) and one.pending()
        for source in [one] if waiting else select.select([one, other], [], [])[0]:
            data = source.recv(65536)
            if not data:
                return
            (other if source is one else one).sendall(data)
