"""Messages of containerd.types.transfer. Written by tools/proto.py from tranship/_api/types/transfer/streaming.proto."""

from tranship._api import pool

DESCRIPTOR = pool.define(
    globals(),
    b'\n,tranship/_api/types/transfer/s'
    b'treaming.proto\x12\x19containerd.types'
    b'.transfer"\x14\n\x04Data\x12\x0c\n\x04data\x18\x01 \x01(\x0c"'
    b'\x1e\n\x0cWindowUpdate\x12\x0e\n\x06update\x18\x01 \x01(\x05b'
    b'\x06proto3',
)
