"""Messages of containerd.services.streaming.v1. Written by tools/proto.py from tranship/_api/services/streaming/v1/streaming.proto."""

from tranship._api import pool

DESCRIPTOR = pool.define(
    globals(),
    b'\n3tranship/_api/services/streami'
    b'ng/v1/streaming.proto\x12 container'
    b'd.services.streaming.v1\x1a\x19google/'
    b'protobuf/any.proto"\x18\n\nStreamInit'
    b'\x12\n\n\x02id\x18\x01 \x01(\t2E\n\tStreaming\x128\n\x06Str'
    b'eam\x12\x14.google.protobuf.Any\x1a\x14.goog'
    b'le.protobuf.Any(\x010\x01b\x06proto3',
)
