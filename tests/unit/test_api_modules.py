"""The generated modules: current, alone in their pool, and cheap to import."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("google.protobuf", reason="protobuf is in the `daemon` extra")

ROOT = Path(__file__).resolve().parents[2]
API = ROOT / "src/tranship/_api"
MODULES = sorted(".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in API.rglob("*_pb2.py"))


def test_generated_modules_are_what_the_proto_files_say(tmp_path):
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed; CI installs the dependency group `proto`")
    done = subprocess.run(
        [sys.executable, ROOT / "tools/proto.py", "--out", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    fresh = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*_pb2.py*")}
    kept = {path.relative_to(API): path.read_text() for path in API.rglob("*_pb2.py*") if path.suffix != ".pyc"}
    assert fresh == kept, "run `make proto`"


def test_proto_files_carry_their_licence():
    for path in API.rglob("*.proto"):
        text = path.read_text()
        ours = text.startswith("// The wire shape of ")
        assert ours or ("Copyright" in text and "// Changed for tranship: " in text), path


def test_names_of_messages_are_containerds_own():
    from tranship._api.services.streaming.v1.streaming_pb2 import StreamInit
    from tranship._api.types.transfer.registry_pb2 import OCIRegistry
    from tranship._api.wellknown import Empty

    assert StreamInit.DESCRIPTOR.full_name == "containerd.services.streaming.v1.StreamInit"
    assert OCIRegistry.DESCRIPTOR.full_name == "containerd.types.transfer.OCIRegistry"
    assert Empty.DESCRIPTOR.full_name == "google.protobuf.Empty"


def test_another_library_with_containerds_messages_does_not_collide():
    """Both register the same message name, and the same file name, with different fields; each keeps its own."""
    program = """
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
for name in ("types/platform.proto", "tranship/_api/types/platform.proto"):
    file = descriptor_pb2.FileDescriptorProto(name=name, package="containerd.types" if name[0] == "t" else "x")
    file.message_type.add(name="Platform" + str(len(name))).field.add(name="other", number=1, type=5, label=1)
    file.message_type.add(name="Platform" if name.startswith("types") else "Unrelated")
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
from tranship._api.types.platform_pb2 import Platform
assert Platform(os="linux").SerializeToString() == b"\\n\\x05linux"
theirs = descriptor_pool.Default().FindMessageTypeByName("containerd.types.Platform")
assert theirs is not Platform.DESCRIPTOR and not theirs.fields
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_default_pool_stays_without_our_names():
    from google.protobuf import descriptor_pool

    for name in MODULES:
        for full_name in (m.full_name for m in importlib.import_module(name).DESCRIPTOR.message_types_by_name.values()):
            with pytest.raises(KeyError):
                descriptor_pool.Default().FindMessageTypeByName(full_name)


def test_importing_all_messages_imports_no_grpc():
    program = f"import sys\nfor name in {MODULES}: __import__(name)\nprint(len(sys.modules), 'grpc' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    count, grpc = done.stdout.split()
    assert grpc == "False"
    assert int(count) < 400


@pytest.mark.parametrize("implementation", ["upb", "python"])
def test_messages_work_with_each_implementation_of_protobuf(implementation):
    program = """
from tranship._api.types.transfer import registry_pb2 as r
from tranship._api.wellknown import Any, Timestamp
answer = r.AuthResponse(authType=r.CREDENTIALS, secret="p", username="u", expire_at=Timestamp(seconds=-62135596800))
wrapped = Any(type_url=answer.DESCRIPTOR.full_name, value=answer.SerializeToString())
assert r.AuthResponse.FromString(Any.FromString(wrapped.SerializeToString()).value) == answer
assert r.AuthType.Name(answer.authType) == "CREDENTIALS"
"""
    environment = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
