"""The Version service.

Clients decide by the version what they ask a server for: nerdctl leaves transfers to the Transfer service from containerd 2.0
on. So it is that of the containerd whose API is served, with tranship's own behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship._api.services.version.v1.version_pb2 import VersionResponse
from tranship.containerd.methods import Version
from tranship.daemon.calls import Route, unary
from tranship.version import __version__

if TYPE_CHECKING:
    from tranship._api.wellknown import Empty
    from tranship.daemon.calls import Call

API = "2.1.0"  # containerd's


def routes() -> list[Route]:
    """What serves the methods."""
    return [unary(Version.VERSION, _version)]


def _version(_: Empty, __: Call) -> VersionResponse:
    return VersionResponse(version=f"{API}+tranship.{__version__}", revision="tranship")
