"""Messages of containerd.services.images.v1. Written by tools/proto.py from tranship/_api/events/image.proto."""

from tranship._api import pool

DESCRIPTOR = pool.define(
    globals(),
    b'\n tranship/_api/events/image.pro'
    b'to\x12\x1dcontainerd.services.images.v'
    b'1"\x92\x01\n\x0bImageCreate\x12\x0c\n\x04name\x18\x01 \x01(\t\x12'
    b'F\n\x06labels\x18\x02 \x03(\x0b26.containerd.ser'
    b'vices.images.v1.ImageCreate.Labe'
    b'lsEntry\x1a-\n\x0bLabelsEntry\x12\x0b\n\x03key\x18\x01 '
    b'\x01(\t\x12\r\n\x05value\x18\x02 \x01(\t:\x028\x01"\x92\x01\n\x0bImage'
    b'Update\x12\x0c\n\x04name\x18\x01 \x01(\t\x12F\n\x06labels\x18\x02'
    b' \x03(\x0b26.containerd.services.image'
    b's.v1.ImageUpdate.LabelsEntry\x1a-\n\x0b'
    b'LabelsEntry\x12\x0b\n\x03key\x18\x01 \x01(\t\x12\r\n\x05valu'
    b'e\x18\x02 \x01(\t:\x028\x01"\x1b\n\x0bImageDelete\x12\x0c\n\x04na'
    b'me\x18\x01 \x01(\tb\x06proto3',
)
