"""Messages of containerd.services.version.v1. Written by tools/proto.py from tranship/_api/services/version/v1/version.proto."""

from tranship._api import pool

DESCRIPTOR = pool.define(
    globals(),
    b'\n/tranship/_api/services/version'
    b'/v1/version.proto\x12\x1econtainerd.se'
    b'rvices.version.v1\x1a\x1bgoogle/protob'
    b'uf/empty.proto"4\n\x0fVersionRespons'
    b'e\x12\x0f\n\x07version\x18\x01 \x01(\t\x12\x10\n\x08revision\x18\x02'
    b' \x01(\t2]\n\x07Version\x12R\n\x07Version\x12\x16.goo'
    b'gle.protobuf.Empty\x1a/.containerd.'
    b'services.version.v1.VersionRespo'
    b'nseb\x06proto3',
)
