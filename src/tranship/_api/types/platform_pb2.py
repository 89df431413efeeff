"""Messages of containerd.types. Written by tools/proto.py from tranship/_api/types/platform.proto."""

from tranship._api import pool

DESCRIPTOR = pool.define(
    globals(),
    b'\n"tranship/_api/types/platform.p'
    b'roto\x12\x10containerd.types"f\n\x08Platfo'
    b'rm\x12\n\n\x02os\x18\x01 \x01(\t\x12\x14\n\x0carchitecture\x18\x02'
    b' \x01(\t\x12\x0f\n\x07variant\x18\x03 \x01(\t\x12\x12\n\nos_vers'
    b'ion\x18\x04 \x01(\t\x12\x13\n\x0bos_features\x18\x05 \x03(\tb\x06'
    b'proto3',
)
