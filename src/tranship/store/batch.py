"""A batch: one transfer's blobs, named and recorded in groups, so that a thousand cost few waits for the disk.

Blobs put in a batch are whole and verified in this process' scratch until a group of them is placed. The batch's own views of
namespaces see them at once; everybody else sees them when their group is placed, which any operation but putting and reading
blobs brings about (an image, say, is never recorded before its content). Leaving the batch makes all of it durable.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from tranship.errors import Aborted, TranshipError
from tranship.store.core import Scope
from tranship.store.namespaces import check_name
from tranship.store.placing import place, sync_files, sync_others

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tranship.model.digest import Digest
    from tranship.store.core import Core
    from tranship.store.placing import Placement
    from tranship.store.views import NamespaceView

# A group is placed when it has so much: a large blob as soon as it is whole, so that a crash costs little of the work.
GROUP_FILES = 512
GROUP_BYTES = 64 << 20
SYNC_AT_ONCE = 8 << 20  # bytes; such a blob goes to the disk from its own thread, beside the others' work


class Batch:
    """Made by `Store.batch()`; a context manager. All its methods may be called from several threads."""

    def __init__(self, core: Core) -> None:
        """Nothing in it yet. Use it as a context manager: that ends it."""
        # A descriptor of our own: syncfs tells of a write error once to each, and another batch's would not tell us.
        self._core = replace(core, root_fd=os.open(core.layout.root, os.O_RDONLY | os.O_CLOEXEC))
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._pending: dict[tuple[str, str], Placement] = {}
        self._leaving: dict[tuple[str, str], Placement] = {}  # the group that is being placed
        self._bytes = 0
        self._broken: BaseException | None = None
        self.leans = False  # on blobs that were there before, whoever brought them

    def namespace(self, name: str) -> NamespaceView:
        """A view of a namespace whose changes belong to this batch."""
        from tranship.store.views import NamespaceView

        return NamespaceView(Scope(self._core, check_name(name), self))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Place what is left and make everything durable; after an error too, so that another attempt finds it."""
        # Of two errors the first is the one to tell of.
        with contextlib.suppress(Exception) if kind is not None else contextlib.nullcontext(), self._ending():
            self.flush()
            if self.leans and kind is None:
                sync_others(self._core)
            self._core.database.settle()

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
        finally:
            os.close(self._core.root_fd)
            self._broken = self._broken or RuntimeError("it has ended")
            for placement in self._pending.values():
                self._drop(placement)

    def _drop(self, placement: Placement) -> None:
        placement.drop()
        self._core.space.free(placement.size)

    def add(self, placement: Placement) -> None:
        """Take in a whole file, and its claim of space; after an error it is gone."""
        try:
            if self._core.full and placement.size >= SYNC_AT_ONCE:
                sync_files(self._core, [placement])
            while not self._take(placement):
                self.flush()
        except BaseException:
            self._drop(placement)
            raise
        if len(self._pending) >= GROUP_FILES or self._bytes >= GROUP_BYTES:
            self.flush()

    def _take(self, placement: Placement) -> bool:
        """Add it to the group, unless that has the blob for another lease."""
        key = placement.namespace, placement.digest
        with self._lock:
            self._check()
            twin = self._pending.get(key)
            if twin is None:
                self._pending[key] = placement
                self._bytes += placement.size
            elif twin.lease == placement.lease:
                twin.labels = {**twin.labels, **placement.labels}
                self._drop(placement)
        return twin is None or twin.lease == placement.lease

    def find(self, namespace: str, digest: Digest) -> Placement | None:
        """The blob, if it was put here and others cannot see it yet."""
        key = namespace, digest
        with self._lock:
            return self._pending.get(key) or self._leaving.get(key)

    def flush(self) -> None:
        """Place everything that is in the batch, so that others see it. Once this has failed, the batch is of no more use."""
        self._check()
        if not self._pending and not self._leaving:
            return
        with self._flushing:
            with self._lock:
                self._check()
                self._leaving, self._pending, self._bytes = self._pending, {}, 0
            group = list(self._leaving.values())
            try:
                if group:
                    place(self._core, group, durable=False)
            except BaseException as error:
                self._broken = error
                for placement in group:
                    placement.drop()
                raise
            finally:
                for placement in group:
                    self._core.space.free(placement.size)
                with self._lock:
                    self._leaving = {}

    def _check(self) -> None:
        """Tell everybody, who may be faster than the one to whom it happened, why the batch is of no more use."""
        if isinstance(self._broken, TranshipError | OSError):
            raise self._broken
        if self._broken is not None:
            raise Aborted(f"nothing more can be put in this batch: {self._broken}") from self._broken
