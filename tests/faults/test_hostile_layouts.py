"""Layout directories that nobody should trust, to read from and to write into."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from support import graphs
from support.hostile import NAME, Bundle, Untouched, assert_readable, check_store, presented, refuses, sound, tree
from support.hostile_images import ACCEPTED, REFUSED, bundle_of
from tranship import Archive, Layout, Selection, Store, errors, transfer

if TYPE_CHECKING:
    from pathlib import Path

KINDS = [
    "fifo",
    "directory",
    "symlink",
    "socket",
    *(["device"] if sys.platform == "linux" and not os.geteuid() else []),
]
BLOB = next(name for name in sound().files if name.startswith("blobs/"))


# -------------------------------------------------------------------------------------------------------- to read from


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_image_is_refused_and_the_store_stays_as_it_was(case: str, ends: Untouched, tmp_path: Path) -> None:
    row = REFUSED[case]
    with presented(bundle_of(row.make), "layout", tmp_path) as end, pytest.raises(row.error, match=row.says) as caught:
        transfer(end, ends.store, selection=row.selection)
    assert_readable(caught.value)
    assert caught.value.side == "source"
    ends.check(moved=row.moved)


@pytest.mark.parametrize("case", [case for case in REFUSED if case != "two_images_of_one_name"])
def test_a_wrong_image_is_listed_in_no_layout(case: str, ends: Untouched, tmp_path: Path) -> None:
    row = REFUSED[case]
    index = (ends.folder / "out" / "good" / "index.json").read_bytes()
    with presented(bundle_of(row.make), "layout", tmp_path) as end, pytest.raises(row.error):
        transfer(end, ends.layout, selection=row.selection)
    assert (ends.folder / "out" / "good" / "index.json").read_bytes() == index
    if not row.moved:  # else blobs may lie there that nothing refers to, for the next attempt
        ends.check()


@pytest.mark.parametrize("case", ACCEPTED)
def test_an_odd_image_is_taken_whole(case: str, tmp_path: Path) -> None:
    row = ACCEPTED[case]
    store = Store(root=tmp_path / "store", durability="process")
    with presented(bundle_of(row.make), "layout", tmp_path) as end:
        transfer(end, store, selection=row.selection)
    assert check_store(store) == row.images


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["index.json", "oci-layout", BLOB])
def test_nothing_but_a_file_is_read(name: str, kind: str, ends: Untouched, tmp_path: Path) -> None:
    bundle = sound()
    (tmp_path / "real").write_bytes(bundle.files.pop(name))
    bundle.special[name] = kind, str(tmp_path / "real")
    with presented(bundle, "layout", tmp_path) as end:
        refuses(end, ends, errors.InvalidArgument, "oci:.*is not a regular file|is not a regular file", moved=True)


@pytest.mark.parametrize("kind", ["fifo", "file", "symlink"])
@pytest.mark.parametrize("name", ["blobs", "blobs/sha256"])
def test_the_folders_of_blobs_may_be_anything_and_nothing_hangs(
    name: str, kind: str, ends: Untouched, tmp_path: Path
) -> None:
    bundle = sound()
    bundle.files = {path: data for path, data in bundle.files.items() if not path.startswith(name)}
    if kind == "file":
        bundle.files[name] = b"no folder"
    else:
        bundle.special[name] = kind, name.rpartition("/")[2]  # to itself
    with presented(bundle, "layout", tmp_path) as end:
        refuses(end, ends, errors.TranshipError, "is not there|not a regular file")


@pytest.mark.parametrize("kind", ["fifo", "file", "symlink to nothing", "absent"])
def test_what_is_no_directory_is_no_layout(kind: str, ends: Untouched, tmp_path: Path) -> None:
    path = tmp_path / "layout"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "file":
        path.write_bytes(b"x")
    elif kind == "symlink to nothing":
        path.symlink_to("nothing")
    refuses(
        Layout(path), ends, errors.NotFound if "no" in kind or kind == "absent" else errors.InvalidArgument, "director"
    )


def test_a_file_that_may_not_be_read_is_an_error_of_the_system(ends: Untouched, tmp_path: Path) -> None:
    with presented(sound(), "layout", tmp_path) as end:
        (tmp_path / "layout" / "index.json").chmod(0)
        if os.geteuid():
            with pytest.raises(PermissionError):
                transfer(end, ends.store)
        ends.check()


def test_a_blob_that_changes_while_it_is_read_is_not_taken(ends: Untouched, tmp_path: Path) -> None:
    """Found when it is opened: shorter, longer, or of the same length with other bytes."""
    for change in (b"", b"much longer than it was" * 1000, None):
        bundle = Bundle()
        bundle.root(bundle.image(label="unheard of"))
        layer = next(name for name, data in bundle.files.items() if name.startswith("blobs/") and b"ustar" in data)
        with presented(bundle, "layout", tmp_path) as end:
            path = tmp_path / "layout" / layer
            with end.open_source(_run()) as source:
                descriptor = next(
                    d
                    for root in source.roots()
                    for d in _children(source, root.descriptor)
                    if layer.endswith(d.digest.hex)
                )
                assert source.has(descriptor)
            path.write_bytes(change if change is not None else bytes(len(path.read_bytes())))
            refuses(end, ends, errors.DataLoss, "sha256:", moved=True)


def _run():
    from tranship.engine.run import Run

    return Run()


def _children(source, descriptor):
    from tranship.engine.graph import read_all
    from tranship.model.manifest import parse

    return parse(read_all(source, descriptor), descriptor).children


# ------------------------------------------------------------------------------------------------------- to write into


@pytest.fixture
def good(tmp_path: Path) -> Layout:
    return Layout(sound(2, "localhost/good:1").write(tmp_path / "good"))


@pytest.mark.parametrize("name", ["blobs", "blobs/sha256"])
def test_no_byte_is_written_through_a_link_out_of_the_layout(name: str, good: Layout, tmp_path: Path) -> None:
    target, victim = tmp_path / "evil", tmp_path / "victim"
    victim.mkdir()
    (target / name).parent.mkdir(parents=True)
    (target / name).symlink_to(victim)
    with pytest.raises(errors.InvalidArgument, match=r"oci:.*is no directory of its own") as caught:
        transfer(good, Layout(target))
    assert caught.value.side == "destination"
    assert list(victim.iterdir()) == []


@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
@pytest.mark.parametrize("kind", ["fifo", "directory", "symlink", "text"])
def test_a_layout_that_cannot_be_added_to_is_refused_before_the_first_write(
    kind: str, name: str, good: Layout, tmp_path: Path
) -> None:
    bundle = sound()
    (tmp_path / "elsewhere").write_bytes(bundle.files.pop(name))
    if kind == "text":
        bundle.files[name] = b"my notes"
    else:
        bundle.special[name] = kind, str(tmp_path / "elsewhere")
    with presented(bundle, "layout", tmp_path):
        before = tree(tmp_path / "layout"), (tmp_path / "elsewhere").read_bytes()
        with pytest.raises(errors.InvalidArgument, match=f"{name}|not a regular file") as caught:
            transfer(good, Layout(tmp_path / "layout"))
        assert_readable(caught.value)
        assert (tree(tmp_path / "layout"), (tmp_path / "elsewhere").read_bytes()) == before


@pytest.mark.parametrize("kind", ["fifo", "symlink", "other bytes", "more bytes", "socket"])
def test_what_stands_in_the_place_of_a_blob_is_replaced_by_the_blob(kind: str, good: Layout, tmp_path: Path) -> None:
    bundle = sound(2, "localhost/good:1")
    (tmp_path / "elsewhere").write_bytes(b"elsewhere")
    real = bundle.files.pop(BLOB) if BLOB in bundle.files else b""
    name = next(name for name in sound(2, "localhost/good:1").files if name.startswith("blobs/"))
    bundle = sound(2, "localhost/good:1")
    real = bundle.files.pop(name)
    if kind.endswith("bytes"):
        bundle.files[name] = bytes(len(real) + (kind == "more bytes"))
    else:
        bundle.special[name] = kind, str(tmp_path / "elsewhere")
    with presented(bundle, "layout", tmp_path):
        transfer(good, Layout(tmp_path / "layout"))
    assert graphs.images(tmp_path / "layout") == graphs.images(tmp_path / "good")
    assert (tmp_path / "elsewhere").read_bytes() == b"elsewhere"
    assert not (tmp_path / "layout" / name).is_symlink()


@pytest.mark.parametrize("kind", ["file", "fifo", "symlink to nothing", "below a file"])
def test_what_cannot_become_a_layout_is_said_so(kind: str, good: Layout, tmp_path: Path) -> None:
    path = tmp_path / "target"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "symlink to nothing":
        path.symlink_to("nothing")
    else:
        path.write_bytes(b"mine")
    with pytest.raises((errors.InvalidArgument, errors.NotFound, NotADirectoryError)) as caught:
        transfer(good, Layout(path / "below" if kind == "below a file" else path))
    assert getattr(caught.value, "side", "destination") == "destination"


def test_a_directory_in_the_place_of_a_blob_is_an_error(good: Layout, tmp_path: Path) -> None:
    name = next(name for name in sound(2, "localhost/good:1").files if name.startswith("blobs/"))
    (tmp_path / "layout" / name).mkdir(parents=True)
    with pytest.raises(errors.InvalidArgument, match="is a directory") as caught:
        transfer(good, Layout(tmp_path / "layout"))
    assert caught.value.side == "destination"
    assert not (tmp_path / "layout" / "index.json").exists()


def test_other_fields_of_the_index_are_kept(good: Layout, tmp_path: Path) -> None:
    bundle = sound()
    bundle.close(annotations={"org.example": "kept"}, unknown=[1, {"x": None}])
    with presented(bundle, "layout", tmp_path):
        transfer(good, Layout(tmp_path / "layout"))
    index = json.loads((tmp_path / "layout" / "index.json").read_bytes())
    assert index["annotations"] == {"org.example": "kept"}
    assert index["unknown"] == [1, {"x": None}]
    assert [m["annotations"]["io.containerd.image.name"] for m in index["manifests"]] == [NAME, "localhost/good:1"]


def test_a_layout_whose_first_writer_died_between_its_two_files_is_completed(good: Layout, tmp_path: Path) -> None:
    (tmp_path / "layout").mkdir()
    (tmp_path / "layout" / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')
    transfer(good, Layout(tmp_path / "layout"))
    assert graphs.images(tmp_path / "layout") == graphs.images(tmp_path / "good")


def test_the_scratch_of_a_writer_that_died_is_removed_and_that_of_a_living_one_is_not(
    good: Layout, tmp_path: Path
) -> None:
    dead, alive = tmp_path / "layout" / ".tranship-dead", tmp_path / "layout" / ".tranship-alive"
    for folder in (dead, alive):
        folder.mkdir(parents=True)
        (folder / "part").write_bytes(b"part")
    (tmp_path / "layout" / ".tranship-link").symlink_to(tmp_path / "good")
    fd = os.open(alive, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    transfer(good, Layout(tmp_path / "layout"))
    os.close(fd)
    left = sorted(path.name for path in (tmp_path / "layout").iterdir())
    assert left == [".tranship-alive", ".tranship-link", "blobs", "index.json", "oci-layout"]
    assert graphs.images(tmp_path / "layout") == graphs.images(tmp_path / "good")


def test_a_present_blob_is_believed_only_when_its_bytes_are_right(good: Layout, tmp_path: Path) -> None:
    target = Layout(tmp_path / "layout")
    transfer(good, target)
    for path in (tmp_path / "layout" / "blobs" / "sha256").iterdir():
        path.write_bytes(bytes(path.stat().st_size))
    transfer(good, target)
    assert graphs.images(tmp_path / "layout") == graphs.images(tmp_path / "good")


def test_an_index_that_nobody_would_read_is_not_written(good: Layout, tmp_path: Path) -> None:
    target = Layout(tmp_path / "layout", "localhost/" + "x" * (21 << 20))
    with pytest.raises(errors.InvalidArgument, match=r"index\.json of so many images") as caught:
        transfer(good, target)
    assert_readable(caught.value)
    assert not (tmp_path / "layout" / "index.json").exists()


def test_referrers_are_looked_for_once_however_many_images_there_are(tmp_path: Path, monkeypatch) -> None:
    from tranship.endpoints import referrers

    bundle = Bundle()
    subjects = [bundle.image(label=f"{n}") for n in range(30)]
    for n, subject in enumerate(subjects):
        bundle.root(subject, f"localhost/evil:{n}")
        said = {key: subject[key] for key in ("mediaType", "digest", "size")}
        bundle.root(bundle.image(subject=said, config=bundle.put(b"{}", "application/vnd.oci.empty.v1+json")), None)
    read, parse = [], referrers.parse
    monkeypatch.setattr(referrers, "parse", lambda raw, descriptor: read.append(descriptor) or parse(raw, descriptor))
    with presented(bundle, "layout", tmp_path, names=tuple(f"localhost/evil:{n}" for n in range(30))) as end:
        summary = transfer(end, Archive(tmp_path / "a.tar"), selection=Selection(referrers=""))
    assert sum(root.subject is not None for root in summary.roots) == 30
    assert len(read) == len({descriptor.digest for descriptor in read})
