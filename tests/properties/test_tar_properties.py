"""Any bytes at all are read or refused, and what is written is read back, by us and by Python's tarfile alike."""

import io
import tarfile

from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.raw_tar import END, Trickle, header, member, padded, pax, record
from tranship.errors import TranshipError
from tranship.formats.tar import ALIGNED_FROM, ALIGNMENT, BLOCK, TRAILER, Entry, TarStream, arrange, clean, read_index
from tranship.pump import pump

blocks = st.one_of(
    st.builds(
        header,
        st.binary(max_size=100),
        st.integers(0, 4000),
        st.sampled_from([bytes([kind]) for kind in b"\x0001234567xgLKSMDVX"]),
        uid=st.one_of(st.binary(min_size=8, max_size=8), st.just(b"0000000\0")),
        size_field=st.one_of(st.none(), st.binary(min_size=12, max_size=12)),
        prefix=st.binary(max_size=20),
    ),
    # tarfile takes what GNU tar and v7 have in its place for a prefix
    st.builds(header, st.binary(max_size=100), magic=st.sampled_from([b"ustar  \0", bytes(8)])),
    st.builds(
        pax, st.builds(record, st.sampled_from([b"path", b"size", b"linkpath", b"uid", b"x"]), st.binary(max_size=20))
    ),
    st.builds(pax, st.binary(max_size=600)),
    st.binary(max_size=600).map(padded),
    st.just(bytes(BLOCK)),
    st.just(END),
)


def by_index(data: bytes):
    left = iter(range(2 * len(data) // BLOCK + 10))  # reads: reading must end, and soon

    def read_at(offset: int, count: int) -> bytes:
        assert next(left, None) is not None
        return data[offset : offset + count]

    return [(one, data[one.data_offset : one.data_offset + one.size]) for one in read_index(read_at, len(data))]


def by_stream(data: bytes, step: int):
    found = []
    stream = TarStream(Trickle(data, step))
    for one in stream:
        body = bytearray()
        pump(stream, body.extend)
        found.append((one, bytes(body)))
    return found


def outcome(read, *arguments):
    try:
        return read(*arguments)
    except TranshipError as error:
        return type(error)


@given(st.lists(blocks, max_size=8).map(b"".join), st.integers(1, 3000))
@example(member(b"a", b"x" * 600)[:-1], 5)
@example(pax(b"0 path=x\n") + END, 512)
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused_and_files_and_pipes_agree(data, step):
    assert outcome(by_index, data) == outcome(by_stream, data, step)


@given(
    st.lists(blocks, max_size=5).map(b"".join),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=6),
)
@settings(max_examples=200, deadline=None)
def test_what_is_accepted_is_understood_as_tarfile_understands_it(data, flips):
    """Whatever survives our checks has one meaning: Python's reader sees the same files at the same places."""
    changed = bytearray(member(b"first", b"1" * 700) + data + member(b"last", b"2") + END)
    for place, value in flips:
        changed[place % len(changed)] = value
    ours = outcome(by_index, bytes(changed))
    if not isinstance(ours, list):
        return
    try:
        with tarfile.open(fileobj=io.BytesIO(bytes(changed)), mode="r:", ignore_zeros=False) as archive:
            theirs = {(_name(m.name), m.size, m.offset_data) for m in archive if m.isreg()}
    except (tarfile.TarError, ValueError, UnicodeDecodeError, OverflowError):
        return  # stricter than we are: never the other way round for what we read
    for one, _ in ours:
        if one.kind == "file":
            assert (_name(one.name), one.size, one.data_offset) in theirs


def _name(name: str) -> str:
    return clean(name.rstrip("/"))


names = st.lists(
    st.text("abcxyz.-_é☃", min_size=1, max_size=90).filter(lambda s: s.strip(".")), min_size=1, max_size=4
).map("/".join)
sizes = st.one_of(
    st.integers(0, 3000), st.sampled_from([0, 511, 512, 513, ALIGNED_FROM - 1, ALIGNED_FROM, ALIGNED_FROM + 1])
)
entries = st.lists(
    st.one_of(
        st.builds(Entry, names, sizes, st.sampled_from([0o444, 0o644])),
        st.builds(Entry, names, st.just(0), st.just(0o755), st.just("directory")),
    ),
    max_size=6,
    unique_by=lambda entry: entry.name,
)


@given(entries)
@settings(max_examples=150, deadline=None)
def test_what_is_arranged_is_read_back_by_us_and_by_tarfile(wanted):
    plan = arrange(wanted)
    assert plan == arrange(wanted)
    archive = bytearray(plan.size)
    at = 0
    for n, one in enumerate(plan.members):
        assert one.header_offset == at, "no gap between members"
        assert one.entry.size < ALIGNED_FROM or one.data_offset % ALIGNMENT == 0
        archive[at : one.data_offset] = one.header
        archive[one.data_offset : one.data_offset + one.entry.size] = bytes([n + 1]) * one.entry.size
        at = one.data_offset + one.entry.size + one.padding
    assert archive[plan.trailer_offset :] == TRAILER
    data = bytes(archive)
    ours = by_index(data)
    assert [(m.name, m.kind, m.size, m.mode, m.mtime, m.uid, m.gid) for m, _ in ours] == [
        (entry.name, entry.kind, entry.size, entry.mode, 0, 0, 0) for entry in wanted
    ]
    assert [body for _, body in ours] == [bytes([n + 1]) * entry.size for n, entry in enumerate(wanted)]
    with tarfile.open(fileobj=io.BytesIO(data)) as theirs:
        assert [(m.name, m.isdir(), m.size, m.offset_data) for m in theirs] == [
            (m.name, m.kind == "directory", m.size, m.data_offset) for m, _ in ours
        ]


members = st.lists(st.tuples(names, st.binary(max_size=2000)), max_size=6, unique_by=lambda pair: clean(pair[0]))


@given(members, st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), st.integers(200, 5000))
@settings(max_examples=150, deadline=None)
def test_archives_of_tarfile_are_read_as_it_reads_them(files, style, step):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=style) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1.5 if style == tarfile.PAX_FORMAT else 1
            try:
                archive.addfile(info, io.BytesIO(data))
            except ValueError:  # too long for ustar
                continue
    data = out.getvalue()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        theirs = [(clean(m.name), archive.extractfile(m).read(), int(m.mtime)) for m in archive]
    for read in (by_index(data), by_stream(data, step)):
        assert [(m.name, body, m.mtime) for m, body in read] == theirs
