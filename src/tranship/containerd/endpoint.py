"""A running containerd, or a tranship daemon, as an end of transfers."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from tranship.endpoints.choosing import patterns
from tranship.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tranship.containerd.channel import Channel
    from tranship.containerd.destination import ContainerdDestination
    from tranship.containerd.source import ContainerdSource
    from tranship.engine.plan import Plan
    from tranship.engine.protocols import Readable, Writable
    from tranship.engine.run import Run
    from tranship.engine.selection import Selection
    from tranship.model.naming import Naming

ADDRESS = "/run/containerd/containerd.sock"
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Containerd:
    """Images in a containerd (1.6 and later), or in a tranship daemon.

    names       as a source: which images (none: all of them; exactly, as docker would complete it, or a glob).
                As a destination: what the image is called there (none: as at the source, by `naming`)
    address     the path of its socket; None: `CONTAINERD_ADDRESS`, or /run/containerd/containerd.sock
    namespace   None: `CONTAINERD_NAMESPACE`, or "default"
    naming      how images of an archive or layout are named; None: by their annotations, nameless ones by
                `import-DATE@DIGEST`
    labels      of the images that are stored
    clobber     may a name that exists be moved to another image?
    delegates   hand the whole transfer to the daemon's Transfer service where that can do it: the bytes of a pull or push then
                never come here, and an archive is put together or taken apart there
    """

    names: str | tuple[str, ...] = ()
    address: str | os.PathLike[str] | None = None
    namespace: str | None = None
    naming: Naming | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: _NOTHING, hash=False)
    clobber: bool = True
    delegates: bool = True

    kind: ClassVar[str] = "containerd"

    def __str__(self) -> str:
        return "containerd:" + ",".join(map(printable, patterns(self.names)))

    @property
    def place(self) -> tuple[str, str]:
        """The socket's path and the namespace."""
        address = self.address if self.address is not None else os.environ.get("CONTAINERD_ADDRESS") or ADDRESS
        namespace = self.namespace or os.environ.get("CONTAINERD_NAMESPACE") or "default"
        return os.path.abspath(os.fspath(address).removeprefix("unix://")), namespace

    @contextlib.contextmanager
    def channel(self) -> Iterator[Channel]:
        """A connection, with a lease for what is read or written."""
        from tranship.containerd.channel import Channel
        from tranship.containerd.leasing import leased

        address, namespace = self.place
        with Channel(address, namespace=namespace) as channel, leased(channel) as with_lease:
            yield with_lease

    @contextlib.contextmanager
    def open_source(self, run: Run) -> Iterator[ContainerdSource]:
        """Open for reading."""
        from tranship.containerd.source import ContainerdSource

        del run
        with self.channel() as channel:
            yield ContainerdSource(channel, patterns(self.names), f"namespace {channel.namespace} of {channel.address}")

    @contextlib.contextmanager
    def open_destination(self, run: Run) -> Iterator[ContainerdDestination]:
        """Open for writing."""
        from tranship.containerd.destination import ContainerdDestination

        with self.channel() as channel:
            yield ContainerdDestination(self, channel, run)

    def delegate(self, source: Readable, destination: Writable, selection: Selection, run: Run) -> Plan | None:
        """Have the transfer done by the daemon; None where it cannot, or may not."""
        from tranship.containerd.delegating import delegated

        return delegated(source, destination, selection, run) if self.delegates and not run.dry else None
