"""Transfers that a daemon does for us, between ends of ours: what Go's containerd client has, for Python.

remote = tranship.connect("/run/tranship/tranship.sock")
remote.transfer(Registry("docker.io/library/alpine:3"), Store("alpine"))
remote.transfer(Registry("ghcr.io/o/i:1"), Registry("localhost:5000/i:1"))     # a tranship daemon can; a containerd cannot
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from tranship.containerd import expressing
from tranship.containerd.channel import Channel
from tranship.containerd.destination import find_image
from tranship.containerd.endpoint import Containerd
from tranship.containerd.job import Job
from tranship.containerd.leasing import leased
from tranship.containerd.records import from_image
from tranship.endpoints.archive import Archive
from tranship.endpoints.choosing import patterns
from tranship.endpoints.registry import Registry
from tranship.endpoints.store import Store
from tranship.engine.run import CancelToken, Run
from tranship.engine.selection import Selection
from tranship.errors import Unsupported
from tranship.model.descriptor import Root

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from tranship.containerd.expressing import Wish
    from tranship.containerd.wire import WireEnd
    from tranship.engine.progress import Reporter

End = Store | Registry | Archive


def connect(address: str | os.PathLike[str] | None = None, *, namespace: str | None = None) -> Remote:
    """A daemon that does transfers: by default the containerd of `CONTAINERD_ADDRESS` and `CONTAINERD_NAMESPACE`."""
    return Remote(*Containerd(address=address, namespace=namespace).place)


class Remote:
    """A containerd (1.7 and later), or a tranship daemon. Each transfer connects anew; nothing is held between them."""

    def __init__(self, address: str, namespace: str) -> None:
        self.address = address
        self.namespace = namespace

    def __repr__(self) -> str:
        return f"Remote({self.address!r}, {self.namespace!r})"

    def transfer(
        self,
        source: End,
        destination: End,
        *,
        selection: Selection | None = None,
        reporter: Reporter | None = None,
        cancel: CancelToken | None = None,
    ) -> tuple[Root, ...]:
        """Have a transfer done, and return the images that were stored there.

        A `Store` stands for images in the daemon, of which the source takes exact names; its own root and namespace mean
        nothing here. An `Archive` is read and written on our side; a `Registry` is spoken to by the daemon, which asks us for
        credentials. Without a selection all platforms are demanded.

        Raises Unsupported for what the messages cannot say, or the daemon cannot do; Truncated when an archive broke off.
        """
        run = Run(source=source.kind, destination=destination.kind, reporter=reporter, cancel=cancel)
        wished = expressing.wish(selection or Selection())
        if wished is None:
            raise Unsupported("this selection cannot be sent: platforms, metadata, a limit and layers to skip can")
        with run.reporting(f"{source} → {destination}"), self._channel() as channel, Job(channel, run) as job:
            there = _source(source, isinstance(destination, Registry), wished, job)
            job.run(there, _destination(destination, source, wished, job))
            return tuple(_stored(channel, job))

    @contextlib.contextmanager
    def _channel(self) -> Iterator[Channel]:
        with Channel(self.address, namespace=self.namespace) as channel, leased(channel) as with_lease:
            yield with_lease


def _source(end: End, to_registry: bool, wished: Wish, job: Job) -> WireEnd:
    match end:
        case Registry():
            return _registry(end, job)
        case Archive():
            sent = expressing.incoming(end)
            if sent is None:
                raise Unsupported(f"{end} cannot be sent: an archive goes as a whole")
            return replace(sent, stream=job.sending(end))
        case Store():
            images = expressing.images(patterns(end.names))
            return replace(images, platforms=wished.platforms) if to_registry else images


def _destination(end: End, source: End, wished: Wish, job: Job) -> WireEnd:
    match end:
        case Registry():
            return _registry(end, job)
        case Archive():
            received = expressing.outgoing(end, wished)
            if received is None:
                raise Unsupported(
                    f"{end} cannot be received: names, formats and limits are not for a daemon's archives"
                )
            return replace(received, stream=job.receiving(end))
        case Store():
            names = patterns(end.names)
            if not names and isinstance(source, Registry):
                names = tuple(map(str, source.references))
            if names and not isinstance(source, Archive):
                return expressing.image(names, end.labels, wished)
            store = expressing.imported(end.naming, end.labels, wished)
            if store is None or names:
                raise Unsupported(f"{end} cannot be asked for: images of an archive are named by rules")
            named = isinstance(source, Archive) and source.index_names
            return replace(store, name=named[0]) if named else store


def _registry(end: Registry, job: Job) -> WireEnd:
    sent = expressing.registry(end)
    if sent is None:
        raise Unsupported(
            f"{end} cannot be sent: of its options only credentials, headers, plain_http and hosts_dir can"
        )
    return replace(sent, auth_stream=job.answering(end.finder()))


def _stored(channel: Channel, job: Job) -> Iterator[Root]:
    for name, target in job.saved.items():
        image = find_image(channel, name) if target is None else None
        if target is not None:
            yield Root(target, name)
        elif image is not None:
            yield Root(from_image(image).target, name)
