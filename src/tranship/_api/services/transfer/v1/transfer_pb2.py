"""Messages of containerd.services.transfer.v1. Written by tools/proto.py from tranship/_api/services/transfer/v1/transfer.proto."""

from tranship._api import pool

DESCRIPTOR = pool.define(
    globals(),
    b'\n1tranship/_api/services/transfe'
    b'r/v1/transfer.proto\x12\x1fcontainerd.'
    b'services.transfer.v1\x1a\x19google/pro'
    b'tobuf/any.proto\x1a\x1bgoogle/protobuf'
    b'/empty.proto"\xa5\x01\n\x0fTransferRequest'
    b'\x12$\n\x06source\x18\x01 \x01(\x0b2\x14.google.protob'
    b'uf.Any\x12)\n\x0bdestination\x18\x02 \x01(\x0b2\x14.go'
    b'ogle.protobuf.Any\x12A\n\x07options\x18\x03 \x01'
    b'(\x0b20.containerd.services.transfe'
    b'r.v1.TransferOptions"*\n\x0fTransfer'
    b'Options\x12\x17\n\x0fprogress_stream\x18\x01 \x01(\t'
    b'2`\n\x08Transfer\x12T\n\x08Transfer\x120.conta'
    b'inerd.services.transfer.v1.Trans'
    b'ferRequest\x1a\x16.google.protobuf.Emp'
    b'tyb\x06proto3',
)
