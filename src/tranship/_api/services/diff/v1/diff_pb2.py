"""Messages of containerd.services.diff.v1. Written by tools/proto.py from tranship/_api/services/diff/v1/diff.proto."""

from tranship._api import pool
import tranship._api.types.descriptor_pb2
import tranship._api.types.mount_pb2

DESCRIPTOR = pool.define(
    globals(),
    b'\n)tranship/_api/services/diff/v1'
    b'/diff.proto\x12\x1bcontainerd.services'
    b'.diff.v1\x1a\x19google/protobuf/any.pr'
    b'oto\x1a\x1fgoogle/protobuf/timestamp.p'
    b'roto\x1a$tranship/_api/types/descri'
    b'ptor.proto\x1a\x1ftranship/_api/types/'
    b'mount.proto"\x86\x02\n\x0cApplyRequest\x12*\n\x04'
    b'diff\x18\x01 \x01(\x0b2\x1c.containerd.types.De'
    b"scriptor\x12'\n\x06mounts\x18\x02 \x03(\x0b2\x17.conta"
    b'inerd.types.Mount\x12I\n\x08payloads\x18\x03 '
    b'\x03(\x0b27.containerd.services.diff.v'
    b'1.ApplyRequest.PayloadsEntry\x12\x0f\n\x07'
    b'sync_fs\x18\x04 \x01(\x08\x1aE\n\rPayloadsEntry\x12\x0b'
    b'\n\x03key\x18\x01 \x01(\t\x12#\n\x05value\x18\x02 \x01(\x0b2\x14.goo'
    b'gle.protobuf.Any:\x028\x01">\n\rApplyRes'
    b'ponse\x12-\n\x07applied\x18\x01 \x01(\x0b2\x1c.contain'
    b'erd.types.Descriptor"\xa9\x02\n\x0bDiffReq'
    b'uest\x12%\n\x04left\x18\x01 \x03(\x0b2\x17.containerd.'
    b'types.Mount\x12&\n\x05right\x18\x02 \x03(\x0b2\x17.con'
    b'tainerd.types.Mount\x12\x12\n\nmedia_typ'
    b'e\x18\x03 \x01(\t\x12\x0b\n\x03ref\x18\x04 \x01(\t\x12D\n\x06labels\x18\x05'
    b' \x03(\x0b24.containerd.services.diff.'
    b'v1.DiffRequest.LabelsEntry\x125\n\x11so'
    b'urce_date_epoch\x18\x06 \x01(\x0b2\x1a.google.p'
    b'rotobuf.Timestamp\x1a-\n\x0bLabelsEntry'
    b'\x12\x0b\n\x03key\x18\x01 \x01(\t\x12\r\n\x05value\x18\x02 \x01(\t:\x028\x01'
    b'":\n\x0cDiffResponse\x12*\n\x04diff\x18\x03 \x01(\x0b2\x1c'
    b'.containerd.types.Descriptor2\xc3\x01\n'
    b'\x04Diff\x12^\n\x05Apply\x12).containerd.serv'
    b'ices.diff.v1.ApplyRequest\x1a*.cont'
    b'ainerd.services.diff.v1.ApplyRes'
    b'ponse\x12[\n\x04Diff\x12(.containerd.servi'
    b'ces.diff.v1.DiffRequest\x1a).contai'
    b'nerd.services.diff.v1.DiffRespon'
    b'seb\x06proto3',
)
