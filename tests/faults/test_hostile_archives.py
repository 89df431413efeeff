"""Images that nobody should trust, in archives of every form: refused with the right words, and nothing changes; or odd, and taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import graphs
from support.hostile import FORMS, NAME, Bundle, Untouched, assert_readable, check_store, presented
from support.hostile_images import ACCEPTED, FOUL, REFUSED, bundle_of
from tranship import Archive, Digest, Layout, Store, errors, transfer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("form", ["file", "pipe", "gzip"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_image_is_refused_and_the_store_stays_as_it_was(
    case: str, form: str, ends: Untouched, tmp_path: Path
) -> None:
    row = REFUSED[case]
    with presented(bundle_of(row.make), form, tmp_path) as end, pytest.raises(row.error, match=row.says) as caught:
        transfer(end, ends.store, selection=row.selection)
    assert_readable(caught.value)
    assert caught.value.side == "source"
    ends.check(moved=row.moved)


@pytest.mark.parametrize("case", [case for case in REFUSED if case != "two_images_of_one_name"])
def test_a_wrong_image_changes_no_archive(case: str, ends: Untouched, tmp_path: Path) -> None:
    row = REFUSED[case]
    with presented(bundle_of(row.make), "file", tmp_path) as end, pytest.raises(row.error):
        transfer(end, ends.archive, selection=row.selection)
    ends.check()


def test_an_archive_and_a_layout_may_list_two_images_of_one_name_but_none_is_chosen_by_it(tmp_path: Path) -> None:
    with presented(bundle_of(REFUSED["two_images_of_one_name"].make), "file", tmp_path) as end:
        summary = transfer(end, Archive(tmp_path / "copy.tar"))
        assert len({root.descriptor.digest for root in summary.roots}) == 2
    for name in (NAME, "1", "localhost/*"):
        with pytest.raises(errors.InvalidArgument, match="not one image") as caught:
            transfer(Archive(tmp_path / "copy.tar", name), Layout(tmp_path / "one"))
        assert_readable(caught.value)
    digest = summary.roots[0].descriptor.digest
    assert len(transfer(Archive(tmp_path / "copy.tar", digest), Layout(tmp_path / "one")).roots) == 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", ACCEPTED)
def test_an_odd_image_is_taken_whole(case: str, form: str, tmp_path: Path) -> None:
    row = ACCEPTED[case]
    bundle, store = bundle_of(row.make), Store(root=tmp_path / "store", durability="process")
    with presented(bundle, form, tmp_path) as end:
        summary = transfer(end, store, selection=row.selection)
    assert check_store(store) == row.images
    assert {root.descriptor.digest for root in summary.roots} == {root["digest"] for root in bundle.roots}
    with store.open() as opened:
        content = opened.namespace("default").content
        for root in bundle.roots:  # documents are kept as they are, byte for byte
            assert b"".join(content.read(Digest.parse(root["digest"]))) == bundle.files[bundle.path(root)]


@pytest.mark.parametrize("case", ACCEPTED)
def test_an_odd_image_goes_on_into_an_archive_and_a_layout_and_comes_back(case: str, tmp_path: Path) -> None:
    row = ACCEPTED[case]
    bundle, back = bundle_of(row.make), Store(root=tmp_path / "store", durability="process")
    with presented(bundle, "file", tmp_path) as end:
        transfer(end, Layout(tmp_path / "layout-out", durability="process"), selection=row.selection)
    transfer(Layout(tmp_path / "layout-out"), Archive(tmp_path / "out.tar", durability="process"))
    transfer(Archive(tmp_path / "out.tar"), back)
    assert check_store(back) == row.images
    for root in bundle.roots:
        graphs.closure(tmp_path / "layout-out", root["digest"], partial=True)


def test_a_name_that_pins_another_digest_is_no_way_to_its_image(tmp_path: Path) -> None:
    """A store takes such a name, as containerd does; but whoever asks for a digest gets those bytes or none."""
    bundle, store = Bundle(), Store(root=tmp_path / "store", durability="process")
    name = f"{NAME}@sha256:{'0' * 64}"
    with presented(bundle.root(bundle.image(), name), "file", tmp_path) as end:
        transfer(end, store)
    for end in (Archive(tmp_path / "evil.file", name), Store(name, root=tmp_path / "store")):
        with pytest.raises(errors.DigestMismatch, match="not what its name says") as caught:
            transfer(end, Layout(tmp_path / "layout"))
        assert_readable(caught.value)
        assert caught.value.side == "source"
    transfer(Store("localhost/*", root=tmp_path / "store"), Archive(tmp_path / "pattern.tar"))


def test_foul_names_are_stored_as_they_are(tmp_path: Path) -> None:
    store = Store(root=tmp_path / "store", durability="process")
    with presented(bundle_of(ACCEPTED["foul_names_and_annotations"].make), "file", tmp_path) as end:
        transfer(end, store)
    with store.open() as opened:
        (image,) = opened.namespace("default").images.list()
        assert image.name == f"localhost/evil:{FOUL}"
        assert image.target.annotations[FOUL] == FOUL
