"""A connection to a containerd, or to a tranship daemon, over its unix socket; calls go by the method table.

    with Channel("/run/containerd/containerd.sock", namespace="default") as channel:
        version = channel.unary(Version.VERSION, Empty())
        with channel.stream(Streaming.STREAM) as call:
            call.send(pack(StreamInit(id="x")))
            for answer in call: ...

grpcio is imported on the first connection. What a server answers is raised as an error of ours.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar
from urllib.parse import quote

from tranship.containerd.outbox import Outbox
from tranship.containerd.status import from_status
from tranship.errors import Cancelled, PermissionDenied, TranshipError, Unavailable, Unsupported, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

    from tranship.containerd.methods import ServerStream, Stream, Unary

MAX_MESSAGE = 16 << 20  # bytes; containerd's limit on both sides (defaults/defaults.go)
NAMESPACE, LEASE = "containerd-namespace", "containerd-lease"  # metadata keys
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a new Channel connects anew instead of waiting out another one's back-off
    ("grpc.http2.lookahead_bytes", 4 << 20),  # of one stream; the default of 64 KiB makes large messages wait
)
Q = TypeVar("Q", bound="Message")
R = TypeVar("R", bound="Message")


class Channel:
    """A lazy connection: nothing is sent before the first call. Its methods may be called from several threads."""

    def __init__(
        self, address: str | os.PathLike[str], *, namespace: str = "default", lease: str | None = None
    ) -> None:
        """`address` is the path of the socket, with or without `unix://`; calls carry the namespace and the lease."""
        self.address = os.path.abspath(os.fspath(address).removeprefix("unix://"))
        self.namespace = namespace
        self.lease = lease
        self._connection = _connect(self.address)

    def with_lease(self, lease: str | None) -> Channel:
        """The same connection, whose calls carry this lease. Closing either closes both."""
        other = object.__new__(Channel)
        other.address, other.namespace, other.lease = self.address, self.namespace, lease
        other._connection = self._connection
        return other

    def close(self) -> None:
        """End the connection and all calls on it."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def unary(self, method: Unary[Q, R], request: Q, *, timeout: float | None = None) -> R:
        """One request, one answer; `timeout` in seconds."""
        import grpc

        call = self._connection.unary_unary(method.path, _encode, method.response.FromString)
        try:
            answer: R = call(request, metadata=self._metadata(), timeout=timeout)
        except grpc.RpcError as error:
            raise self._error(error) from None
        return answer

    def begin(self, method: Unary[Q, R], request: Q) -> Pending[R]:
        """One request whose answer is not waited for here, and may be given up."""
        call = self._connection.unary_unary(method.path, _encode, method.response.FromString)
        return Pending(self, call.future(request, metadata=self._metadata()))

    def server_stream(self, method: ServerStream[Q, R], request: Q, *, timeout: float | None = None) -> Call[Q, R]:
        """One request; iterate over the answers."""
        start = self._connection.unary_stream(method.path, _encode, method.response.FromString)
        return Call(self, start(request, metadata=self._metadata(), timeout=timeout), None)

    def stream(self, method: Stream[Q, R], *, timeout: float | None = None) -> Call[Q, R]:
        """Send requests with `send`, and iterate over the answers."""
        requests: Outbox[Q] = Outbox()
        start = self._connection.stream_stream(method.path, _encode, method.response.FromString)
        call = start(iter(requests), metadata=self._metadata(), timeout=timeout)
        call.add_done_callback(lambda _: requests.end())  # lets go of the thread that takes them
        return Call(self, call, requests)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        lease = ((LEASE, self.lease),) if self.lease else ()
        return ((NAMESPACE, self.namespace), *lease)

    def _error(self, error: Any) -> TranshipError:
        code, text = error.code().name, error.details() or ""
        if code == "UNAVAILABLE":
            return _unreachable(self.address) or from_status(code, text)
        return from_status(code, text)


class Pending(Generic[R]):
    """An answer that is still to come."""

    def __init__(self, channel: Channel, future: Any) -> None:
        self._channel = channel
        self._future = future
        self._arrived = threading.Event()
        future.add_done_callback(lambda _: self._arrived.set())

    def wait(self, timeout: float) -> bool:
        """Has it come within `timeout` seconds?"""
        return self._arrived.wait(timeout)

    def result(self) -> R:
        """The answer, waited for; or the error that it was."""
        import grpc

        try:
            answer: R = self._future.result()
        except grpc.FutureCancelledError:
            raise Cancelled("the call was given up") from None
        except grpc.RpcError as error:
            raise self._channel._error(error) from None  # noqa: SLF001  # two halves of one thing
        return answer

    def cancel(self) -> None:
        """Give the call up."""
        self._future.cancel()


class Call(Generic[Q, R]):
    """A call whose answers, or requests too, are a stream. Leaving its context cancels what is still going on."""

    def __init__(self, channel: Channel, call: Any, requests: Outbox[Q] | None) -> None:
        self._channel = channel
        self._call = call
        self._requests = requests

    def send(self, request: Q | bytes) -> None:
        """Send one more request, encoded or not; see `Outbox`. Whether it arrives is known from the answers alone."""
        if self._requests is not None:
            self._requests.put(request)

    def half_close(self) -> None:
        """Say that no more requests follow; answers may still come."""
        if self._requests is not None:
            self._requests.end()

    def finish(self) -> None:
        """Say that no more requests follow, and wait until the other side is done; how it ends does not matter."""
        self.half_close()
        with contextlib.suppress(TranshipError):
            for _ in self:
                pass

    def cancel(self) -> None:
        """Give the call up."""
        self._call.cancel()

    def __iter__(self) -> Iterator[R]:
        return self

    def __next__(self) -> R:
        import grpc

        try:
            answer: R = next(self._call)
        except grpc.RpcError as error:
            raise self._channel._error(error) from None  # noqa: SLF001  # two halves of one thing
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


def _encode(message: Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


def _connect(path: str) -> Any:
    try:
        import grpc
    except ImportError:
        raise Unsupported("talking to containerd needs grpcio", hint="pip install 'tranship[daemon]'") from None
    return grpc.insecure_channel(f"unix:{quote(path)}", options=_OPTIONS)


def _unreachable(path: str) -> TranshipError | None:
    """Why a socket does not answer, where the file system can tell."""
    shown = printable(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return Unavailable(f"no daemon listens at {shown}: there is no such socket", hint="is containerd running?")
    except OSError as error:
        return Unavailable(f"cannot reach the daemon at {shown}: {error.strerror}")
    if not stat.S_ISSOCK(mode):
        return Unavailable(f"cannot reach a daemon at {shown}: it is not a socket")
    if not os.access(path, os.W_OK) and os.path.exists(path):  # a daemon that starts again takes its old socket away
        return PermissionDenied(
            f"the socket {shown} may not be opened by this user", hint="run as its owner, or as root"
        )
    return None
