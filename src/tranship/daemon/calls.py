"""One RPC as our services see it: who calls, in which namespace, under which lease; and how errors become a status.

A service is a set of functions `(request, call) -> response`; `unary`, `server_stream` and `stream` tie each to its method.
They raise errors of ours. gRPC is seen here and in `server` alone, so that another transport can take the same functions.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from tranship.containerd.channel import LEASE, NAMESPACE
from tranship.containerd.status import to_status
from tranship.engine.run import CancelToken
from tranship.errors import Cancelled, FailedPrecondition, Internal, InvalidArgument, RateLimited, TranshipError
from tranship.pump import release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tranship.containerd.methods import Method, ServerStream, Stream, Unary

VANISHING = 0.01  # seconds between the two events of gRPC's; they are put into one queue one after the other
log = logging.getLogger(__name__)
Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)


class Call:
    """The circumstances of one RPC."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context
        self._metadata: dict[str, Any] = {}
        for pair in context.invocation_metadata():
            # A namespace or lease within another one is sent before that one; the first counts (pkg/namespaces/grpc.go).
            self._metadata.setdefault(pair[0], pair[1])
        self.token = CancelToken()  # cancelled when the client goes away, its deadline passes, or the RPC ends
        self.ended = threading.Event()
        self.on_end(self._end)

    @property
    def namespace(self) -> str:
        """The namespace, which most methods need; FailedPrecondition without one."""
        name = self.namespace_or_none
        if not name:
            raise FailedPrecondition("namespace is required")
        return name

    @property
    def namespace_or_none(self) -> str:
        """The namespace as it was said; "" when it was not."""
        return str(self._metadata.get(NAMESPACE, ""))

    @property
    def lease(self) -> str | None:
        """The id of the lease that is to hold what this call makes."""
        return str(self._metadata[LEASE]) if self._metadata.get(LEASE) else None

    @property
    def user_agent(self) -> str:
        """The client's library: `grpc-go/…` for ctr."""
        return str(self._metadata.get("user-agent", ""))

    def _end(self) -> None:
        self.token.cancel("the client has gone away")
        self.ended.set()

    def on_end(self, action: Callable[[], None]) -> None:
        """Do something, in some thread, when the RPC has ended in any way; at once when it has ended already."""
        if not self._context.add_callback(action):
            action()


@dataclass(frozen=True, slots=True)
class Route:
    """A method and what serves it."""

    method: Method[Any, Any]
    handler: grpc.RpcMethodHandler[Any, Any]


def unary(method: Unary[Q, R], function: Callable[[Q, Call], R]) -> Route:
    """Serve a method of one request and one answer."""

    def handle(request: Q | Undecodable, context: grpc.ServicerContext) -> R:
        try:
            return function(_decoded(request, method), Call(context))
        except Exception as error:  # noqa: BLE001  # whatever it is, the client is told, and the daemon lives on
            _abort(context, error, method)
        finally:
            release()  # this thread goes back to a pool

    return Route(
        method, grpc.unary_unary_rpc_method_handler(handle, _decoder(method), method.response.SerializeToString)
    )


def server_stream(method: ServerStream[Q, R], function: Callable[[Q, Call], Iterable[R]]) -> Route:
    """Serve a method of one request and many answers."""

    def handle(request: Q | Undecodable, context: grpc.ServicerContext) -> Iterator[R]:
        try:
            yield from function(_decoded(request, method), Call(context))
        except Exception as error:  # noqa: BLE001  # as above
            _abort(context, error, method)
        finally:
            release()

    return Route(
        method, grpc.unary_stream_rpc_method_handler(handle, _decoder(method), method.response.SerializeToString)
    )


def stream(
    method: Stream[Q, R],
    function: Callable[[Iterator[Q], Call], Iterable[R | bytes]],
    decode: Callable[[bytes], Q] | None = None,
) -> Route:
    """Serve a method of many requests and many answers, the latter encoded or not.

    decode  makes the requests of their bytes, instead of protobuf

    The requests raise Cancelled when the client has gone away.
    """

    def handle(requests: Iterator[Q | Undecodable], context: grpc.ServicerContext) -> Iterator[R | bytes]:
        try:
            call = Call(context)
            yield from function(_requests(requests, method, call), call)
        except Exception as error:  # noqa: BLE001  # as above
            _abort(context, error, method)
        finally:
            release()

    return Route(method, grpc.stream_stream_rpc_method_handler(handle, _decoder(method, decode), _encode))


def limited(route: Route, slots: threading.Semaphore) -> grpc.RpcMethodHandler[Any, Any]:
    """What serves the route. A call that is a stream takes a slot for as long as it lasts, or is refused."""
    handler = route.handler
    serve: Any = handler.stream_stream or handler.unary_stream
    if serve is None:
        return handler

    def handle(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        if not slots.acquire(blocking=False):
            _abort(context, RateLimited("too many streams are open, of all clients together"), route.method)
        try:
            yield from serve(request, context)
        finally:
            slots.release()

    make: Any = (
        grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
    )
    served: grpc.RpcMethodHandler[Any, Any] = make(handle, handler.request_deserializer, handler.response_serializer)
    return served


class Undecodable:
    """In place of a request whose bytes are no message: gRPC itself would answer INTERNAL."""


def _decoder(method: Method[Q, R], decode: Callable[[bytes], Q] | None = None) -> Callable[[bytes], Q | Undecodable]:
    make = decode or method.request.FromString

    def decoded(raw: bytes) -> Q | Undecodable:
        try:
            return make(raw)
        except DecodeError:
            return Undecodable()

    return decoded


def _encode(message: Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


def _decoded(request: Q | Undecodable, method: Method[Q, R]) -> Q:
    if isinstance(request, Undecodable):
        raise InvalidArgument(
            f"the request of {method.path} is no message of type {method.request.DESCRIPTOR.full_name}"
        )
    return request


def _requests(requests: Iterator[Q | Undecodable], method: Method[Q, R], call: Call) -> Iterator[Q]:
    try:
        for request in requests:
            yield _decoded(request, method)
    except grpc.RpcError as error:
        raise Cancelled("the client has gone away") from error
    # gRPC tells of a client that has vanished as of one that has said its last, a moment before it tells the difference.
    if call.ended.wait(VANISHING):
        raise Cancelled("the client has gone away")


def ours(error: Exception, what: str) -> TranshipError:
    """The error to tell a client of: what is none of ours has failed `what` within the daemon."""
    return error if isinstance(error, TranshipError) else Internal(f"{what} failed: {type(error).__name__}: {error}")


def _abort(context: grpc.ServicerContext, error: Exception, method: Method[Any, Any]) -> NoReturn:
    if not isinstance(error, TranshipError):
        log.error("%s failed", method.path, exc_info=error)
    code, text = to_status(ours(error, method.path))
    log.debug("%s: %s %s", method.path, code, text)
    context.abort(grpc.StatusCode[code], text)
