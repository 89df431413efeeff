"""Compressed streams are told by their bytes, opened whole or refused, within bounds of memory and size."""

import bz2
import gzip
import io
import lzma
import os
import struct
import subprocess
import sys
import zlib

import pytest

from support.raw_tar import END, Trickle, member
from tranship.errors import DataLoss, PolicyRefused, Truncated, Unsupported
from tranship.formats import compression
from tranship.formats.compression import Compressing, Decompressing, detect, opened
from tranship.formats.tar import TarStream
from tranship.pump import CHUNK, pump, read_exactly

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = b"".join(b"line %d of a layer\n" % n for n in range(40_000))
RANDOM = os.urandom(300_000)
COMPRESS = {"gzip": gzip.compress, "zstd": zstd.compress}


@pytest.fixture(params=["gzip", "zstd", "zlib"])
def kind(request, monkeypatch):
    """Each decoder; `zlib` is gzip where isal is not installed."""
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)
        return "gzip"
    return request.param


def whole(reader) -> bytes:
    found = bytearray()
    pump(reader, found.extend)
    return bytes(found)


def test_kinds_are_told_by_their_first_bytes():
    assert detect(gzip.compress(b"")) == "gzip"
    assert detect(zstd.compress(b"")) == "zstd"
    assert detect(b"\x5e\x2a\x4d\x18\x04\0\0\0abcd") == "zstd"
    for head in (b"", b"\x1f", b"oci-layout", b"BZhidden-file.txt"[:10], bytes(10), b"\x50\x2a\x4d"):
        assert detect(head) is None


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (bz2.compress(b"x"), "bzip2"),
        (bz2.compress(b""), "bzip2"),
        (lzma.compress(b"x"), "xz"),
        (b"PK\x03\x04" + bytes(20), "zip"),
        (b"\x04\x22\x4d\x18" + bytes(20), "lz4"),
        (b"\x1f\x9d\x90" + bytes(20), "compress"),
    ],
)
def test_what_we_cannot_open_is_named(data, name):
    with pytest.raises(Unsupported, match=f"compressed with {name}"):
        opened(io.BytesIO(data))


@pytest.mark.parametrize(
    "data", [b"", b"x", TEXT, RANDOM, bytes(3_000_000)], ids=["none", "one", "text", "random", "zeros"]
)
@pytest.mark.parametrize("step", [1 << 20, 13])
def test_a_stream_is_opened_whole(kind, data, step):
    found, reader = opened(Trickle(COMPRESS[kind](data), step))
    assert found == kind
    assert whole(reader) == data
    assert reader.readinto(memoryview(bytearray(1))) == 0


def test_a_stream_is_read_in_any_portions(kind):
    _, reader = opened(io.BytesIO(COMPRESS[kind](TEXT[:5000] + bytes(5000))))
    view = memoryview(bytearray(1))
    found = bytearray()
    while reader.readinto(view):
        found += view
    assert found == TEXT[:5000] + bytes(5000)


def test_what_is_not_compressed_passes_untouched():
    for data in (b"", b"abc", TEXT):
        found, reader = opened(Trickle(data, 5) if len(data) < 100 else io.BytesIO(data))
        assert (found, whole(reader)) == (None, data)


def test_streams_one_after_the_other_are_one(kind):
    parts = [b"first", b"", TEXT, b"last"]
    data = b"".join(map(COMPRESS[kind], parts))
    for step in (1 << 20, 11):
        assert whole(opened(Trickle(data, step))[1]) == b"".join(parts)


def test_zeros_behind_a_stream_are_padding_and_anything_else_is_an_error(kind):
    data = COMPRESS[kind](TEXT)
    assert whole(opened(Trickle(data + bytes(200_000), 4099))[1]) == TEXT
    assert whole(opened(io.BytesIO(data + bytes(100) + data))[1]) == TEXT * 2
    for tail in (b"garbage", bytes(100) + b"garbage", b"\x1f", bz2.compress(b"x")):
        with pytest.raises(DataLoss, match="behind the last"):
            whole(opened(io.BytesIO(data + tail))[1])


def test_a_stream_that_ends_early_is_truncated(kind):
    data = COMPRESS[kind](RANDOM[:3000] + TEXT[:3000])
    for cut in (*range(12, len(data), 41), len(data) - 1):
        with pytest.raises(Truncated) as caught:
            whole(opened(io.BytesIO(data[:cut]))[1])
        assert caught.value.count == cut
    with pytest.raises(Truncated):
        whole(Decompressing(io.BytesIO(b""), kind))


def test_corrupt_bytes_are_an_error(kind):
    compress = (lambda data: gzip.compress(data, mtime=0)) if kind == "gzip" else _zstd_with_checksum
    data = bytearray(compress(TEXT))
    for place in (len(data) // 2, len(data) - 3):
        wrong = bytearray(data)
        wrong[place] ^= 0x55
        with pytest.raises(DataLoss):
            whole(opened(io.BytesIO(bytes(wrong)))[1])


def _zstd_with_checksum(data: bytes) -> bytes:
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


def test_another_kind_than_announced_is_an_error(kind):
    other = "zstd" if kind == "gzip" else "gzip"
    for data in (b"plain text", COMPRESS[other](b"x")):
        with pytest.raises(DataLoss, match="no stream of this kind"):
            whole(Decompressing(io.BytesIO(data), kind))


def test_a_bomb_is_given_up_early(kind):
    data = COMPRESS[kind](bytes(5_000_000))
    reader = Decompressing(io.BytesIO(data), kind, max_ratio=100, free=1_000_000)
    got = 0
    with pytest.raises(PolicyRefused, match="bomb"):
        while count := reader.readinto(memoryview(bytearray(CHUNK))):
            got += count
    assert 0 < got < 2_000_000
    assert len(whole(Decompressing(io.BytesIO(data), kind, max_ratio=100, free=5_000_000))) == 5_000_000


def test_a_zstd_window_over_128_mib_is_refused():
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 28})
    data = compressor.compress(b"y" * 100) + compressor.flush()
    with pytest.raises(PolicyRefused, match="128 MiB"):
        whole(opened(io.BytesIO(data))[1])


def test_gzip_headers_with_every_field_are_read_in_pieces(kind):
    """ISA-L fails on these when the header does not come in one piece."""
    if kind == "zstd":
        kind = "gzip"
    head = (
        b"\x1f\x8b\x08\x1e" + bytes(4) + b"\0\x03" + struct.pack("<H", 5) + b"extra" + b"layer.tar\0" + b"a comment\0"
    )
    head += struct.pack("<H", zlib.crc32(head) & 0xFFFF)
    body = zlib.compressobj(wbits=-15)
    data = head + body.compress(TEXT) + body.flush() + struct.pack("<II", zlib.crc32(TEXT), len(TEXT))
    for step in (1, 1 << 20):
        assert whole(opened(Trickle(data * 2, step))[1]) == TEXT * 2


def test_an_archive_is_read_through_its_compression(kind):
    tar = member(b"a", b"1" * 1000) + member(b"b", RANDOM[:60_000]) + END
    stream = TarStream(opened(io.BytesIO(COMPRESS[kind](tar)))[1])
    found = {}
    for one in stream:
        data = bytearray(one.size)
        assert read_exactly(stream, memoryview(data)) == one.size
        found[one.name] = bytes(data)
    assert found == {"a": b"1" * 1000, "b": RANDOM[:60_000]}


@pytest.mark.parametrize("level", [None, 1, 9])
@pytest.mark.parametrize("data", [b"", TEXT, RANDOM], ids=["none", "text", "random"])
def test_what_is_compressed_opens_again_and_is_the_same_twice(kind, level, data):
    def compressed() -> bytes:
        out = bytearray()
        writer = Compressing(out.extend, kind, level=level)
        for at in range(0, len(data), 50_001):
            writer.write(memoryview(data)[at : at + 50_001])
        writer.finish()
        return bytes(out)

    raw = compressed()
    assert raw == compressed()
    assert whole(opened(io.BytesIO(raw))[1]) == data
    theirs = {"gzip": gzip.decompress, "zstd": zstd.decompress}
    assert theirs[kind](raw) == data
    assert kind == "zstd" or raw[4:8] == bytes(4), "a gzip header of ours says no time"


def test_without_its_end_a_compressed_stream_is_truncated(kind):
    out = bytearray()
    writer = Compressing(out.extend, kind)
    writer.write(memoryview(RANDOM))
    with pytest.raises(Truncated):
        whole(Decompressing(io.BytesIO(bytes(out)), kind))


def test_nothing_heavy_is_imported_before_it_is_used():
    code = (
        "import sys, tranship.formats.compression; print([m for m in ('isal', 'backports.zstd') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_isal_is_what_opens_gzip_where_it_is_installed():
    new, _ = compression._decoders("gzip")
    assert type(new()).__module__ == "igzip_lib"
