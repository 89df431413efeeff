"""The embedded store: content, images and leases of namespaces, in one folder, for any number of processes.

The words and rules are containerd's; what its gRPC services answer, the methods here return or raise. There is no server:
every process opens the folder itself, and SQLite's transactions keep them apart.

    with Store.open("/var/lib/tranship") as store, store.batch() as batch:
        space = batch.namespace("default")
        with space.leases.holding() as lease:
            space.content.put(reader, digest, size, lease=lease.id)
            space.images.put(Image("docker.io/library/app:1", target))
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Literal, Self

from tranship import pump
from tranship.store.core import Core, Scope
from tranship.store.namespaces import Namespaces, check_name
from tranship.store.views import NamespaceView

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tranship.files import Durability
    from tranship.model.digest import Digest
    from tranship.store.batch import Batch
    from tranship.store.fsck import FsckReport
    from tranship.store.gc import GcReport
    from tranship.store.health import Usage, VerifyReport


class Store:
    """An open store; a context manager. Its methods may be called from several threads, but not across a fork."""

    def __init__(self, core: Core) -> None:
        """Use `open`."""
        self._core = core

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "full",
        sharing: Literal["shared", "isolated"] = "shared",
        quota: int | None = None,
        create: bool = True,
    ) -> Self:
        """Open the store in a folder, and make it there when it is missing and `create` allows.

        durability  full: what has returned survives a power cut; process: it survives the end of this process only
        sharing     may content of one namespace be taken into another by its digest, without its bytes? As containerd's
        quota       bytes, for the blobs of all namespaces together

        NotFound, PermissionDenied, InvalidArgument or FailedPrecondition when the folder is missing, unsafe, something else,
        or of a newer version; Unavailable while it is being repaired.
        """
        from tranship.store import recovery

        return cls(
            recovery.open_core(os.fspath(path), durability=durability, sharing=sharing, quota=quota, create=create)
        )

    def close(self) -> None:
        """Leave the store. Open descriptors of blobs stay readable."""
        self._core.database.close()
        self._core.process.close()
        os.close(self._core.root_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def root(self) -> Path:
        """The folder, with links resolved."""
        return _path(self._core.layout.root)

    def path_of(self, digest: Digest) -> Path:
        """Where the blob's file is, if it is there."""
        return _path(self._core.layout.blob(digest))

    def scratch(self) -> Path:
        """A new folder on the store's file system; whoever asked removes it, and after a crash the next opener does."""
        return _path(self._core.process.scratch())

    def reserve(self, count: int) -> None:
        """NoSpace unless `count` more bytes fit, on the disk and within the quota. A look up front, not a booking."""
        self._core.space.need(count)

    def namespace(self, name: str) -> NamespaceView:
        """A view of a namespace, which need not exist; every change in it is durable by itself."""
        return NamespaceView(Scope(self._core, check_name(name)))

    @property
    def namespaces(self) -> Namespaces:
        """The Namespaces service."""
        return Namespaces(self._core)

    def batch(self) -> Batch:
        """Group one transfer's waits for the disk: work through `batch.namespace(name)`; leaving it makes all durable."""
        from tranship.store.batch import Batch

        return Batch(self._core)

    def gc(self, *, follow_manifests: bool = False, believe_clock: bool = False) -> GcReport:
        """Remove what nothing refers to: by labels, as containerd does (see `mark`).

        follow_manifests  keep what kept manifests name too, for the case that somebody has lost their labels
        believe_clock     although blobs are newer than it says; otherwise FailedPrecondition then
        """
        from tranship.store import gc

        return gc.collect(self._core, follow_manifests=follow_manifests, believe_clock=believe_clock)

    def usage(self) -> Usage:
        """Count blobs, bytes, and what a collection would free."""
        from tranship.store import health

        return health.usage(self._core)

    def verify(
        self,
        digests: Iterable[Digest] | None = None,
        *,
        rate: float | None = None,
        advance: pump.Advance = pump.nothing,
    ) -> VerifyReport:
        """Hash these blobs again, or all, those first that were checked longest ago; at most `rate` bytes a second.

        A corrupt one is moved into quarantine and forgotten in every namespace, so that it can be fetched again.
        """
        from tranship.store import health

        return health.verify(self._core, digests, rate=rate, advance=advance)

    def fsck(self, *, repair: bool = False, deep: bool = False, advance: pump.Advance = pump.nothing) -> FsckReport:
        """Check the database, that every recorded blob has its file, the files' lengths, names and modes.

        deep    hash every blob too
        repair  forget blobs that are missing or wrong (their files go into quarantine), and mend modes. Needs the store for
                itself: Unavailable when another process has it open
        """
        from tranship.store import fsck

        with self._core.process.alone() if repair else contextlib.nullcontext():
            return fsck.fsck(self._core, repair=repair, deep=deep, advance=advance)


def _path(text: str) -> Path:
    from pathlib import Path  # which costs a command that asks for none 2 ms

    return Path(text)
