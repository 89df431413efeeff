"""Several sources as one: who is asked for an object, and when."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tranship.endpoints.several import SeveralSources
from tranship.engine.graph import read_all
from tranship.model import mediatypes
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.testing.graphs import random_images
from tranship.testing.memory import Memory, MemorySource

if TYPE_CHECKING:
    from collections.abc import Sequence


class Asked(MemorySource):
    """Counts the looks that it has had to take."""

    looks = 0

    def has(self, descriptor: Descriptor) -> bool:
        self.looks += 1
        return super().has(descriptor)


CONTENT = b"a layer"
LAYER = Descriptor(media_type=mediatypes.OCI_LAYER_GZIP, digest=Digest.of(CONTENT), size=len(CONTENT))


@pytest.fixture
def sources() -> Sequence[Asked]:
    """Two, of which the second has the layer."""
    return Asked(Memory()), Asked(Memory({LAYER.digest: CONTENT}))


def test_naming_a_blob_asks_nobody(sources: Sequence[Asked]) -> None:
    whole = SeveralSources(sources)
    blob = whole.blob(LAYER)
    assert [source.looks for source in sources] == [0, 0]
    with blob.open(2) as reader:
        view = memoryview(bytearray(10))
        assert view[: reader.readinto(view)] == CONTENT[2:]


def test_whoever_has_a_blob_is_looked_for_once(sources: Sequence[Asked]) -> None:
    whole = SeveralSources(sources)
    for _ in range(3):
        assert whole.has(LAYER)
        assert read_all(whole, LAYER) == CONTENT
    assert [source.looks for source in sources] == [1, 1]


def test_what_nobody_has_is_looked_for_again(sources: Sequence[Asked]) -> None:
    whole = SeveralSources(sources[:1])
    assert [whole.has(LAYER) for _ in range(2)] == [False, False]
    assert sources[0].looks == 2


def test_a_document_is_looked_for_when_it_is_opened() -> None:
    images = random_images(random.Random(1), count=1)
    (target,) = images.names.values()
    sources = Asked(Memory()), Asked(images)
    blob = SeveralSources(sources).blob(target)
    assert [source.looks for source in sources] == [0, 0]
    with blob.open() as reader:
        assert reader.readinto(memoryview(bytearray(target.size))) == target.size
