"""Messages of containerd.services.leases.v1. Written by tools/proto.py from tranship/_api/services/leases/v1/leases.proto."""

from tranship._api import pool

DESCRIPTOR = pool.define(
    globals(),
    b'\n-tranship/_api/services/leases/'
    b'v1/leases.proto\x12\x1dcontainerd.serv'
    b'ices.leases.v1\x1a\x1bgoogle/protobuf/'
    b'empty.proto\x1a\x1fgoogle/protobuf/tim'
    b'estamp.proto"\xb4\x01\n\x05Lease\x12\n\n\x02id\x18\x01 \x01'
    b'(\t\x12.\n\ncreated_at\x18\x02 \x01(\x0b2\x1a.google.'
    b'protobuf.Timestamp\x12@\n\x06labels\x18\x03 \x03'
    b'(\x0b20.containerd.services.leases.'
    b'v1.Lease.LabelsEntry\x1a-\n\x0bLabelsEn'
    b'try\x12\x0b\n\x03key\x18\x01 \x01(\t\x12\r\n\x05value\x18\x02 \x01(\t:'
    b'\x028\x01"\x94\x01\n\rCreateRequest\x12\n\n\x02id\x18\x01 \x01('
    b'\t\x12H\n\x06labels\x18\x03 \x03(\x0b28.containerd.s'
    b'ervices.leases.v1.CreateRequest.'
    b'LabelsEntry\x1a-\n\x0bLabelsEntry\x12\x0b\n\x03ke'
    b'y\x18\x01 \x01(\t\x12\r\n\x05value\x18\x02 \x01(\t:\x028\x01"E\n\x0eCr'
    b'eateResponse\x123\n\x05lease\x18\x01 \x01(\x0b2$.co'
    b'ntainerd.services.leases.v1.Leas'
    b'e")\n\rDeleteRequest\x12\n\n\x02id\x18\x01 \x01(\t\x12\x0c'
    b'\n\x04sync\x18\x02 \x01(\x08"\x1e\n\x0bListRequest\x12\x0f\n\x07f'
    b'ilters\x18\x01 \x03(\t"D\n\x0cListResponse\x124\n\x06'
    b'leases\x18\x01 \x03(\x0b2$.containerd.servic'
    b'es.leases.v1.Lease"$\n\x08Resource\x12\n'
    b'\n\x02id\x18\x01 \x01(\t\x12\x0c\n\x04type\x18\x02 \x01(\t"[\n\x12AddR'
    b'esourceRequest\x12\n\n\x02id\x18\x01 \x01(\t\x129\n\x08re'
    b"source\x18\x02 \x01(\x0b2'.containerd.servic"
    b'es.leases.v1.Resource"^\n\x15DeleteR'
    b'esourceRequest\x12\n\n\x02id\x18\x01 \x01(\t\x129\n\x08re'
    b"source\x18\x02 \x01(\x0b2'.containerd.servic"
    b'es.leases.v1.Resource""\n\x14ListRes'
    b'ourcesRequest\x12\n\n\x02id\x18\x01 \x01(\t"S\n\x15Lis'
    b'tResourcesResponse\x12:\n\tresources\x18'
    b"\x01 \x03(\x0b2'.containerd.services.leas"
    b'es.v1.Resource2\xd6\x04\n\x06Leases\x12e\n\x06Cre'
    b'ate\x12,.containerd.services.leases'
    b'.v1.CreateRequest\x1a-.containerd.s'
    b'ervices.leases.v1.CreateResponse'
    b'\x12N\n\x06Delete\x12,.containerd.services'
    b'.leases.v1.DeleteRequest\x1a\x16.googl'
    b'e.protobuf.Empty\x12_\n\x04List\x12*.conta'
    b'inerd.services.leases.v1.ListReq'
    b'uest\x1a+.containerd.services.lease'
    b's.v1.ListResponse\x12X\n\x0bAddResource'
    b'\x121.containerd.services.leases.v1'
    b'.AddResourceRequest\x1a\x16.google.pro'
    b'tobuf.Empty\x12^\n\x0eDeleteResource\x124.'
    b'containerd.services.leases.v1.De'
    b'leteResourceRequest\x1a\x16.google.pro'
    b'tobuf.Empty\x12z\n\rListResources\x123.c'
    b'ontainerd.services.leases.v1.Lis'
    b'tResourcesRequest\x1a4.containerd.s'
    b'ervices.leases.v1.ListResourcesR'
    b'esponseb\x06proto3',
)
