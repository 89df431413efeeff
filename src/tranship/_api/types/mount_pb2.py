"""Messages of containerd.types. Written by tools/proto.py from tranship/_api/types/mount.proto."""

from tranship._api import pool

DESCRIPTOR = pool.define(
    globals(),
    b'\n\x1ftranship/_api/types/mount.prot'
    b'o\x12\x10containerd.types"F\n\x05Mount\x12\x0c\n\x04'
    b'type\x18\x01 \x01(\t\x12\x0e\n\x06source\x18\x02 \x01(\t\x12\x0e\n\x06ta'
    b'rget\x18\x03 \x01(\t\x12\x0f\n\x07options\x18\x04 \x03(\tb\x06pro'
    b'to3',
)
