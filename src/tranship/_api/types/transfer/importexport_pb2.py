"""Messages of containerd.types.transfer. Written by tools/proto.py from tranship/_api/types/transfer/importexport.proto."""

from tranship._api import pool
import tranship._api.types.platform_pb2

DESCRIPTOR = pool.define(
    globals(),
    b'\n/tranship/_api/types/transfer/i'
    b'mportexport.proto\x12\x19containerd.ty'
    b'pes.transfer\x1a"tranship/_api/type'
    b's/platform.proto"O\n\x11ImageImportS'
    b'tream\x12\x0e\n\x06stream\x18\x01 \x01(\t\x12\x12\n\nmedia_t'
    b'ype\x18\x02 \x01(\t\x12\x16\n\x0eforce_compress\x18\x03 \x01('
    b'\x08"\xc2\x01\n\x11ImageExportStream\x12\x0e\n\x06strea'
    b'm\x18\x01 \x01(\t\x12\x12\n\nmedia_type\x18\x02 \x01(\t\x12-\n\tp'
    b'latforms\x18\x03 \x03(\x0b2\x1a.containerd.type'
    b's.Platform\x12\x15\n\rall_platforms\x18\x04 \x01('
    b'\x08\x12#\n\x1bskip_compatibility_manifest'
    b'\x18\x05 \x01(\x08\x12\x1e\n\x16skip_non_distributable'
    b'\x18\x06 \x01(\x08b\x06proto3',
)
