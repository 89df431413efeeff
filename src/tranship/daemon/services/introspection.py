"""The Introspection service: who the daemon is, and what of containerd's plugins it stands for.

Clients look here for a snapshotter before they unpack; ctr asks for Server before anything else.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tranship._api.services.introspection.v1 import introspection_pb2 as pb
from tranship.containerd.methods import Introspection
from tranship.containerd.values import to_platform
from tranship.daemon.calls import Route, unary
from tranship.errors import NotFound, printable
from tranship.formats import filters as grammar
from tranship.model import platform

if TYPE_CHECKING:
    from tranship._api.wellknown import Empty
    from tranship.daemon.calls import Call

# What we serve, by the names that containerd's parts have.
_PLUGINS = (
    ("io.containerd.content.v1", "content"),
    ("io.containerd.event.v1", "exchange"),
    ("io.containerd.gc.v1", "scheduler"),
    ("io.containerd.lease.v1", "manager"),
    ("io.containerd.metadata.v1", "bolt"),
    ("io.containerd.streaming.v1", "manager"),
    ("io.containerd.transfer.v1", "local"),
    ("io.containerd.grpc.v1", "containers"),
    ("io.containerd.grpc.v1", "content"),
    ("io.containerd.grpc.v1", "diff"),
    ("io.containerd.grpc.v1", "events"),
    ("io.containerd.grpc.v1", "healthcheck"),
    ("io.containerd.grpc.v1", "images"),
    ("io.containerd.grpc.v1", "introspection"),
    ("io.containerd.grpc.v1", "leases"),
    ("io.containerd.grpc.v1", "namespaces"),
    ("io.containerd.grpc.v1", "snapshots"),
    ("io.containerd.grpc.v1", "streaming"),
    ("io.containerd.grpc.v1", "transfer"),
    ("io.containerd.grpc.v1", "version"),
)


class IntrospectionService:
    """Of one daemon, which is known by its uuid over restarts."""

    def __init__(self, uuid: str) -> None:
        self._uuid = uuid

    def routes(self) -> list[Route]:
        """What serves the methods."""
        return [
            unary(Introspection.SERVER, self._server),
            unary(Introspection.PLUGINS, self._plugins),
            unary(Introspection.PLUGIN_INFO, self._plugin_info),
        ]

    def _server(self, _: Empty, __: Call) -> pb.ServerResponse:
        return pb.ServerResponse(uuid=self._uuid, pid=os.getpid(), pidns=_pid_namespace())

    def _plugins(self, request: pb.PluginsRequest, _: Call) -> pb.PluginsResponse:
        wanted = grammar.parse(list(request.filters))
        found = (_plugin(*names) for names in _PLUGINS if wanted.matches(_adaptor(*names)))
        return pb.PluginsResponse(plugins=found)

    def _plugin_info(self, request: pb.PluginInfoRequest, _: Call) -> pb.PluginInfoResponse:
        if (request.type, request.id) not in _PLUGINS:
            raise NotFound(f"plugin {printable(request.type)}.{printable(request.id)}: not found")
        return pb.PluginInfoResponse(plugin=_plugin(request.type, request.id))


def _plugin(kind: str, name: str) -> pb.Plugin:
    platforms = (
        [to_platform(platform.host())] if kind in {"io.containerd.content.v1", "io.containerd.transfer.v1"} else []
    )
    return pb.Plugin(type=kind, id=name, platforms=platforms)


def _adaptor(kind: str, name: str) -> grammar.Adaptor:
    return grammar.adaptor({"type": kind, "id": name}, {})


def _pid_namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # not Linux
        return 0
