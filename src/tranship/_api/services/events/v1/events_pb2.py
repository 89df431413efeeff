"""Messages of containerd.services.events.v1. Written by tools/proto.py from tranship/_api/services/events/v1/events.proto."""

from tranship._api import pool
import tranship._api.types.event_pb2

DESCRIPTOR = pool.define(
    globals(),
    b'\n-tranship/_api/services/events/'
    b'v1/events.proto\x12\x1dcontainerd.serv'
    b'ices.events.v1\x1a\x1ftranship/_api/ty'
    b'pes/event.proto\x1a\x19google/protobuf'
    b'/any.proto\x1a\x1bgoogle/protobuf/empt'
    b'y.proto"D\n\x0ePublishRequest\x12\r\n\x05top'
    b'ic\x18\x01 \x01(\t\x12#\n\x05event\x18\x02 \x01(\x0b2\x14.google'
    b'.protobuf.Any">\n\x0eForwardRequest\x12'
    b',\n\x08envelope\x18\x01 \x01(\x0b2\x1a.containerd.t'
    b'ypes.Envelope"#\n\x10SubscribeReques'
    b't\x12\x0f\n\x07filters\x18\x01 \x03(\t2\x88\x02\n\x06Events\x12P\n'
    b'\x07Publish\x12-.containerd.services.e'
    b'vents.v1.PublishRequest\x1a\x16.google'
    b'.protobuf.Empty\x12P\n\x07Forward\x12-.con'
    b'tainerd.services.events.v1.Forwa'
    b'rdRequest\x1a\x16.google.protobuf.Empt'
    b'y\x12Z\n\tSubscribe\x12/.containerd.serv'
    b'ices.events.v1.SubscribeRequest\x1a'
    b'\x1a.containerd.types.Envelope0\x01b\x06p'
    b'roto3',
)
