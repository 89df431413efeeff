"""Messages of containerd.types.transfer. Written by tools/proto.py from tranship/_api/types/transfer/registry.proto."""

from tranship._api import pool

DESCRIPTOR = pool.define(
    globals(),
    b'\n+tranship/_api/types/transfer/r'
    b'egistry.proto\x12\x19containerd.types.'
    b'transfer\x1a\x1fgoogle/protobuf/timest'
    b'amp.proto"_\n\x0bOCIRegistry\x12\x11\n\trefe'
    b'rence\x18\x01 \x01(\t\x12=\n\x08resolver\x18\x02 \x01(\x0b2+.'
    b'containerd.types.transfer.Regist'
    b'ryResolver"\x9b\x02\n\x10RegistryResolver\x12'
    b'\x13\n\x0bauth_stream\x18\x01 \x01(\t\x12I\n\x07headers\x18'
    b'\x02 \x03(\x0b28.containerd.types.transfe'
    b'r.RegistryResolver.HeadersEntry\x12'
    b'\x10\n\x08host_dir\x18\x03 \x01(\t\x12\x16\n\x0edefault_sch'
    b'eme\x18\x04 \x01(\t\x128\n\nhttp_debug\x18\x05 \x01(\x0e2$.'
    b'containerd.types.transfer.HTTPDe'
    b'bug\x12\x13\n\x0blogs_stream\x18\x06 \x01(\t\x1a.\n\x0cHead'
    b'ersEntry\x12\x0b\n\x03key\x18\x01 \x01(\t\x12\r\n\x05value\x18\x02'
    b' \x01(\t:\x028\x01"G\n\x0bAuthRequest\x12\x0c\n\x04host\x18'
    b'\x01 \x01(\t\x12\x11\n\treference\x18\x02 \x01(\t\x12\x17\n\x0fwwwa'
    b'uthenticate\x18\x03 \x03(\t"\x96\x01\n\x0cAuthRespon'
    b'se\x125\n\x08authType\x18\x01 \x01(\x0e2#.container'
    b'd.types.transfer.AuthType\x12\x0e\n\x06sec'
    b'ret\x18\x02 \x01(\t\x12\x10\n\x08username\x18\x03 \x01(\t\x12-\n\te'
    b'xpire_at\x18\x04 \x01(\x0b2\x1a.google.protobuf'
    b'.Timestamp*9\n\tHTTPDebug\x12\x0c\n\x08DISAB'
    b'LED\x10\x00\x12\t\n\x05DEBUG\x10\x01\x12\t\n\x05TRACE\x10\x02\x12\x08\n\x04B'
    b'OTH\x10\x03*>\n\x08AuthType\x12\x08\n\x04NONE\x10\x00\x12\x0f\n\x0bC'
    b'REDENTIALS\x10\x01\x12\x0b\n\x07REFRESH\x10\x02\x12\n\n\x06HEA'
    b'DER\x10\x03b\x06proto3',
)
