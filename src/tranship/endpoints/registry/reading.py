"""Reading content from a registry: documents whole, blobs over as many connections as it takes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tranship.engine.memory import MemoryBlob
from tranship.errors import OutOfRange, TranshipError, Truncated, blamed_on
from tranship.pump import CHUNK

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import Protocol

    from tranship.formats.hosts import Host
    from tranship.http.answer import Answer
    from tranship.model.descriptor import Descriptor
    from tranship.model.reference import Reference
    from tranship.pump import Reader

    class Place(Protocol):
        """What a reader asks of the source that it belongs to."""

        @property
        def attempts(self) -> int: ...
        def document(self, descriptor: Descriptor) -> bytes: ...
        def home(self, descriptor: Descriptor) -> Reference | None: ...
        def open_blob(
            self, descriptor: Descriptor, offset: int, count: int | None, shunned: Collection[str]
        ) -> tuple[Answer, int, Host]: ...
        def has_others(self, descriptor: Descriptor, shunned: Collection[str]) -> bool: ...
        def check(self) -> None: ...
        def pause(self, attempt: int) -> None: ...


_PROGRESS = 64 * 1024  # bytes that must come between two breaks, or they count as a row: less than a break costs


class Document:
    """A document at a registry: fetched whole, once it is opened."""

    __slots__ = ("_place", "descriptor")

    def __init__(self, descriptor: Descriptor, place: Place) -> None:
        self.descriptor = descriptor
        self._place = place

    @property
    def repositories(self) -> Sequence[str]:
        """Where it is: a store notes that of documents too, as containerd does."""
        home = self._place.home(self.descriptor)
        return [home.repository] if home is not None else []

    def open(self, offset: int = 0) -> AbstractContextManager[Reader]:
        """Fetch it."""
        return MemoryBlob(self.descriptor, self._place.document(self.descriptor)).open(offset)


class RegistryBlob:
    """A blob at a registry.

    served   the host that gave its last bytes
    shunned  URLs of hosts that gave wrong bytes, or broke too often
    """

    __slots__ = ("_distrusted", "descriptor", "place", "served", "shunned")

    def __init__(self, descriptor: Descriptor, place: Place) -> None:
        self.descriptor = descriptor
        self.place = place
        self.served: Host | None = None
        self.shunned: set[str] = set()
        self._distrusted = False

    @property
    def repositories(self) -> Sequence[str]:
        """Where it is, for a cross-repository mount."""
        home = self.place.home(self.descriptor)
        return [home.repository] if home is not None else []

    def distrust(self) -> bool:
        """Wrong bytes came: have them from another host, or else from the same one again, but once only."""
        if self._distrusted or not self.place.attempts:
            return False
        self._distrusted = True
        if self.served is not None:
            self.shunned.add(self.served.url)
        return True

    def leave(self, host: Host) -> bool:
        """Have the rest from another host than this one; False when there is none left."""
        self.shunned.add(host.url)
        return self.place.has_others(self.descriptor, self.shunned)

    @contextlib.contextmanager
    def open(self, offset: int = 0) -> Iterator[ResumingReader]:
        """Open for reading from byte `offset`; a connection that breaks is taken up again where it broke."""
        reader = ResumingReader(self, offset, self.descriptor.size)
        try:
            yield reader
        finally:
            reader.close()

    @contextlib.contextmanager
    def open_range(self, offset: int, count: int) -> Iterator[ResumingReader]:
        """Open `count` bytes from `offset` on; reading raises OutOfRange where the registry gives no ranges."""
        reader = ResumingReader(self, offset, offset + count, whole=False)
        try:
            yield reader
        finally:
            reader.close()


class ResumingReader:
    """Reads a stretch of a blob from a registry.

    What has been handed over is not asked for again. A registry that gives no ranges, or lies about them, is asked for the
    whole once more (unless that is forbidden), of which the known part is dropped.
    """

    def __init__(self, blob: RegistryBlob, offset: int, end: int, *, whole: bool = True) -> None:
        self._blob = blob
        self._at = offset
        self._end = end
        self._whole = whole
        self._answer: Answer | None = None
        self._host: Host | None = None  # that gave it; other readers of the blob may have theirs from others
        self._left: set[str] = set()  # URLs of hosts that broke too often
        self._ahead = 0  # bytes that come once more before those that are wanted
        self._breaks = 0  # in a row
        self._since = 0  # bytes since the last of them

    def readinto(self, view: memoryview, /) -> int:
        """Fill what has arrived; 0 at the end."""
        view = view[: self._end - self._at]
        while len(view):
            answer = self._answer or self._opened()
            try:
                self._pass_over(answer)
                got = answer.readinto(view)
                if not got:
                    raise Truncated(f"{self._blob.descriptor} ends after {self._at} bytes", side="source")
            except TranshipError as error:
                self._broken(error)
                continue
            self._at += got
            self._since += got
            return got
        return 0

    def close(self) -> None:
        """Let go of the connection."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    @blamed_on("source")
    def _opened(self) -> Answer:
        blob, size = self._blob, self._blob.descriptor.size
        count = self._end - self._at if self._end < size else None
        try:
            answer, begins, host = blob.place.open_blob(blob.descriptor, self._at, count, blob.shunned)
        except OutOfRange:
            if not self._at or not self._whole:
                raise
            answer, begins, host = blob.place.open_blob(blob.descriptor, 0, None, blob.shunned)
        self._answer = answer
        self._host = blob.served = host
        self._ahead = self._at - begins
        if self._ahead and not self._whole:
            raise OutOfRange(f"{host.authority} gives no range of {blob.descriptor}", descriptor=blob.descriptor)
        return answer

    def _pass_over(self, answer: Answer) -> None:
        """Read and drop what was there before."""
        view = memoryview(bytearray(min(self._ahead, CHUNK)))
        while self._ahead:
            self._blob.place.check()
            got = answer.readinto(view[: min(self._ahead, len(view))])
            if not got:
                raise Truncated(f"{self._blob.descriptor} ends before byte {self._at}", side="source")
            self._ahead -= got

    def _broken(self, error: TranshipError) -> None:
        """Go on after a connection that broke: at once, a little later when it breaks again and again, and not for ever."""
        self.close()
        self._breaks = 1 if self._since >= _PROGRESS else self._breaks + 1
        self._since = 0
        if not error.retryable or (self._breaks > self._blob.place.attempts and not self._moves_on()):
            error.side = error.side or "source"
            raise error
        self._blob.place.check()
        if self._breaks > 1:
            self._blob.place.pause(self._breaks - 1)

    def _moves_on(self) -> bool:
        """Leave the host for another, which may break as often; False when there is none left, or it is the same again."""
        host = self._host
        if host is None or host.url in self._left or not self._blob.leave(host):
            return False
        self._left.add(host.url)
        self._breaks = 0
        return True
