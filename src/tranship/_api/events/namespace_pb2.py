"""Messages of containerd.events. Written by tools/proto.py from tranship/_api/events/namespace.proto."""

from tranship._api import pool

DESCRIPTOR = pool.define(
    globals(),
    b'\n$tranship/_api/events/namespace'
    b'.proto\x12\x11containerd.events"\x8e\x01\n\x0fNa'
    b'mespaceCreate\x12\x0c\n\x04name\x18\x01 \x01(\t\x12>\n\x06l'
    b'abels\x18\x02 \x03(\x0b2..containerd.events.'
    b'NamespaceCreate.LabelsEntry\x1a-\n\x0bL'
    b'abelsEntry\x12\x0b\n\x03key\x18\x01 \x01(\t\x12\r\n\x05value'
    b'\x18\x02 \x01(\t:\x028\x01"\x8e\x01\n\x0fNamespaceUpdate\x12\x0c'
    b'\n\x04name\x18\x01 \x01(\t\x12>\n\x06labels\x18\x02 \x03(\x0b2..c'
    b'ontainerd.events.NamespaceUpdate'
    b'.LabelsEntry\x1a-\n\x0bLabelsEntry\x12\x0b\n\x03k'
    b'ey\x18\x01 \x01(\t\x12\r\n\x05value\x18\x02 \x01(\t:\x028\x01"\x1f\n\x0fN'
    b'amespaceDelete\x12\x0c\n\x04name\x18\x01 \x01(\tb\x06pr'
    b'oto3',
)
