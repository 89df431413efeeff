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
from tranship.model import manifest, mediatypes, strict_json
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.testing.memory import Memory

if TYPE_CHECKING:
    from pathlib import Path

EMPTY = {"mediaType": mediatypes.OCI_EMPTY, "digest": Digest.of(b"{}"), "size": 2}


def document(*, escaped: bool = True, **fields: Any) -> tuple[bytes, Descriptor]:
    """A manifest with these fields; `escaped`: other characters than ASCII's as escapes."""
    value = {"schemaVersion": 2, "mediaType": mediatypes.OCI_MANIFEST, "config": EMPTY, "layers": [], **fields}
    raw = json.dumps(value, separators=(",", ":"), ensure_ascii=escaped).encode()
    return raw, Descriptor(media_type=mediatypes.OCI_MANIFEST, digest=Digest.of(raw), size=len(raw))


@pytest.mark.parametrize(
    "padding",
    [
        {"x": [{} for _ in range(70_000)]},
        {"x": [[] for _ in range(110_000)]},
        {"x": list(range(150_000))},
        {"config": {**EMPTY, "x": [{"a": {}} for _ in range(46_000)]}},
        {"annotations": {f"{n:x}": "" for n in range(150_000)}},
        {"annotations": {"smile": "\U0001f600" + "x" * 4_000_000, **{f"{n:x}": "" for n in range(30_000)}}},
    ],
    ids=["objects", "lists", "numbers", "fields of a descriptor", "annotations", "wide characters"],
)
@pytest.mark.parametrize("escaped", [True, False])
def test_a_document_that_would_take_too_much_memory_is_not_parsed(padding: dict[str, Any], escaped: bool) -> None:
    raw, descriptor = document(**padding, escaped=escaped)
    assert len(raw) <= manifest.MAX_DOCUMENT
    with pytest.raises(InvalidArgument, match=r"would take more than 25165824 bytes of memory"):
        manifest.parse(raw, descriptor)


def test_documents_as_large_as_they_may_be_are_parsed() -> None:
    layer = {"mediaType": mediatypes.OCI_LAYER, "digest": Digest.of(b"x"), "size": 1}
    assert len(manifest.parse(*document(layers=[layer] * manifest.MAX_CHILDREN)).children) == manifest.MAX_CHILDREN + 1
    notes = {f"org.example.{n}": "some text that says as much as others do" for n in range(50_000)}
    assert len(manifest.parse(*document(annotations=notes)).annotations) == 50_000
    assert manifest.parse(*document(x=["\U0001f600" + "x" * 3_000_000])).raw
    platform = {"architecture": "arm64", "os": "linux", "variant": "v8"}
    image = {"mediaType": mediatypes.OCI_MANIFEST, "digest": Digest.of(b"y"), "size": 1234, "platform": platform}
    index = {"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, "manifests": [image] * manifest.MAX_CHILDREN}
    raw = json.dumps(index, indent=1).encode()
    assert len(manifest.parse(raw, manifest.describe(raw)).children) == manifest.MAX_CHILDREN


@pytest.mark.parametrize("kind", ["objects", "annotations"])
def test_what_the_densest_document_takes_is_about_what_it_is_said_to(kind: str) -> None:
    dense: dict[str, Any] = {
        "objects": {"config": {**EMPTY, "x": [{"a": {"b": {"c": 1}}} for _ in range(32_000)]}},
        "annotations": {"annotations": {f"{n:x}": f"{n:x}" for n in range(120_000)}},
    }[kind]
    raw, descriptor = document(**dense)
    tracemalloc.start()
    kept = manifest.parse(raw, descriptor)
    found, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept.descriptor.size == len(raw)
    assert found <= strict_json.MAX_MEMORY
    assert peak <= 1.5 * strict_json.MAX_MEMORY


def test_the_documents_of_one_image_take_together_what_one_may(tmp_path: Path) -> None:
    bundle = Bundle()
    many = {**EMPTY, "x": [{"a": 1} for _ in range(5_000)]}
    bundle.put(b"{}", mediatypes.OCI_EMPTY)
    images = [bundle.image(label=str(n), config=many) for n in range(16)]
    layout = bundle.root(bundle.index(images[:10])).write(tmp_path / "ten")
    assert len(plan(Layout(layout), Memory()).nodes) == 11
    layout = bundle.root(bundle.index(images), "a.example/all:1").write(tmp_path / "sixteen")
    with pytest.raises(InvalidArgument, match="would take more than 25165824 bytes of memory"):
        plan(Layout(layout, "a.example/all:1"), Memory())


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
