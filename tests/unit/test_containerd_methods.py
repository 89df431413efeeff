"""The declared method table says what the .proto files say."""

import pytest

pytest.importorskip("google.protobuf", reason="protobuf is in the `daemon` extra")

from tranship._api.pool import POOL
from tranship._api.services.streaming.v1 import streaming_pb2  # noqa: F401  # defines the service
from tranship.containerd.methods import SERVICES, ServerStream, Stream, Unary, methods

SHAPES = {(False, False): Unary, (False, True): ServerStream, (True, True): Stream}


@pytest.mark.parametrize("service", SERVICES, ids=lambda s: s.__name__)
def test_declared_methods_are_those_of_the_service(service):
    described = POOL.FindServiceByName(service.SERVICE)
    declared = {m.name: m for m in vars(service).values() if hasattr(m, "path")}
    assert set(declared) == {m.name for m in described.methods}
    for method in described.methods:
        ours = declared[method.name]
        assert ours.path == f"/{described.full_name}/{method.name}"
        assert ours.request.DESCRIPTOR is method.input_type
        assert ours.response.DESCRIPTOR is method.output_type
        assert type(ours) is SHAPES[method.client_streaming, method.server_streaming]


def test_methods_are_found_by_their_path():
    table = methods()
    assert all(path == method.path for path, method in table.items())
    assert table["/containerd.services.content.v1.Content/Write"].name == "Write"
