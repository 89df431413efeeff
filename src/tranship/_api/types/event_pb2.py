"""Messages of containerd.types. Written by tools/proto.py from tranship/_api/types/event.proto."""

from tranship._api import pool

DESCRIPTOR = pool.define(
    globals(),
    b'\n\x1ftranship/_api/types/event.prot'
    b'o\x12\x10containerd.types\x1a\x19google/prot'
    b'obuf/any.proto\x1a\x1fgoogle/protobuf/'
    b'timestamp.proto"\x80\x01\n\x08Envelope\x12-\n\t'
    b'timestamp\x18\x01 \x01(\x0b2\x1a.google.protobu'
    b'f.Timestamp\x12\x11\n\tnamespace\x18\x02 \x01(\t\x12\r'
    b'\n\x05topic\x18\x03 \x01(\t\x12#\n\x05event\x18\x04 \x01(\x0b2\x14.g'
    b'oogle.protobuf.Anyb\x06proto3',
)
