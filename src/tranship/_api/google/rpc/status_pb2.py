"""Messages of google.rpc. Written by tools/proto.py from tranship/_api/google/rpc/status.proto."""

from tranship._api import pool

DESCRIPTOR = pool.define(
    globals(),
    b'\n%tranship/_api/google/rpc/statu'
    b's.proto\x12\ngoogle.rpc\x1a\x19google/prot'
    b'obuf/any.proto"N\n\x06Status\x12\x0c\n\x04code'
    b'\x18\x01 \x01(\x05\x12\x0f\n\x07message\x18\x02 \x01(\t\x12%\n\x07detai'
    b'ls\x18\x03 \x03(\x0b2\x14.google.protobuf.Anyb\x06'
    b'proto3',
)
