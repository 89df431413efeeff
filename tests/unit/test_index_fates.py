"""An index that is taken in part, with indexes in it: what is written anew, what takes its place, and what it is called then."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.hostile import Bundle
from tranship import Digest, Layout, Selection, Store, plan, transfer
from tranship.errors import InvalidArgument
from tranship.model import naming
from tranship.model.platform import Platform
from tranship.testing.memory import Memory

if TYPE_CHECKING:
    from pathlib import Path

    from tranship.engine.selection import IndexFate
    from tranship.model.descriptor import Root

AMD, ARM, S390 = (Platform.parse(text) for text in ("linux/amd64", "linux/arm64", "linux/s390x"))


@pytest.fixture
def nested(tmp_path: Path) -> Layout:
    """An index of s390x, of an index of amd64 and of one of arm64, and of an index of s390x in an index."""
    bundle = Bundle()

    def image(platform: Platform) -> dict[str, object]:
        return {**bundle.image(label=str(platform)), "platform": platform.to_json()}

    both = bundle.index([bundle.index([image(AMD)]), image(ARM)])
    deep = bundle.index([bundle.index([{**bundle.image(label="deep"), "platform": S390.to_json()}])])
    bundle.root(bundle.index([both, deep, image(S390)]), "example.com/app:1")
    return Layout(bundle.write(tmp_path / "nested"))


def platforms_below(memory: Memory, digest: str) -> list[object]:
    """As the documents tell them, in order, in lists as the indexes are."""
    value = json.loads(memory.blobs[Digest(digest)])
    return [
        str(Platform.from_json(child["platform"], ""))
        if "platform" in child
        else platforms_below(memory, child["digest"])
        for child in value["manifests"]
    ]


def rewritten(source: Layout, *platforms: Platform) -> tuple[Root, Memory]:
    into = Memory()
    (root,) = transfer(source, into, selection=Selection(platforms=platforms, index="rewrite")).roots
    return root, into


def test_indexes_in_an_index_are_written_anew_and_those_of_which_nothing_is_left_are_left_out(nested: Layout) -> None:
    root, into = rewritten(nested, AMD)
    assert platforms_below(into, root.descriptor.digest) == [[["linux/amd64"]]]
    root, into = rewritten(nested, ARM, S390)
    assert platforms_below(into, root.descriptor.digest) == [["linux/arm64"], [["linux/s390x"]], "linux/s390x"]
    assert transfer(into, Memory(), selection=Selection(all_platforms=True)).roots[0].descriptor == root.descriptor


def test_what_is_whole_keeps_its_bytes(nested: Layout) -> None:
    todo = plan(nested, Memory(), selection=Selection(platforms=(AMD, ARM), index="rewrite"))
    whole = plan(nested, Memory())
    kept = {d.digest for d in todo.documents} - {d.digest for d in whole.documents}
    assert kept == {todo.roots[0].descriptor.digest}  # the root alone is new: what is in it is there whole


def test_one_manifest_deep_below_takes_the_place_of_the_index(nested: Layout) -> None:
    into = Memory()
    (root,) = transfer(nested, into, selection=Selection(platforms=(ARM,), index="single")).roots
    assert root.descriptor.is_manifest
    assert root.descriptor.platform == ARM
    with pytest.raises(InvalidArgument, match="2 of them take part"):
        transfer(nested, Memory(), selection=Selection(platforms=(S390,), index="single"))


def test_platforms_are_counted_at_any_depth(nested: Layout) -> None:
    (part,) = transfer(nested, Memory(), selection=Selection(platforms=(AMD, ARM))).partial
    assert (part.selected, part.total) == (2, 4)


# ------------------------------------------------------------------------------------------------------- names with digests


@pytest.mark.parametrize("fate", ["single", "rewrite"])
@pytest.mark.parametrize("name", ["example.com/app@", "example.com/app:1@"])
def test_a_name_that_pins_the_index_pins_what_took_its_place(
    name: str, fate: IndexFate, nested: Layout, tmp_path: Path
) -> None:
    store = Store(root=tmp_path / "store", durability="process")
    digest = plan(nested, Memory()).roots[0].descriptor.digest
    transfer(nested, Store(name + digest, root=tmp_path / "store", durability="process"))
    into = Memory()
    (root,) = transfer(store, into, selection=Selection(platforms=(ARM,), index=fate)).roots
    assert root.descriptor.digest != digest
    assert root.name == name + root.descriptor.digest


def test_no_image_gets_a_name_with_another_digest(nested: Layout, tmp_path: Path) -> None:
    wrong = f"example.com/app@sha256:{'a' * 64}"
    for end in (Store(wrong, root=tmp_path / "store"), Layout(tmp_path / "out", wrong)):
        with pytest.raises(InvalidArgument, match="names another digest than the image has"):
            transfer(nested, end)
    assert not (tmp_path / "out").exists()


def test_only_a_digest_is_a_pin() -> None:
    old, new = Digest(f"sha256:{'a' * 64}"), Digest(f"sha512:{'b' * 128}")
    assert naming.pinned("user@host") is None
    assert naming.pinned(old) is None
    assert naming.repinned(f"app@{old}", old, new) == f"app@{new}"
    assert naming.repinned(f"app@{new}", old, old) == f"app@{new}"
    assert naming.repinned("app:1", old, new) == "app:1"


def test_indexes_that_hold_the_next_one_often_are_met_once_each(tmp_path: Path) -> None:
    bundle = Bundle()
    below = bundle.index(
        [{**bundle.image(label=str(platform)), "platform": platform.to_json()} for platform in (AMD, ARM)]
    )
    for _ in range(12):  # 68 billion ways down
        below = bundle.index([{**below, "annotations": {"which": str(n)}} for n in range(8)])
    bundle.root(below, "example.com/app:1")
    nested = Layout(bundle.write(tmp_path / "nested"))
    for fate in ("rewrite", "keep"):
        root = transfer(nested, Memory(), selection=Selection(platforms=(AMD,), index=fate)).roots[0]
        assert (root.descriptor.digest == nested_digest(nested)) == (fate == "keep")
    (single,) = transfer(nested, Memory(), selection=Selection(platforms=(AMD,), index="single")).roots
    assert single.descriptor.platform == AMD


def nested_digest(layout: Layout) -> Digest:
    return plan(layout, Memory()).roots[0].descriptor.digest
