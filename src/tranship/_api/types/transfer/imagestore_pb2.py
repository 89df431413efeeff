"""Messages of containerd.types.transfer. Written by tools/proto.py from tranship/_api/types/transfer/imagestore.proto."""

from tranship._api import pool
import tranship._api.types.platform_pb2

DESCRIPTOR = pool.define(
    globals(),
    b'\n-tranship/_api/types/transfer/i'
    b'magestore.proto\x12\x19containerd.type'
    b's.transfer\x1a"tranship/_api/types/'
    b'platform.proto"\xef\x02\n\nImageStore\x12\x0c\n'
    b'\x04name\x18\x01 \x01(\t\x12A\n\x06labels\x18\x02 \x03(\x0b21.co'
    b'ntainerd.types.transfer.ImageSto'
    b're.LabelsEntry\x12-\n\tplatforms\x18\x03 \x03('
    b'\x0b2\x1a.containerd.types.Platform\x12\x14\n'
    b'\x0call_metadata\x18\x04 \x01(\x08\x12\x16\n\x0emanifest_'
    b'limit\x18\x05 \x01(\r\x12C\n\x10extra_references\x18'
    b'\x06 \x03(\x0b2).containerd.types.transfe'
    b'r.ImageReference\x12?\n\x07unpacks\x18\n \x03('
    b'\x0b2..containerd.types.transfer.Un'
    b'packConfiguration\x1a-\n\x0bLabelsEntry'
    b'\x12\x0b\n\x03key\x18\x01 \x01(\t\x12\r\n\x05value\x18\x02 \x01(\t:\x028\x01'
    b'"X\n\x13UnpackConfiguration\x12,\n\x08platf'
    b'orm\x18\x01 \x01(\x0b2\x1a.containerd.types.Pla'
    b'tform\x12\x13\n\x0bsnapshotter\x18\x02 \x01(\t"y\n\x0eIm'
    b'ageReference\x12\x0c\n\x04name\x18\x01 \x01(\t\x12\x11\n\tis'
    b'_prefix\x18\x02 \x01(\x08\x12\x17\n\x0fallow_overwrite'
    b'\x18\x03 \x01(\x08\x12\x12\n\nadd_digest\x18\x04 \x01(\x08\x12\x19\n\x11sk'
    b'ip_named_digest\x18\x05 \x01(\x08b\x06proto3',
)
