"""Messages of containerd.types. Written by tools/proto.py from tranship/_api/types/introspection.proto."""

from tranship._api import pool

DESCRIPTOR = pool.define(
    globals(),
    b"\n'tranship/_api/types/introspect"
    b'ion.proto\x12\x10containerd.types\x1a\x19goo'
    b'gle/protobuf/any.proto"M\n\x0eRuntim'
    b'eRequest\x12\x14\n\x0cruntime_path\x18\x01 \x01(\t\x12%'
    b'\n\x07options\x18\x02 \x01(\x0b2\x14.google.protobu'
    b'f.Any"3\n\x0eRuntimeVersion\x12\x0f\n\x07versi'
    b'on\x18\x01 \x01(\t\x12\x10\n\x08revision\x18\x02 \x01(\t"\x96\x02\n\x0bR'
    b'untimeInfo\x12\x0c\n\x04name\x18\x01 \x01(\t\x121\n\x07vers'
    b'ion\x18\x02 \x01(\x0b2 .containerd.types.Run'
    b'timeVersion\x12%\n\x07options\x18\x03 \x01(\x0b2\x14.g'
    b'oogle.protobuf.Any\x12&\n\x08features\x18\x04'
    b' \x01(\x0b2\x14.google.protobuf.Any\x12C\n\x0ban'
    b'notations\x18\x05 \x03(\x0b2..containerd.typ'
    b'es.RuntimeInfo.AnnotationsEntry\x1a'
    b'2\n\x10AnnotationsEntry\x12\x0b\n\x03key\x18\x01 \x01(\t'
    b'\x12\r\n\x05value\x18\x02 \x01(\t:\x028\x01b\x06proto3',
)
