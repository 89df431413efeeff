"""Tar archives of hand-made headers, for what no writer would write; and readers that give little at a time."""

from __future__ import annotations

END = bytes(1024)


def header(
    name: bytes = b"a",
    size: int = 0,
    kind: bytes = b"0",
    *,
    mode: bytes = b"0000644\0",
    uid: bytes = b"0000000\0",
    size_field: bytes | None = None,
    mtime: bytes = b"00000000000\0",
    linkname: bytes = b"",
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """One header block, with the right checksum unless another field is given for it."""

    def filled(stated: bytes) -> bytes:
        fields = [
            *(name.ljust(100, b"\0"), mode, uid, b"0000000\0", size_field or b"%011o\0" % size, mtime),
            *(
                stated,
                kind,
                linkname.ljust(100, b"\0"),
                magic,
                bytes(64),
                bytes(16),
                prefix.ljust(155, b"\0"),
                bytes(12),
            ),
        ]
        block = b"".join(fields)
        assert len(block) == 512, len(block)
        return block

    return filled(checksum if checksum is not None else b"%06o\0 " % sum(filled(b" " * 8)))


def padded(data: bytes) -> bytes:
    """The data and the zeros up to the next block."""
    return data + bytes(-len(data) % 512)


def member(name: bytes, data: bytes = b"", kind: bytes = b"0", **fields: bytes) -> bytes:
    """A header and its data."""
    return header(name, len(data), kind, **fields) + padded(data)


def record(key: bytes, value: bytes) -> bytes:
    """A pax record whose length counts itself."""
    length = len(key) + len(value) + 3
    while length != len(key) + len(value) + 3 + len(str(length)):
        length = len(key) + len(value) + 3 + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def pax(*records: bytes, kind: bytes = b"x") -> bytes:
    """A pax header of these records; `kind` g makes it global."""
    return member(b"PaxHeaders/x", b"".join(records), kind)


class Trickle:
    """A reader that gives at most `step` bytes at a time, as a pipe may."""

    def __init__(self, data: bytes, step: int = 7) -> None:
        self._left = memoryview(data)
        self._step = step

    def readinto(self, view: memoryview, /) -> int:
        count = min(len(view), self._step, len(self._left))
        view[:count], self._left = self._left[:count], self._left[count:]
        return count
