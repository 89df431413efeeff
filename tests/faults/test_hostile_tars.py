"""Tars that nobody should trust: headers that lie, names that climb, ends that come too early; and odd ones that are right."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from support import raw_tar
from support.hostile import FORMS, KINDS, NAME, Untouched, assert_readable, check_store, presented, refuses, sound
from tranship import Archive, Store, errors, transfer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def rewritten(*changes: Callable[[list[bytes]], None]) -> bytes:
    """A sound archive whose list of members (each a header and its data) was changed."""
    members = list(sound().members())
    for change in changes:
        change(members)
    return b"".join(members) + raw_tar.END


WHOLE = sound().tar()
INDEX_JSON = sound().files["index.json"]
BLOB = next(name for name in sound().files if name.startswith("blobs/"))
EVIL = raw_tar.member(b"../../evil", b"evil")


@pytest.mark.parametrize("form", ["file", "pipe", "gzip"])
@pytest.mark.parametrize(
    "name",
    [
        b"../../evil",
        b"/tmp/evil",
        b"blobs/../../evil",
        b"a\0b",
        b"//evil",
        b"..",
        b".",
        b"C:\\evil",
        b"\xff\xfe",
        b"evil" * 900,
    ],
)
def test_names_that_climb_or_are_absolute_are_never_files(name: bytes, form: str, tmp_path: Path) -> None:
    head = raw_tar.pax(raw_tar.record(b"path", name)) if len(name) > 100 else b""
    data = head + raw_tar.member(name[:100], b"evil") + WHOLE
    store = Store(root=tmp_path / "in" / "store", durability="process")
    with presented(data, form, tmp_path) as end:
        transfer(end, store)
    assert check_store(store) == 1
    assert {path.name for path in tmp_path.iterdir()} <= {"in", f"evil.{form}"}
    assert not [path for path in (tmp_path / "in").rglob("*") if path.is_file() and path.read_bytes() == b"evil"]


@pytest.mark.parametrize("form", ["file", "pipe"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["index.json", "oci-layout", BLOB])
def test_nothing_but_a_file_counts_as_a_document_or_a_blob(
    name: str, kind: str, form: str, ends: Untouched, tmp_path: Path
) -> None:
    bundle = sound()
    real = bundle.files.pop(name)
    bundle.files["real"] = real
    bundle.special[name] = kind, "../" * name.count("/") + "real" if kind == "symlink" else "real"
    with presented(bundle, form, tmp_path) as end:
        refuses(end, ends, errors.TranshipError, "is no file|without index.json|no image|is not there|no such")


def lying(size_field: bytes, *before: bytes) -> bytes:
    return b"".join(before) + raw_tar.header(b"x", size_field=size_field) + WHOLE


TARS: dict[str, tuple[bytes, type[errors.TranshipError], str]] = {
    "no tar": (b"\x7fELF" * 1000, errors.InvalidArgument, "no tar archive"),
    "text": (b"GET / HTTP/1.1\r\n" * 100, errors.InvalidArgument, "no tar archive"),
    "nothing": (b"", errors.TranshipError, "it is empty"),
    "one byte": (b"o", errors.TranshipError, "tar"),
    "zeros": (bytes(10240), errors.InvalidArgument, "no image"),
    "no image in it": (
        raw_tar.member(b"etc/passwd", b"root") + raw_tar.END,
        errors.InvalidArgument,
        "no image.*etc/passwd",
    ),
    "a negative size": (lying(b"\xff" * 12), errors.InvalidArgument, "size"),
    "a size of 2^63": (lying(b"\x80\0\0\0\x80" + bytes(7)), errors.InvalidArgument, "size"),
    "a size of 2^63 - 1": (lying(b"\x80\0\0\0\x7f" + b"\xff" * 7), errors.TranshipError, "tar ends|room"),
    "a size of 2^90": (lying(b"\x80" + b"\x7f" * 11), errors.InvalidArgument, "size"),
    "a size of 8 GiB": (lying(b"77777777777\0"), errors.TranshipError, "tar ends"),
    "a size with a sign": (lying(b"-0000000010\0"), errors.TranshipError, "number"),
    "a size in hexadecimal": (lying(b"0x100000000\0"), errors.TranshipError, "number"),
    "a pax size beyond the end": (
        lying(b"00000000000\0", raw_tar.pax(raw_tar.record(b"size", b"99999999"))),
        errors.Truncated,
        "tar ends",
    ),
    "a negative pax size": (
        lying(b"00000000000\0", raw_tar.pax(raw_tar.record(b"size", b"-1"))),
        errors.InvalidArgument,
        "size",
    ),
    "a pax size that hides a header": (  # CVE-2025-62518: which of the two sizes counts decides what the archive holds
        raw_tar.pax(raw_tar.record(b"size", b"0"))
        + raw_tar.header(b"x", 1024)
        + raw_tar.member(b"index.json", INDEX_JSON.replace(b"evil", b"EVIL"))
        + WHOLE,
        errors.InvalidArgument,
        "stands twice",
    ),
    "a pax record of length 0": (raw_tar.pax(b"0 a=b\n") + WHOLE, errors.InvalidArgument, "malformed pax"),
    "a pax record that is too long": (raw_tar.pax(b"99 path=b\n") + WHOLE, errors.InvalidArgument, "malformed pax"),
    "a pax header of 2 MiB": (raw_tar.pax(b" " * (2 << 20)) + WHOLE, errors.InvalidArgument, "pax header of"),
    "a global path": (
        raw_tar.pax(raw_tar.record(b"path", b"index.json"), kind=b"g") + WHOLE,
        errors.InvalidArgument,
        "global",
    ),
    "a GNU sparse file": (raw_tar.header(b"index.json", 512, b"S") + bytes(512) + WHOLE, errors.Unsupported, "sparse"),
    "a pax sparse file": (
        raw_tar.pax(raw_tar.record(b"GNU.sparse.realsize", b"1099511627776")) + EVIL + WHOLE,
        errors.Unsupported,
        "sparse",
    ),
    "another volume": (raw_tar.header(b"x", 0, b"M") + WHOLE, errors.Unsupported, "volume"),
    "a wrong checksum in the middle": (
        rewritten(lambda m: m.insert(2, raw_tar.header(b"x", checksum=b"000001\0 "))),
        errors.DataLoss,
        "checksum",
    ),
    "one zero block in the middle": (rewritten(lambda m: m.insert(2, bytes(512))), errors.DataLoss, "zero block"),
    "two different index.json": (
        rewritten(lambda m: m.append(raw_tar.member(b"index.json", INDEX_JSON.replace(b"evil", b"EVIL")))),
        errors.InvalidArgument,
        "'index.json' stands twice",
    ),
    "two different index.json by another spelling": (
        rewritten(lambda m: m.append(raw_tar.member(b"./a/..//index.json", INDEX_JSON.replace(b"evil", b"EVIL")))),
        errors.InvalidArgument,
        "'index.json' stands twice",
    ),
    "index.json as a link and as a file": (
        raw_tar.member(b"index.json", kind=b"2", linkname=b"other.json") + WHOLE,
        errors.InvalidArgument,
        "stands twice",
    ),
    "index.json as a device and as a file": (
        raw_tar.member(b"index.json", kind=b"3") + WHOLE,
        errors.InvalidArgument,
        "stands twice",
    ),
    "a blob twice with other bytes": (
        rewritten(lambda m: m.append(raw_tar.member(BLOB.encode(), b"evil"))),
        errors.TranshipError,
        "stands twice|corrupt",
    ),
    "a name of control characters": (
        rewritten(lambda m: m.extend(raw_tar.member(b"\x1b[31m\xe2\x80\xae", data) for data in (b"a", b"b"))),
        errors.InvalidArgument,
        "stands twice",
    ),
    "data behind a directory": (raw_tar.member(b"blobs/", b"data", b"5") + WHOLE, errors.InvalidArgument, "claims"),
}


@pytest.mark.parametrize("form", ["file", "pipe", "gzip"])
@pytest.mark.parametrize("case", TARS)
def test_a_tar_that_lies_is_refused(case: str, form: str, ends: Untouched, tmp_path: Path) -> None:
    data, error, says = TARS[case]
    with presented(data, form, tmp_path) as end:
        refuses(end, ends, error, f"archive:(.|\n)*({says})")


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_cut_anywhere_is_refused_as_truncated(form: str, ends: Untouched, tmp_path: Path) -> None:
    for at in [*range(1, len(WHOLE) - 512, 331), len(WHOLE) - 1024, len(WHOLE) - 513]:
        with presented(WHOLE[:at], form, tmp_path) as end:
            refuses(end, ends, errors.TranshipError if at < 512 else errors.Truncated, "tar")


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_a_compressed_archive_cut_anywhere_is_refused(form: str, ends: Untouched, tmp_path: Path) -> None:
    with presented(WHOLE, form, tmp_path) as end:
        packed = (tmp_path / f"evil.{form}").read_bytes()
        for at in range(1, len(packed) * 9 // 10, 97):
            (tmp_path / f"evil.{form}").write_bytes(packed[:at])
            refuses(end, ends, errors.TranshipError, "archive:")


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_a_compressed_archive_with_a_flipped_byte_is_refused_or_was_not_hurt(
    form: str, ends: Untouched, tmp_path: Path
) -> None:
    with presented(WHOLE, form, tmp_path) as end:
        packed = (tmp_path / f"evil.{form}").read_bytes()
        for at in range(0, len(packed), 61):
            (tmp_path / f"evil.{form}").write_bytes(packed[:at] + bytes([packed[at] ^ 0x10]) + packed[at + 1 :])
            store = Store(root=tmp_path / f"store-{at}", durability="process")
            try:
                transfer(end, store)
            except errors.TranshipError as error:
                assert_readable(error)  # either way is right
            else:
                assert check_store(store) == 1
    ends.check()


# ------------------------------------------------------------------------------------------------- odd tars that are right

ODD = {
    "garbage after the end": WHOLE + b"garbage" * 5000,
    "another archive after the end": WHOLE + sound(name="localhost/other:1").tar(),
    "zeros after the end": WHOLE + bytes(1 << 20),
    "one zero block at the end": WHOLE[:-512],
    "index.json at the end": rewritten(lambda m: m.append(m.pop(-1))),
    "index.json in front": rewritten(lambda m: m.insert(0, m.pop(-1))),
    "the same index.json twice": rewritten(lambda m: m.append(m[-1])),
    "the same blob twice": rewritten(lambda m: m.insert(0, m[0])),
    "directories too": rewritten(
        lambda m: [m.insert(0, raw_tar.member(n, kind=b"5")) for n in (b"blobs/sha256/", b"./blobs/", b"./")] and None
    ),
    "directories twice, and in v7's way": rewritten(lambda m: m.extend([raw_tar.member(b"blobs/", kind=b"\0")] * 2)),
    "links and devices that nobody asks for": rewritten(
        lambda m: m.extend(
            raw_tar.member(b"l" + k, kind=k, linkname=b"/etc/passwd") for k in (b"1", b"2", b"3", b"4", b"6")
        )
    ),
    "a global header": raw_tar.pax(raw_tar.record(b"comment", b"git archive"), kind=b"g") + WHOLE,
    "a contiguous file": WHOLE.replace(b"", b"", 0),
}


@pytest.mark.parametrize("form", ["file", "pipe", "gzip"])
@pytest.mark.parametrize("case", ODD)
def test_an_odd_tar_is_read(case: str, form: str, tmp_path: Path) -> None:
    store = Store(root=tmp_path / "store", durability="process")
    with presented(ODD[case], form, tmp_path) as end:
        assert [root.name for root in transfer(end, store).roots] == [NAME]
    assert check_store(store) == 1


@pytest.mark.parametrize("form", ["file", "pipe"])
@pytest.mark.parametrize("prefix", ["./", ".//", "x/../", "././"])
def test_names_are_cleaned_before_they_are_compared(prefix: str, form: str, tmp_path: Path) -> None:
    bundle = sound()
    bundle.files = {prefix + name: data for name, data in bundle.files.items()}
    store = Store(root=tmp_path / "store", durability="process")
    with presented(bundle, form, tmp_path) as end:
        transfer(end, store)
    assert check_store(store) == 1


@pytest.mark.parametrize("form", ["file", "pipe"])
def test_long_names_in_gnus_and_paxs_way_are_read(form: str, tmp_path: Path) -> None:
    members = sound(2).members()
    digits = b"blobs/sha256/"
    data = b"".join(
        (raw_tar.member(b"././@LongLink", m[:100].rstrip(b"\0") + b"\0", b"L") if m.startswith(digits) else b"") + m
        for m in members
    )
    store = Store(root=tmp_path / "store", durability="process")
    with presented(data + raw_tar.END, form, tmp_path) as end:
        transfer(end, store)
    assert check_store(store) == 1


def test_gzip_of_several_members_and_zeros_behind_it_are_read(tmp_path: Path) -> None:
    packed = b"".join(gzip.compress(WHOLE[at : at + 1000]) for at in range(0, len(WHOLE), 1000))
    (tmp_path / "a.tar.gz").write_bytes(packed + bytes(4096))
    store = Store(root=tmp_path / "store", durability="process")
    transfer(Archive(tmp_path / "a.tar.gz"), store)
    assert check_store(store) == 1


@pytest.mark.parametrize(("magic", "name"), [(b"BZh91AY&SY", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"PK\x03\x04", "zip")])
def test_other_compressions_are_named(magic: bytes, name: str, ends: Untouched, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(magic + bytes(1000))
    refuses(Archive(tmp_path / "a.tar"), ends, errors.Unsupported, f"a.tar.*{name}")


def test_a_file_is_not_asked_about_blobs_that_nothing_refers_to_and_a_pipe_is(ends: Untouched, tmp_path: Path) -> None:
    bundle = sound()
    bundle.files["blobs/sha256/" + "0" * 64] = b"something else"
    with presented(bundle, "pipe", tmp_path) as end:
        refuses(end, ends, errors.DigestMismatch, "sha256/0000.* is corrupt")
    store = Store(root=tmp_path / "store", durability="process")
    with presented(bundle, "file", tmp_path) as end:
        transfer(end, store)
    assert check_store(store) == 1
