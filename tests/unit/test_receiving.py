"""Large blobs on their way into the store: what is resumed is hashed, and what is wrong is dropped."""

from __future__ import annotations

import contextlib
import io
import random
from typing import TYPE_CHECKING, Any

import pytest

from tranship import CancelToken, Store, transfer
from tranship.endpoints import receiving
from tranship.engine.progress import key
from tranship.errors import Cancelled, DigestMismatch, Unavailable
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

    def served(self, opening: Callable[[int], Opening]) -> Image:
        """The image with another way to open its layer."""
        self.opened = Layer(self.layer, opening)
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
