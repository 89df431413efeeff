"""Messages of containerd.types.transfer. Written by tools/proto.py from tranship/_api/types/transfer/progress.proto."""

from tranship._api import pool
import tranship._api.types.descriptor_pb2

DESCRIPTOR = pool.define(
    globals(),
    b'\n+tranship/_api/types/transfer/p'
    b'rogress.proto\x12\x19containerd.types.'
    b'transfer\x1a$tranship/_api/types/de'
    b'scriptor.proto"\x85\x01\n\x08Progress\x12\r\n\x05e'
    b'vent\x18\x01 \x01(\t\x12\x0c\n\x04name\x18\x02 \x01(\t\x12\x0f\n\x07pare'
    b'nts\x18\x03 \x03(\t\x12\x10\n\x08progress\x18\x04 \x01(\x03\x12\r\n\x05t'
    b'otal\x18\x05 \x01(\x03\x12*\n\x04desc\x18\x06 \x01(\x0b2\x1c.conta'
    b'inerd.types.Descriptorb\x06proto3',
)
