"""Compressed streams: told by their first bytes, opened with bounds, and written.

gzip through isal (0.7-0.85 GB/s out, zlib 0.37; written at 440 MB/s, zlib -6 at 35) with zlib where isal is not installed;
zstd through the standard library's API of Python 3.14. Each is imported on first use.

What is compressed here is not the same on every machine: isal, zlib and their versions give different bytes for the same
data. Digests therefore hang on uncompressed archives, and on layers as they came: nothing recompresses those unasked.
"""

from __future__ import annotations

import sys
import zlib
from typing import TYPE_CHECKING, Literal, Protocol, cast

from tranship.errors import DataLoss, PolicyRefused, Truncated, Unsupported
from tranship.pump import read_exactly

if TYPE_CHECKING:
    from collections.abc import Callable

    from tranship.pump import Reader

Compression = Literal["gzip", "zstd"]

HEAD = 10  # bytes that `detect` looks at
MAX_RATIO = 1000  # bytes out of one byte in; deflate reaches 1032 on zeros, zstd more
FREE = 256 << 20  # bytes out before the ratio counts
_WINDOW_LOG = 27  # zstd reads back at most 128 MiB, as its own command does: the decoder's memory
_INPUT = 64 * 1024  # bytes
_HEADER = 16 * 1024  # bytes; no gzip header is as long
_WBITS_GZIP = 31
_OTHERS = {b"\xfd7zXZ\0": "xz", b"\x04\x22\x4d\x18": "lz4", b"\x1f\x9d": "compress", b"PK\x03\x04": "zip"}


def detect(head: bytes) -> Compression | None:
    """Tell by the first HEAD bytes how they are compressed; None: they are not. Unsupported for what we cannot open."""
    if head.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    # a frame, or one of the frames to be skipped with which parallel compressors begin
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50):
        return "zstd"
    other = next((name for magic, name in _OTHERS.items() if head.startswith(magic)), None)
    if head.startswith(b"BZh") and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):  # a name in a tar may begin with BZh too
        other = "bzip2"
    if other is not None:
        raise Unsupported(
            f"this is compressed with {other}, and only gzip and zstd are read", hint="decompress it first"
        )
    return None


def opened(source: Reader, *, max_ratio: int = MAX_RATIO) -> tuple[Compression | None, Reader]:
    """Look at the head of `source`; return its compression and a reader of what is inside, or of all if it has none."""
    head = bytearray(HEAD)
    count = read_exactly(source, memoryview(head))
    whole = _Rejoined(bytes(head[:count]), source)
    compression = detect(whole.head)
    return compression, whole if compression is None else Decompressing(whole, compression, max_ratio=max_ratio)


class _Rejoined:
    """A reader whose first bytes were looked at already."""

    def __init__(self, head: bytes, source: Reader) -> None:
        self.head = head
        self._source = source

    def readinto(self, view: memoryview, /) -> int | None:
        if not self.head:
            return self._source.readinto(view)
        count = min(len(view), len(self.head))
        view[:count], self.head = self.head[:count], self.head[count:]
        return count


# --- reading ----------------------------------------------------------------------------------------------------------


class _Decoder(Protocol):
    """One gzip member or zstd frame: the shape of bz2's, igzip's and zstd's decompressors."""

    @property
    def needs_input(self) -> bool: ...
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Decompressing:
    """A Reader of what is inside a compressed one: every member or frame to the end of the source.

    Zeros behind the last one are padding. Raises Truncated when the source ends inside one, DataLoss for corrupt bytes
    and for anything else behind the last one, PolicyRefused for a bomb and for a zstd window over 128 MiB.
    """

    def __init__(
        self, source: Reader, compression: Compression, *, max_ratio: int = MAX_RATIO, free: int = FREE
    ) -> None:
        self.compression = compression
        self._source = source
        self._max_ratio, self._free = max_ratio, free
        self._new, self._errors = _decoders(compression)
        self._decoder: _Decoder | None = None
        self._buffer = bytearray(_INPUT)
        self._left = b""  # read from the source and not yet decoded
        self._in = self._out = 0

    def readinto(self, view: memoryview, /) -> int:
        """Fill from the decoder; one call decodes at most what fits."""
        while len(view) and (self._decoder or self._begin()):
            decoder = self._decoder
            assert decoder is not None  # noqa: S101  # said by _begin
            data = self._decode(decoder, len(view))
            if decoder.eof:
                self._left, self._decoder = decoder.unused_data, None
            if data:
                view[: len(data)] = data
                self._count(len(data))
                return len(data)
        return 0

    def _begin(self) -> bool:
        """Begin the next member or frame; False at the end of the source.

        It starts with a well filled buffer: ISA-L misreads a gzip header with optional fields that comes in pieces.
        """
        first = self._in == 0
        if not first:
            self._pass_over_zeros()
        if len(self._left) < _HEADER:
            self._fill()
        if not self._left and not first:
            return False
        if not _begins(self._left, self.compression):
            if first and len(self._left) < 4:
                raise self._truncated()
            what = "no stream of this kind begins here" if first else "there is something else behind the last stream"
            raise DataLoss(f"{self.compression}: {what} (byte {self._in - len(self._left)})")
        self._decoder = self._new()
        return True

    def _pass_over_zeros(self) -> None:
        while not (left := self._left.lstrip(b"\0")):
            self._left = b""
            self._fill()
            if not self._left:
                return
        self._left = left

    def _decode(self, decoder: _Decoder, room: int) -> bytes:
        data = b""
        if decoder.needs_input:
            if not self._left:
                self._fill()
            data, self._left = self._left, b""
            if not data:
                raise self._truncated()
        try:
            return decoder.decompress(data, room)
        except self._errors as error:
            if "too much memory" in str(error):
                raise PolicyRefused(
                    f"zstd: needs a window of more than {(1 << _WINDOW_LOG) >> 20} MiB",
                    hint="compress it without --long",
                ) from None
            raise DataLoss(f"{self.compression}: corrupt before byte {self._in}: {error}") from None

    def _fill(self) -> None:
        view = memoryview(self._buffer)[: _INPUT - len(self._left)]
        got = read_exactly(self._source, view) if len(view) else 0
        self._left += bytes(view[:got])
        self._in += got

    def _count(self, count: int) -> None:
        self._out += count
        if self._out > self._free and self._out > self._max_ratio * self._in:
            raise PolicyRefused(
                f"{self.compression}: {self._in} bytes became {self._out}, over {self._max_ratio} for each: a bomb",
                hint="decompress it yourself if you trust it",
            )

    def _truncated(self) -> Truncated:
        return Truncated(f"{self.compression}: the stream ends early, after {self._in} bytes", count=self._in)


def _begins(head: bytes, compression: Compression) -> bool:
    try:
        return detect(head[:HEAD]) == compression
    except Unsupported:
        return False


def _decoders(compression: Compression) -> tuple[Callable[[], _Decoder], tuple[type[Exception], ...]]:
    """How to make a decoder, and what it raises on corrupt bytes."""
    if compression == "zstd":
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        options = {int(zstd.DecompressionParameter.window_log_max): _WINDOW_LOG}
        return lambda: zstd.ZstdDecompressor(options=options), (zstd.ZstdError,)
    try:
        from isal import igzip_lib
    except ImportError:
        return _Zlib, (zlib.error,)
    error = cast("type[Exception]", igzip_lib.IsalError)  # its stub makes an instance of it
    return lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), (error,)


class _Zlib:
    """zlib in the shape of the other decoders."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(_WBITS_GZIP)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        out = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        # a full answer may have left more inside, with no input to show for it
        self.needs_input = not self.eof and not self._inner.unconsumed_tail and len(out) < max_length
        return out


# --- writing ----------------------------------------------------------------------------------------------------------


class _Encoder(Protocol):
    def compress(self, data: memoryview, /) -> bytes: ...
    def flush(self) -> bytes: ...


class Compressing:
    """Compresses what is written and hands it on to `write`. `finish` writes the end: without it the stream is cut short.

    level   gzip 1-9, zlib's, or None for isal at its fastest, 20 times as fast as 6 and 14 % larger; zstd 1-22, or None for 3
    """

    def __init__(
        self, write: Callable[[memoryview], object], compression: Compression, *, level: int | None = None
    ) -> None:
        self._write = write
        self._encoder = _encoder(compression, level)

    def write(self, chunk: memoryview, /) -> None:
        """Take the whole chunk."""
        self._hand_on(self._encoder.compress(chunk))

    def finish(self) -> None:
        """Write what is left and the checksum."""
        self._hand_on(self._encoder.flush())

    def _hand_on(self, data: bytes) -> None:
        if data:
            self._write(memoryview(data))


def _encoder(compression: Compression, level: int | None) -> _Encoder:
    if compression == "zstd":
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        return zstd.ZstdCompressor(level=3 if level is None else level)
    if level is None:
        try:
            from isal import isal_zlib
        except ImportError:
            level = 1
        else:
            encoder: _Encoder = isal_zlib.compressobj(1, wbits=_WBITS_GZIP)
            return encoder
    return zlib.compressobj(level, zlib.DEFLATED, _WBITS_GZIP)  # its header says time 0, as isal's
