"""What containerd's transfer messages say, as plain values: one class for each end of a transfer that can travel.

They mirror the messages field for field (api/types/transfer/*.proto); what a field means for a transfer is decided by whoever
turns them into endpoints and a Selection. An absent sub-message is an empty value, never None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tranship.model.naming import ExtraName
    from tranship.model.platform import Platform


class HTTPDebug(IntEnum):
    """Which of a registry's requests and answers are written to the logs stream."""

    DISABLED = 0
    DEBUG = 1
    TRACE = 2
    BOTH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class WireUnpack:
    """A platform to unpack after the transfer, and the snapshotter to do it; "" is the default one."""

    platform: Platform | None = None
    snapshotter: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireImageStore:
    """The daemon's own images, of the caller's namespace."""

    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    platforms: tuple[Platform, ...] = ()
    all_metadata: bool = False
    manifest_limit: int = 0
    extra_references: tuple[ExtraName, ...] = ()
    unpacks: tuple[WireUnpack, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WireRegistry:
    """An image at a registry, and how to talk to it (OCIRegistry with its RegistryResolver)."""

    reference: str = ""
    auth_stream: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)  # may hold an Authorization
    host_dir: str = ""
    default_scheme: str = ""
    http_debug: HTTPDebug = HTTPDebug.DISABLED
    logs_stream: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireImportStream:
    """An archive that the client sends on a byte stream. media_type "": find out how it is compressed."""

    stream: str = ""
    media_type: str = ""
    force_compress: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WireExportStream:
    """An archive that the client receives on a byte stream."""

    stream: str = ""
    media_type: str = ""
    platforms: tuple[Platform, ...] = ()
    all_platforms: bool = False
    skip_compatibility_manifest: bool = False
    skip_non_distributable: bool = False


WireEnd = WireImageStore | WireRegistry | WireImportStream | WireExportStream


@dataclass(frozen=True, slots=True)
class AuthQuestion:
    """The daemon asks its client, on the auth stream, for the credentials of a registry (AuthRequest)."""

    host: str  # with its port
    reference: str
    challenges: tuple[str, ...] = ()  # WWW-Authenticate headers; containerd never fills them in
