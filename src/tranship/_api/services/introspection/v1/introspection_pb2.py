"""Messages of containerd.services.introspection.v1. Written by tools/proto.py from tranship/_api/services/introspection/v1/introspection.proto."""

from tranship._api import pool
import tranship._api.types.introspection_pb2
import tranship._api.types.platform_pb2
import tranship._api.google.rpc.status_pb2

DESCRIPTOR = pool.define(
    globals(),
    b'\n;tranship/_api/services/introsp'
    b'ection/v1/introspection.proto\x12$c'
    b'ontainerd.services.introspection'
    b".v1\x1a\x19google/protobuf/any.proto\x1a'"
    b'tranship/_api/types/introspectio'
    b'n.proto\x1a"tranship/_api/types/pla'
    b'tform.proto\x1a%tranship/_api/googl'
    b'e/rpc/status.proto\x1a\x1bgoogle/proto'
    b'buf/empty.proto\x1a\x1fgoogle/protobuf'
    b'/timestamp.proto"\x9b\x02\n\x06Plugin\x12\x0c\n\x04t'
    b'ype\x18\x01 \x01(\t\x12\n\n\x02id\x18\x02 \x01(\t\x12\x10\n\x08require'
    b's\x18\x03 \x03(\t\x12-\n\tplatforms\x18\x04 \x03(\x0b2\x1a.con'
    b'tainerd.types.Platform\x12J\n\x07export'
    b's\x18\x05 \x03(\x0b29.containerd.services.in'
    b'trospection.v1.Plugin.ExportsEnt'
    b'ry\x12\x14\n\x0ccapabilities\x18\x06 \x03(\t\x12$\n\x08init'
    b'_err\x18\x07 \x01(\x0b2\x12.google.rpc.Status\x1a.'
    b'\n\x0cExportsEntry\x12\x0b\n\x03key\x18\x01 \x01(\t\x12\r\n\x05v'
    b'alue\x18\x02 \x01(\t:\x028\x01"!\n\x0ePluginsRequest'
    b'\x12\x0f\n\x07filters\x18\x01 \x03(\t"P\n\x0fPluginsResp'
    b'onse\x12=\n\x07plugins\x18\x01 \x03(\x0b2,.containe'
    b'rd.services.introspection.v1.Plu'
    b'gin"\x8a\x01\n\x0eServerResponse\x12\x0c\n\x04uuid\x18\x01'
    b' \x01(\t\x12\x0b\n\x03pid\x18\x02 \x01(\x04\x12\r\n\x05pidns\x18\x03 \x01(\x04'
    b'\x12N\n\x0cdeprecations\x18\x04 \x03(\x0b28.contain'
    b'erd.services.introspection.v1.De'
    b'precationWarning"f\n\x12DeprecationW'
    b'arning\x12\n\n\x02id\x18\x01 \x01(\t\x12\x0f\n\x07message\x18\x02 '
    b'\x01(\t\x123\n\x0flast_occurrence\x18\x03 \x01(\x0b2\x1a.g'
    b'oogle.protobuf.Timestamp"T\n\x11Plug'
    b'inInfoRequest\x12\x0c\n\x04type\x18\x01 \x01(\t\x12\n\n\x02i'
    b'd\x18\x02 \x01(\t\x12%\n\x07options\x18\x03 \x01(\x0b2\x14.googl'
    b'e.protobuf.Any"w\n\x12PluginInfoResp'
    b'onse\x12<\n\x06plugin\x18\x01 \x01(\x0b2,.container'
    b'd.services.introspection.v1.Plug'
    b'in\x12#\n\x05extra\x18\x02 \x01(\x0b2\x14.google.proto'
    b'buf.Any2\xe0\x02\n\rIntrospection\x12v\n\x07Plu'
    b'gins\x124.containerd.services.intro'
    b'spection.v1.PluginsRequest\x1a5.con'
    b'tainerd.services.introspection.v'
    b'1.PluginsResponse\x12V\n\x06Server\x12\x16.go'
    b'ogle.protobuf.Empty\x1a4.containerd'
    b'.services.introspection.v1.Serve'
    b'rResponse\x12\x7f\n\nPluginInfo\x127.contai'
    b'nerd.services.introspection.v1.P'
    b'luginInfoRequest\x1a8.containerd.se'
    b'rvices.introspection.v1.PluginIn'
    b'foResponseb\x06proto3',
)
