"""Large blobs on their way into the store: what is resumed is hashed, what is wrong is dropped, and nobody writes on unseen."""

from __future__ import annotations

import contextlib
import io
import random
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tranship import CancelToken, Limits, Store, transfer
from tranship.endpoints import receiving
from tranship.engine.progress import key
from tranship.errors import Cancelled, DigestMismatch, NotFound, OutOfRange, Unavailable
from tranship.model import mediatypes, strict_json
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.testing.memory import Memory, MemorySource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZE = receiving.RESUMABLE
RAW = random.Random(1).randbytes(SIZE)

Opening = contextlib.AbstractContextManager[Any]


class Layer:
    """A blob that is opened as a test wants."""

    def __init__(self, descriptor: Descriptor, opening: Callable[[int], Opening]) -> None:
        self.descriptor = descriptor
        self.open = opening


class RangedLayer(Layer):
    """One that can be read by several connections."""

    def __init__(
        self, descriptor: Descriptor, opening: Callable[[int], Opening], ranging: Callable[[int, int], Opening]
    ) -> None:
        super().__init__(descriptor, opening)
        self.open_range = ranging


class Image(Memory):
    """An image of one large layer."""

    kind = "memory"

    def __init__(self, algorithm: str = "sha256") -> None:
        super().__init__()
        self.opened: Layer | None = None
        self.layer = self._put(RAW, mediatypes.OCI_LAYER, algorithm)
        value = {
            "schemaVersion": 2,
            "mediaType": mediatypes.OCI_MANIFEST,
            "config": self._put(b"{}", mediatypes.OCI_CONFIG).to_json(),
            "layers": [self.layer.to_json()],
        }
        self.names["example.com/app:1"] = self._put(strict_json.dumps(value), mediatypes.OCI_MANIFEST)

    def _put(self, raw: bytes, media_type: str, algorithm: str = "sha256") -> Descriptor:
        digest = Digest.of(raw, algorithm)
        self.blobs[digest] = raw
        return Descriptor(media_type=media_type, digest=digest, size=len(raw))

    def served(self, *openings: Any) -> Image:
        """The image with another way to open its layer."""
        self.opened = (RangedLayer if len(openings) == 2 else Layer)(self.layer, *openings)
        return self

    @contextlib.contextmanager
    def open_source(self, run: Any) -> Iterator[MemorySource]:
        opened = self.opened

        class Source(MemorySource):
            def blob(self, descriptor: Descriptor) -> Any:
                here = opened is not None and descriptor == opened.descriptor
                return opened if here else super().blob(descriptor)

        yield Source(self)


@contextlib.contextmanager
def cut(_offset: int, raw: bytes = RAW) -> Iterator[Any]:
    """The first half, and then nothing more."""

    class Cut(io.BytesIO):
        def readinto(self, buffer: Any, /) -> int:
            count = super().readinto(buffer)
            if not count:
                raise Unavailable("the connection was cut")
            return count

    yield Cut(raw[: SIZE // 2])


def half_received(algorithm: str, folder: Path, raw: bytes = RAW) -> None:
    """Leave half of the layer in a store."""
    with pytest.raises(Unavailable, match="was cut"):
        transfer(Image(algorithm).served(lambda at: cut(at, raw)), Store(root=folder))


def state(folder: Path, digest: Digest) -> tuple[bool, dict[str, int]]:
    """Is the blob in the store, and how much of it is in an ingest?"""
    with Store(root=folder).open() as opened:
        content = opened.namespace("default").content
        return content.has(digest), {status.ref: status.offset for status in content.statuses()}


def test_the_hashing_of_what_was_resumed_can_be_cancelled(tmp_path: Path) -> None:
    half_received("sha256", tmp_path)
    token = CancelToken()

    @contextlib.contextmanager
    def rest(offset: int) -> Iterator[Any]:
        reader = io.BytesIO(RAW)
        reader.seek(offset)
        yield reader
        token.cancel("enough")

    image = Image().served(rest)
    with pytest.raises(Cancelled, match="enough"):
        transfer(image, Store(root=tmp_path), cancel=token)
    assert state(tmp_path, image.layer.digest) == (False, {key(image.layer): SIZE})
    transfer(image, Store(root=tmp_path))
    assert state(tmp_path, image.layer.digest) == (True, {})


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_wrong_bytes_that_were_resumed_are_dropped_and_named_in_the_blobs_own_algorithm(
    algorithm: str, tmp_path: Path
) -> None:
    wrong = b"?" + RAW[1:]
    half_received(algorithm, tmp_path, wrong)
    image = Image(algorithm)
    with pytest.raises(DigestMismatch) as caught:
        transfer(image, Store(root=tmp_path))
    assert caught.value.actual == Digest.of(wrong, algorithm)
    assert state(tmp_path, image.layer.digest) == (False, {})
    transfer(image, Store(root=tmp_path))
    assert state(tmp_path, image.layer.digest) == (True, {})


# ------------------------------------------------------------------------------------------------- several connections


@pytest.fixture
def _small_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "_STRETCH", SIZE // 4)
    monkeypatch.setattr(receiving, "_ENOUGH", float("inf"))  # every connection is slow


def whole(offset: int) -> Opening:
    reader = io.BytesIO(RAW)
    reader.seek(offset)
    return reader


@pytest.mark.usefixtures("_small_stretches")
def test_ctrl_c_waits_for_all_connections_of_a_blob(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    left = threading.Event()

    def interrupt() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    barrier = threading.Barrier(2, action=interrupt)

    class Slow(io.BytesIO):
        def readinto(self, buffer: Any, /) -> int:
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(5)
                barrier.abort()
                left.wait(0.3)
            return super().readinto(buffer)

    image = Image().served(whole, lambda at, count: Slow(RAW[at : at + count]))
    with pytest.raises(KeyboardInterrupt):
        transfer(image, Store(root=tmp_path), limits=Limits(ranges=2, jobs=1))
    alive = set(threading.enumerate()) - before
    left.set()
    for thread in alive:
        thread.join()
    assert not alive


@pytest.mark.usefixtures("_small_stretches")
def test_a_connection_that_fails_stops_the_others_in_the_middle_of_theirs(tmp_path: Path) -> None:
    failed, chunks = threading.Event(), []

    class Failing(io.BytesIO):
        def readinto(self, _buffer: Any, /) -> int:
            failed.set()
            raise NotFound("the blob has gone")

    class Endless(io.BytesIO):
        def readinto(self, buffer: Any, /) -> int:
            failed.wait(5)
            time.sleep(0.001)
            chunks.append(1)
            return super().readinto(buffer[:1024])

    def open_range(at: int, count: int) -> Opening:
        return (Failing if at > SIZE // 4 else Endless)(RAW[at : at + count])

    with pytest.raises(NotFound, match="the blob has gone"):
        transfer(Image().served(whole, open_range), Store(root=tmp_path), limits=Limits(ranges=2))
    assert len(chunks) < SIZE // 4 // 1024


@pytest.mark.usefixtures("_small_stretches")
def test_a_source_that_turns_out_to_give_no_ranges_gives_the_rest_in_one_stream(tmp_path: Path) -> None:
    def open_range(at: int, count: int) -> Opening:
        if at > SIZE // 4:
            raise OutOfRange("no ranges here")
        return io.BytesIO(RAW[at : at + count])

    image = Image().served(whole, open_range)
    transfer(image, Store(root=tmp_path), limits=Limits(ranges=2))
    assert state(tmp_path, image.layer.digest) == (True, {})
