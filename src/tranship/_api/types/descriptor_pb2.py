"""Messages of containerd.types. Written by tools/proto.py from tranship/_api/types/descriptor.proto."""

from tranship._api import pool

DESCRIPTOR = pool.define(
    globals(),
    b'\n$tranship/_api/types/descriptor'
    b'.proto\x12\x10containerd.types"\xb6\x01\n\nDes'
    b'criptor\x12\x12\n\nmedia_type\x18\x01 \x01(\t\x12\x0e\n\x06d'
    b'igest\x18\x02 \x01(\t\x12\x0c\n\x04size\x18\x03 \x01(\x03\x12B\n\x0bann'
    b'otations\x18\x05 \x03(\x0b2-.containerd.type'
    b's.Descriptor.AnnotationsEntry\x1a2\n'
    b'\x10AnnotationsEntry\x12\x0b\n\x03key\x18\x01 \x01(\t\x12\r'
    b'\n\x05value\x18\x02 \x01(\t:\x028\x01b\x06proto3',
)
