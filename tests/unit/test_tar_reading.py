"""Tar archives of every common writer are read alike from files and from pipes, and hostile ones are refused."""

import io
import os
import subprocess
import tarfile

import pytest

from support.raw_tar import END, Trickle, header, member, padded, pax, record
from tranship.errors import DataLoss, InvalidArgument, TranshipError, Truncated, Unsupported
from tranship.formats.tar import Member, TarStream, clean, read_index
from tranship.pump import pump


def from_file(data: bytes, **limits: int) -> list[Member]:
    return read_index(lambda offset, count: data[offset : offset + count], len(data), **limits)


def from_pipe(data: bytes, **limits: int) -> list[Member]:
    return list(TarStream(Trickle(data, 700), **limits))


@pytest.fixture(params=[from_file, from_pipe], ids=["file", "pipe"])
def read(request):
    return request.param


def contents(data: bytes) -> dict[str, bytes]:
    """Every file's bytes as a pipe gives them, checked against where the index says they are."""
    index = {m.name: m for m in from_file(data)}
    found = {}
    stream = TarStream(Trickle(data, 1000))
    for one in stream:
        assert one == index[one.name]
        body = bytearray()
        pump(stream, body.extend)
        assert body == data[one.data_offset : one.data_offset + one.size]
        found[one.name] = bytes(body)
    return found


def by_tarfile(files: dict[str, bytes], style: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=style) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


FILES = {
    "oci-layout": b"{}",
    "empty": b"",
    "block": b"b" * 512,
    "blobs/sha256/" + "a" * 64: os.urandom(70_000),
    "d/" * 70 + "a-name-that-needs-a-prefix": b"p",
    "blobs/sha512/" + "f" * 128: b"no slash to split the name at",
    "naïve-☃": b"not ASCII",
}


@pytest.mark.parametrize("style", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_pythons_tarfile_writes_is_read_back(style):
    files = {k: v for k, v in FILES.items() if style != tarfile.USTAR_FORMAT or "sha512" not in k}
    assert contents(by_tarfile(files, style)) == files


@pytest.mark.parametrize("style", ["v7", "oldgnu", "gnu", "ustar", "pax"])
def test_what_gnu_tar_writes_is_read_back(style, tmp_path):
    short = style in ("v7", "ustar")
    files = {k: v for k, v in FILES.items() if not short or len(k) <= 99}
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "link").symlink_to("oci-layout")
    os.link(tmp_path / "block", tmp_path / "linked")
    command = ["tar", "--format", style, "-C", str(tmp_path), "-cf", "-", *sorted([*files, "link", "linked"])]
    data = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    index = {m.name: m for m in from_file(data)}
    assert {m.kind for m in index.values()} == {"file", "symlink", "hardlink"}
    assert index["link"].linkname == "oci-layout"
    assert index["linked"].linkname == "block"
    found = contents(data)
    assert {name: found[name] for name in files} == files
    assert index["oci-layout"].mtime == int((tmp_path / "oci-layout").stat().st_mtime)
    assert index["oci-layout"].uid == os.getuid()


def test_the_index_reads_headers_and_no_data():
    data = member(b"big", b"x" * 100_000) + member(b"small", b"y") + END
    asked = []

    def read_at(offset, count):
        asked.append((offset, count))
        return data[offset : offset + count]

    assert [m.name for m in read_index(read_at, len(data))] == ["big", "small"]
    assert sum(count for _, count in asked) == 4 * 512


def test_a_pipe_passes_over_what_its_reader_leaves():
    data = member(b"a", b"1" * 5000) + member(b"b", b"2" * 5000) + member(b"c", b"3" * 10) + END + b"rest"
    source = Trickle(data, 300)
    stream = TarStream(source)
    seen = {}
    for one in stream:
        view = memoryview(bytearray(4))
        seen[one.name] = bytes(view[: stream.readinto(view)])
    assert seen == {"a": b"1111", "b": b"2222", "c": b"3333"}
    assert stream.readinto(memoryview(bytearray(1))) == 0
    rest = bytearray()
    pump(source, rest.extend)
    assert rest == b"rest"


def test_names_are_cleaned_and_climbing_ones_stay_climbing():
    assert clean("./x") == "x"
    assert clean("a//b/./c/") == "a/b/c"
    assert clean("a/../b") == "b"
    assert clean("//etc/passwd") == "/etc/passwd"
    assert clean("../../x") == "../../x"
    assert clean("./") == clean("") == "."
    assert clean("..x/.y") == "..x/.y"
    data = member(b"./a", b"1") + member(b"/etc/passwd", b"2") + member(b"../up", b"3") + END
    assert list(contents(data)) == ["a", "/etc/passwd", "../up"]


def test_kinds_are_told_apart(read):
    data = (
        member(b"old\0", kind=b"\0")
        + member(b"contiguous", kind=b"7")
        + member(b"old-dir/", kind=b"\0")
        + member(b"dir/", kind=b"5")
        + member(b"link", kind=b"2", linkname=b"../x")
        + member(b"hard", kind=b"1", linkname=b"old")
        + member(b"fifo", kind=b"6")
        + member(b"null", kind=b"3")
        + member(b"vendor", b"data", kind=b"Z")
        + member(b"last", b"!")
        + END
    )
    assert [(m.name, m.kind) for m in read(data)] == [
        ("old", "file"),
        ("contiguous", "file"),
        ("old-dir", "directory"),
        ("dir", "directory"),
        ("link", "symlink"),
        ("hard", "hardlink"),
        ("fifo", "other"),
        ("null", "other"),
        ("vendor", "other"),
        ("last", "file"),
    ]


def test_numbers_are_read_in_every_spelling(read):
    base256 = b"\x80" + (1 << 33).to_bytes(11, "big")
    data = (
        header(b"spaces", mode=b"   644 \0", uid=b"       \0")
        + header(b"bits", mode=b"0100755\0")
        + header(b"time", mtime=b"\xff" + (-5).to_bytes(11, "big", signed=True))
        + header(b"owner", uid=b"\x80\0\0\0\0\x20\0\0")
        + header(b"signed", checksum=None)
        + pax(record(b"uid", b"3000000"), record(b"gid", b"7"), record(b"mtime", b"12.75"))
        + header(b"pax")
    )
    found = {m.name: m for m in read(data + END)}
    assert (found["spaces"].mode, found["spaces"].uid, found["bits"].mode) == (0o644, 0, 0o755)
    assert (found["time"].mtime, found["owner"].uid) == (-5, 1 << 21)
    assert (found["pax"].uid, found["pax"].gid, found["pax"].mtime) == (3_000_000, 7, 12)
    with pytest.raises(Truncated, match="8589934592 bytes"):
        read(header(b"big", size_field=base256) + END)


def test_checksums_of_signed_bytes_are_accepted(read):
    name = "ü".encode()
    unsigned = sum(header(name, checksum=b" " * 8))
    block = header(name, checksum=b"%06o\0 " % (unsigned - 2 * 256))
    assert read(block + END)[0].name == "ü"


def test_pax_size_counts_for_the_data_and_for_the_next_header(read):
    """CVE-2025-62518: the data would otherwise be read as members."""
    inner = member(b"smuggled", b"evil")
    data = pax(record(b"size", b"%d" % len(inner))) + header(b"outer", 0) + padded(inner) + member(b"next") + END
    found = read(data)
    assert [(m.name, m.size) for m in found] == [("outer", len(inner)), ("next", 0)]
    data = pax(record(b"size", b"3")) + header(b"outer", 100_000) + padded(b"abc") + member(b"next") + END
    assert [(m.name, m.size) for m in read(data)] == [("outer", 3), ("next", 0)]


def test_pax_names_count_for_one_member(read):
    data = (
        pax(record(b"path", b"long"), record(b"linkpath", b"to"))
        + member(b"short", kind=b"2", linkname=b"x")
        + member(b"next")
        + pax(record(b"comment", b""), record(b"comment", b"x"))
        + member(b"own")
        + pax(record(b"comment", b"of all"), record(b"uid", b"9"), kind=b"g")
        + member(b"after-global")
    )
    found = read(data + END)
    assert [(m.name, m.linkname, m.uid) for m in found] == [
        ("long", "to", 0),
        ("next", "", 0),
        ("own", "", 0),
        ("after-global", "", 9),
    ]


def test_the_end_is_two_zero_blocks_or_one_and_the_end_of_the_file(read):
    one = member(b"a", b"data")
    assert len(read(one + END)) == 1
    assert len(read(one + bytes(512))) == 1
    assert len(read(one + END + b"anything at all")) == 1
    assert len(read(one + END + member(b"b") + END)) == 1
    assert read(END) == []
    with pytest.raises(DataLoss, match="one zero block"):
        read(one + bytes(512) + member(b"b") + END)


def test_an_archive_cut_anywhere_is_truncated(read):
    whole = (
        member(b"a", b"1" * 700)
        + pax(record(b"path", b"p" * 200))
        + member(b"b", b"2")
        + member(b"././@LongLink", b"L" * 300 + b"\0", b"L")
        + member(b"c", b"")
    )
    assert len(read(whole + END)) == 3
    for cut in sorted({*range(0, len(whole) + 1, 512), *range(1, len(whole), 97)}):
        with pytest.raises(Truncated) as caught:
            read(whole[:cut])
        assert caught.value.count == cut
    assert str(_error(read, whole[:900])).startswith("tar ends at byte 900 inside file 'a', which has 700 bytes")


def _error(read, data: bytes) -> TranshipError:
    with pytest.raises(TranshipError) as caught:
        read(data)
    return caught.value


def base256(number: int) -> bytes:
    return bytes([0xFF if number < 0 else 0x80]) + number.to_bytes(11, "big", signed=True)


HOSTILE = {
    "negative size": header(size_field=base256(-512)),
    "size beyond 63 bits": header(size_field=b"\x80" + b"\xff" * 11),
    "size of 8 EiB": header(size_field=base256(1 << 63)),
    "base-256 with other first bytes": header(size_field=b"\x81" + bytes(11)),
    "size with a sign": header(size_field=b"-0000000010\0"),
    "size with underscores": header(size_field=b"0000_000010\0"),
    "size with digits that are not octal": header(size_field=b"00000000009\0"),
    "mode of letters": header(mode=b"rwxr-xr\0"),
    "pax length 0": pax(b"0 path=x\n"),
    "pax length with a sign": pax(b"-9 path=x\n"),
    "pax length too long": pax(b"99 path=x\n"),
    "pax length too short": pax(b"5 path=x\n"),
    "pax length without end": pax(b"1234567890123456789 path=x\n"),
    "pax length of other digits": pax("١٠ path=x\n".encode()),
    "pax length alone": pax(b"2 "),
    "pax without a line's end": pax(b"9 path=xx"),
    "pax without a key": pax(b"6 =xx\n"),
    "pax without a value": pax(b"8 pathx\n"),
    "pax name with a zero byte": pax(record(b"path", b"a\0b")),
    "pax name that is empty": pax(record(b"path", b"")) + header(),
    "pax size that is empty": pax(record(b"size", b"")) + header(),
    "long name that is empty": member(b"L", b"\0", b"L") + header(),
    "pax size of letters": pax(record(b"size", b"12a")) + header(),
    "pax size negative": pax(record(b"size", b"-1")) + header(),
    "pax size of other digits": pax(record(b"size", "١٠".encode())) + header(),
    "pax size beyond 63 bits": pax(record(b"size", b"9223372036854775808")) + header(),
    "pax size of 5000 digits": pax(record(b"size", b"1" * 5000)) + header(),
    "pax uid of letters": pax(record(b"uid", b"root")) + header(),
    "pax time of letters": pax(record(b"mtime", b"now")) + header(),
    "two pax headers": pax(record(b"path", b"a")) * 2 + header(),
    "two long names": member(b"L", b"a\0", b"L") * 2 + header(),
    "a long name in both ways": pax(record(b"path", b"a")) + member(b"L", b"b\0", b"L") + header(),
    "global path": pax(record(b"path", b"all"), kind=b"g") + header(),
    "global size": pax(record(b"size", b"1"), kind=b"g") + header(),
    "pax header of nothing": pax(record(b"path", b"a")),
    "pax header over 1 MiB": header(b"x", (1 << 20) + 1, b"x") + bytes(1 << 21),
    "long name over 1 MiB": header(b"L", (1 << 20) + 1, b"L") + bytes(1 << 21),
    "link with data": member(b"a", b"data", b"2"),
    "hard link with data": member(b"a", b"data", b"1"),
    "directory with data": member(b"a/", b"data", b"5"),
    "old directory with data": member(b"a/", b"data", b"\0"),
    "device with data": member(b"a", b"data", b"3"),
    "link with pax data": pax(record(b"size", b"4")) + header(kind=b"2") + padded(b"data"),
    "wrong checksum": header(checksum=b"000000\0 "),
    "checksum of letters": header(checksum=b"abcdefg\0"),
    "text in place of a header": b"#!/bin/sh\n" * 100,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("first", [b"", member(b"before", b"it")], ids=["first", "second"])
def test_hostile_headers_are_refused(name, first, read):
    error = _error(read, first + HOSTILE[name] + END)
    assert isinstance(error, (InvalidArgument, DataLoss)), error
    assert not isinstance(error, Truncated), error
    if first:
        assert "at byte " in str(error)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (member(b"a", b"map", b"S"), "sparse"),
        (
            pax(record(b"GNU.sparse.major", b"1"), record(b"GNU.sparse.realsize", b"1099511627776")) + member(b"a"),
            "sparse",
        ),
        (member(b"a", b"x", b"M"), "volume"),
        (pax(record(b"path", b"a"), kind=b"X") + member(b"b"), "Solaris"),
    ],
)
def test_sparse_files_and_volumes_are_refused_for_what_they_are(data, word, read):
    error = _error(read, data + END)
    assert isinstance(error, Unsupported)
    assert word in str(error)


def test_a_file_that_is_no_tar_is_called_so(read):
    assert "no tar archive" in str(_error(read, b"PK\x03\x04" + bytes(1000)))
    assert "no tar archive" in str(_error(read, b"x" * 512))
    assert isinstance(_error(read, b""), Truncated)


def test_members_are_counted(read):
    data = member(b"a") * 11 + END
    assert len(read(data, max_members=11)) == 11
    with pytest.raises(InvalidArgument, match="more than 10 members"):
        read(data, max_members=10)


def test_names_cannot_fill_the_memory(read, monkeypatch):
    monkeypatch.setattr("tranship.formats.tar.extensions.MAX_EXTENSIONS", 10_000)
    long = pax(record(b"path", b"n" * 2000)) + member(b"a")
    assert len(read(long * 3 + END)) == 3
    with pytest.raises(InvalidArgument, match="extension headers"):
        read(long * 4 + END)
    with pytest.raises(InvalidArgument, match="extension headers"):
        read(pax(kind=b"g") * 20 + END)


def test_what_a_global_header_says_costs_each_member_nothing(read):
    many = pax(*(record(b"key%d" % n, b"x") for n in range(20_000)), kind=b"g")
    found = read(
        many + pax(record(b"SCHILY.xattr.user.a", b"\0v"), record(b"vendor.b", b"w")) + member(b"a") * 2000 + END
    )
    assert len(found) == 2000
    assert (found[0].xattrs, found[1].xattrs) == ({"user.a": "\0v"}, {})


def test_ustar_prefixes_are_not_taken_from_gnu_headers(read):
    data = header(b"name", prefix=b"folder") + header(b"name2", prefix=b"12345670123", magic=b"ustar  \0") + END
    assert [m.name for m in read(data)] == ["folder/name", "name2"]


def test_names_that_are_no_utf8_stay_apart(read):
    found = read(member(b"\xe9") + member(b"\xe8") + END)
    assert len({m.name for m in found}) == 2
    assert str(found[0]) == "file '\\udce9'"
