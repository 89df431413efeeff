"""Several readers of one blob at hosts that break, without a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tranship.endpoints.registry.reading import RegistryBlob
from tranship.errors import Unavailable
from tranship.formats.hosts import Host
from tranship.model import mediatypes
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Collection

    from tranship.pump import Reader

CONTENT = bytes(range(256)) * 8
BLOB = Descriptor(media_type=mediatypes.OCI_LAYER, digest=Digest.of(CONTENT), size=len(CONTENT))
MIRROR = Host(registry="reg.example", url="https://mirror.example/v2")
ORIGIN = Host(registry="reg.example", url="https://reg.example/v2")


class FakeAnswer:
    """Gives these bytes, and breaks at their end unless it may end there."""

    def __init__(self, raw: bytes, *, breaks: bool) -> None:
        self.raw = raw
        self.breaks = breaks

    def readinto(self, view: memoryview, /) -> int:
        if not self.raw and self.breaks:
            raise Unavailable("the connection broke")
        got = min(len(view), len(self.raw))
        view[:got], self.raw = self.raw[:got], self.raw[got:]
        return got

    def close(self) -> None: ...


class FakePlace:
    """A mirror that breaks after ten bytes, and the registry itself. A mirror that cannot be reached is passed over."""

    attempts = 0

    def __init__(self) -> None:
        self.reachable = True
        self.opened: list[Host] = []

    def open_blob(
        self, descriptor: Descriptor, offset: int, count: int | None, shunned: Collection[str]
    ) -> tuple[Any, int, Host]:
        host = MIRROR if self.reachable and MIRROR.url not in shunned else ORIGIN
        self.opened.append(host)
        end = descriptor.size if count is None else offset + count
        raw = CONTENT[offset : min(end, offset + 10) if host is MIRROR else end]
        return FakeAnswer(raw, breaks=host is MIRROR), offset, host

    def has_others(self, descriptor: Descriptor, shunned: Collection[str]) -> bool:
        return any(host.url not in shunned for host in (MIRROR, ORIGIN))

    def home(self, descriptor: Descriptor) -> None: ...
    def document(self, descriptor: Descriptor) -> bytes: ...  # type: ignore[empty-body]
    def check(self) -> None: ...
    def pause(self, attempt: int) -> None: ...


def read(reader: Reader, count: int) -> bytes:
    view = memoryview(bytearray(count))
    at = 0
    while at < count and (got := reader.readinto(view[at:])):
        at += got
    return bytes(view[:at])


def test_a_reader_leaves_the_host_that_broke_for_it_whoever_serves_another_reader() -> None:
    place = FakePlace()
    blob = RegistryBlob(BLOB, place)
    with blob.open_range(0, 1000) as one, blob.open_range(1000, 500) as other:
        begin = read(one, 10)
        place.reachable = False
        assert read(other, 100) == CONTENT[1000:1100]
        place.reachable = True
        assert begin + read(one, 990) == CONTENT[:1000]
        assert read(other, 400) == CONTENT[1100:1500]
    assert place.opened == [MIRROR, ORIGIN, ORIGIN]
    assert blob.shunned == {MIRROR.url}
