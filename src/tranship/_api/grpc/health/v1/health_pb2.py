"""Messages of grpc.health.v1. Written by tools/proto.py from tranship/_api/grpc/health/v1/health.proto."""

from tranship._api import pool

DESCRIPTOR = pool.define(
    globals(),
    b'\n)tranship/_api/grpc/health/v1/h'
    b'ealth.proto\x12\x0egrpc.health.v1"%\n\x12H'
    b'ealthCheckRequest\x12\x0f\n\x07service\x18\x01 \x01'
    b'(\t"\xa9\x01\n\x13HealthCheckResponse\x12A\n\x06st'
    b'atus\x18\x01 \x01(\x0e21.grpc.health.v1.Heal'
    b'thCheckResponse.ServingStatus"O\n'
    b'\rServingStatus\x12\x0b\n\x07UNKNOWN\x10\x00\x12\x0b\n\x07S'
    b'ERVING\x10\x01\x12\x0f\n\x0bNOT_SERVING\x10\x02\x12\x13\n\x0fSER'
    b'VICE_UNKNOWN\x10\x032\xae\x01\n\x06Health\x12P\n\x05Che'
    b'ck\x12".grpc.health.v1.HealthCheckR'
    b'equest\x1a#.grpc.health.v1.HealthCh'
    b'eckResponse\x12R\n\x05Watch\x12".grpc.heal'
    b'th.v1.HealthCheckRequest\x1a#.grpc.'
    b'health.v1.HealthCheckResponse0\x01b'
    b'\x06proto3',
)
