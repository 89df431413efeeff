"""What documents may take of the memory: a few times their bytes, whatever is in them, and less for one image than for many."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from support.hostile import Bundle
from tranship import Layout, plan
from tranship.engine import graph
from tranship.errors import InvalidArgument
from tranship.model import manifest, mediatypes
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.testing.memory import Memory

if TYPE_CHECKING:
    from pathlib import Path

EMPTY = {"mediaType": mediatypes.OCI_EMPTY, "digest": Digest.of(b"{}"), "size": 2}


def document(**fields: Any) -> tuple[bytes, Descriptor]:
    """A manifest with these fields."""
    value = {"schemaVersion": 2, "mediaType": mediatypes.OCI_MANIFEST, "config": EMPTY, "layers": [], **fields}
    raw = json.dumps(value, separators=(",", ":")).encode()
    return raw, Descriptor(media_type=mediatypes.OCI_MANIFEST, digest=Digest.of(raw), size=len(raw))


@pytest.mark.parametrize(
    "padding",
    [
        {"x": [{} for _ in range(20_000)]},
        {"x": [[] for _ in range(20_000)]},
        {"x": list(range(30_000))},
        {"config": {**EMPTY, "x": [{"a": {}} for _ in range(10_000)]}},
        {"annotations": {f"{n:x}": "" for n in range(40_000)}},
    ],
    ids=["objects", "lists", "numbers", "fields of a descriptor", "annotations"],
)
def test_a_document_of_more_values_than_its_bytes_account_for_is_not_parsed(padding: dict[str, Any]) -> None:
    raw, descriptor = document(**padding)
    with pytest.raises(InvalidArgument, match=r"has more than [0-9]+ values"):
        manifest.parse(raw, descriptor)


def test_documents_as_large_as_they_may_be_are_parsed() -> None:
    layer = {"mediaType": mediatypes.OCI_LAYER, "digest": Digest.of(b"x"), "size": 1}
    assert len(manifest.parse(*document(layers=[layer] * manifest.MAX_CHILDREN)).children) == manifest.MAX_CHILDREN + 1
    notes = {f"org.example.{n}": "some text that says as much as others do" for n in range(50_000)}
    assert len(manifest.parse(*document(annotations=notes)).annotations) == 50_000
    assert manifest.parse(*document(x=[{} for _ in range(5_000)])).raw


@pytest.mark.parametrize("kind", ["objects", "annotations"])
def test_what_is_kept_of_the_densest_document_is_a_few_times_its_bytes(kind: str) -> None:
    size = 1_500_000
    most = manifest.FEW_VALUES + size // manifest.BYTES_A_VALUE - 20
    dense: dict[str, Any] = {
        "objects": {"config": {**EMPTY, "x": [{} for _ in range(most // 2)]}},
        "annotations": {"annotations": {f"{n:x}": f"{n:x}" for n in range(most)}},
    }[kind]
    missing = size - len(document(**dense, pad="")[0])
    raw, descriptor = document(**dense, pad="x" * missing)
    tracemalloc.start()
    kept = manifest.parse(raw, descriptor)
    found, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept.descriptor.size == size
    assert found <= 10 * size
    assert peak <= 16 * size


def test_one_image_may_have_fewer_bytes_of_documents_than_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "READ_FOR_ONE", 50_000)
    monkeypatch.setattr(graph, "READ_FOR_MORE", 6_000)
    one, many = Bundle(), Bundle()
    one.root(
        one.index([one.image(label=str(n), annotations={"x": str(n) * 4_000}) for n in range(10, 25)]), "a.example/a:1"
    )
    for n in range(10, 25):
        many.root(many.image(label=str(n), annotations={"x": str(n) * 4_000}), f"a.example/a:{n}")
    with pytest.raises(InvalidArgument, match="more than 56000 bytes"):
        plan(Layout(one.write(tmp_path / "one")), Memory())
    assert len(plan(Layout(many.write(tmp_path / "many")), Memory()).roots) == 15
