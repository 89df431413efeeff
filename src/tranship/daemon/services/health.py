"""gRPC's health service: the daemon serves, and each service that it has does."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tranship._api.grpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from tranship.containerd.methods import SERVICES, Health
from tranship.daemon.calls import Route, server_stream, unary
from tranship.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tranship.daemon.calls import Call

_KNOWN = {"", *(service.SERVICE for service in SERVICES)}
_SERVING = HealthCheckResponse(status=HealthCheckResponse.SERVING)


def routes() -> list[Route]:
    """What serves the methods."""
    return [unary(Health.CHECK, _check), server_stream(Health.WATCH, _watch)]


def _check(request: HealthCheckRequest, _: Call) -> HealthCheckResponse:
    if request.service not in _KNOWN:
        raise NotFound("unknown service: not found")
    return _SERVING


def _watch(request: HealthCheckRequest, call: Call) -> Iterator[HealthCheckResponse]:
    """The state now, and every change of it; since a daemon that does not serve does not answer, there is none."""
    known = request.service in _KNOWN
    yield _SERVING if known else HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
    ended = threading.Event()
    call.on_end(ended.set)
    ended.wait()
