"""An archive is laid out before it is written: the same bytes everywhere, read alike by every reader."""

import io
import os
import shutil
import subprocess
import tarfile

import pytest

from tranship.errors import InvalidArgument
from tranship.formats.tar import TRAILER, Arrangement, Entry, TarStream, arrange, read_index

BIG = 1 << 20


def written(plan: Arrangement, data: dict[str, bytes]) -> bytes:
    """The whole archive, each piece put where the plan says."""
    archive = bytearray(b"?" * plan.size)
    for one in plan.members:
        body = data.get(one.entry.name, bytes(one.entry.size))
        archive[one.header_offset : one.data_offset] = one.header
        archive[one.data_offset : one.data_offset + one.entry.size + one.padding] = body + bytes(one.padding)
    archive[plan.trailer_offset :] = TRAILER
    assert len(archive) == plan.size
    return bytes(archive)


def test_headers_are_those_of_containerds_exporter():
    plan = arrange([Entry("blobs", 0, 0o755, "directory"), Entry("oci-layout", 30, 0o444)])
    folder, marker = (one.header for one in plan.members)
    assert folder[:8] == b"blobs/\0\0"
    assert folder[100:124] == b"0000755\0" + b"0000000\0" * 2
    assert folder[124:156] == b"00000000000\0" * 2 + b"%06o\0 " % sum(folder[:148] + b" " * 8 + folder[156:])
    assert folder[156:157] == b"5"
    assert folder[257:265] == b"ustar\x0000"
    assert folder[329:345] == b"0000000\0" * 2
    assert marker[124:136] == b"00000000036\0"
    for header in (folder, marker):
        info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
        again = tarfile.TarInfo(info.name + "/" * info.isdir())
        again.mode, again.size, again.type = info.mode, info.size, info.type
        theirs = bytearray(again.tobuf(tarfile.USTAR_FORMAT))
        theirs[329:345] = b"0000000\0" * 2  # Python leaves device numbers empty for files
        assert _without_checksum(theirs) == _without_checksum(header)
    assert plan.size == 512 + 512 + 512 + 1024


def _without_checksum(header: bytes) -> bytes:
    return bytes(header[:148]) + bytes(header[156:])


def test_the_same_entries_give_the_same_bytes():
    entries = [Entry("a", 5), Entry("b", 3 * BIG + 1), Entry("n" * 300, 7)]
    first, second = arrange(entries), arrange(list(entries))
    assert first == second
    assert arrange(iter(entries)).size == first.size


@pytest.mark.parametrize("before", range(9))
def test_large_blobs_start_at_a_multiple_of_4096_wherever_they_come(before):
    entries = [Entry(f"small{n}", 100) for n in range(before)]
    plan = arrange([*entries, Entry("first", BIG, 0o444), Entry("second", BIG + 5), Entry("under", BIG - 1)])
    first, second, under = plan.members[before:]
    assert first.data_offset % 4096 == second.data_offset % 4096 == 0
    assert len(under.header) == 512
    archive = written(plan, {"first": b"1" * BIG, "second": b"2" * (BIG + 5)})
    with tarfile.open(fileobj=io.BytesIO(archive)) as theirs:
        names = theirs.getnames()
        comments = [m.pax_headers.get("comment", "").strip() for m in theirs]
        assert theirs.extractfile("second").read() == b"2" * (BIG + 5)
    assert names == [one.entry.name for one in plan.members]
    assert not any(comments)
    assert [(m.name, m.data_offset) for m in _index(archive)] == [(m.entry.name, m.data_offset) for m in plan.members]


def _index(archive: bytes):
    return read_index(lambda offset, count: archive[offset : offset + count], len(archive))


def test_an_aligned_blob_needs_no_filler():
    plan = arrange([Entry("filler", 4096 - 1024), Entry("blob", BIG)])
    assert plan.members[1].data_offset == 4096 + 512 - 512
    assert len(plan.members[1].header) == 512


def test_names_that_ustar_has_no_place_for_are_written_all_the_same():
    names = [
        "blobs/sha512/" + "f" * 128,
        "a/" * 60 + "b",
        "d/" + "x" * 100,
        "e" * 101,
        "naïve",
        "p" * 155 + "/" + "q" * 100,
    ]
    plan = arrange([Entry(name, BIG if n % 2 else 3) for n, name in enumerate(names)])
    archive = written(plan, {})
    assert [m.name for m in _index(archive)] == names
    assert [m.name for m in TarStream(io.BytesIO(archive))] == names
    with tarfile.open(fileobj=io.BytesIO(archive)) as theirs:
        assert theirs.getnames() == names
        assert [m.offset_data for m in theirs] == [m.data_offset for m in plan.members]
    assert len(arrange([Entry(names[5], 3)]).members[0].header) == 512, "ustar has a place for this one"
    assert all(one.data_offset % 4096 == 0 for one in plan.members if one.entry.size >= BIG)


@pytest.mark.parametrize("size", [8**11 - 1, 8**11, 20 << 30, (1 << 63) - 1])
def test_sizes_that_ustar_cannot_say_are_said_in_a_pax_header(size):
    plan = arrange([Entry("huge", size)])
    header = plan.members[0].header
    info = tarfile.TarInfo.fromtarfile(_Only(header))
    assert (info.name, info.size) == ("huge", size)
    assert plan.members[0].data_offset % 4096 == 0
    padded_end = plan.members[0].data_offset + size + -size % 512
    assert plan.trailer_offset == padded_end


class _Only(tarfile.TarFile):
    """A tar of which only the headers are there."""

    def __init__(self, header: bytes) -> None:
        self.fileobj, self.offset, self.pax_headers = io.BytesIO(header), 0, {}
        self.encoding, self.errors, self.tarinfo = "utf-8", "strict", tarfile.TarInfo


@pytest.mark.parametrize("program", ["tar", "bsdtar", "cpio", "busybox"])
def test_other_programs_list_and_unpack_what_we_write(program, tmp_path):
    """GNU tar is everywhere; the others are asked where they are."""
    command = {
        "tar": ["tar", "-xf", "-", "-C", str(tmp_path)],
        "bsdtar": ["bsdtar", "-xf", "-", "-C", str(tmp_path)],
        "cpio": ["cpio", "-i", "-d", "--quiet", "-D", str(tmp_path)],
        "busybox": ["busybox", "tar", "-xf", "-", "-C", str(tmp_path)],
    }[program]
    if shutil.which(program) is None:
        program, command = "tar", ["tar", "-xf", "-", "-C", str(tmp_path)]
    data = {"oci-layout": b"{}", "blobs/sha256/" + "a" * 64: os.urandom(BIG + 3), "blobs/x": os.urandom(2 * BIG)}
    entries = [Entry("blobs", 0, 0o755, "directory"), *(Entry(name, len(body), 0o444) for name, body in data.items())]
    done = subprocess.run(command, input=written(arrange(entries), data), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert {name: (tmp_path / name).read_bytes() for name in data} == data
    assert (tmp_path / "oci-layout").stat().st_mode & 0o777 == 0o444
    assert (tmp_path / "oci-layout").stat().st_mtime == 0


@pytest.mark.parametrize("name", ["", "/abs", "../up", "..", ".", "a//b", "a/", "./a", "a\0b", "a/../b"])
def test_names_that_would_not_be_read_back_are_refused(name):
    with pytest.raises(InvalidArgument, match="no name"):
        arrange([Entry(name, 1)])


def test_a_name_twice_and_impossible_sizes_are_refused():
    with pytest.raises(InvalidArgument, match="two members"):
        arrange([Entry("a", 1), Entry("a", 1)])
    with pytest.raises(InvalidArgument, match="-1 bytes"):
        arrange([Entry("a", -1)])
    with pytest.raises(InvalidArgument, match="directory"):
        arrange([Entry("a", 1, 0o755, "directory")])
