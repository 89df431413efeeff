"""Messages of containerd.events. Written by tools/proto.py from tranship/_api/events/content.proto."""

from tranship._api import pool

DESCRIPTOR = pool.define(
    globals(),
    b'\n"tranship/_api/events/content.p'
    b'roto\x12\x11containerd.events"-\n\rConte'
    b'ntCreate\x12\x0e\n\x06digest\x18\x01 \x01(\t\x12\x0c\n\x04size'
    b'\x18\x02 \x01(\x03"\x1f\n\rContentDelete\x12\x0e\n\x06diges'
    b't\x18\x01 \x01(\tb\x06proto3',
)
