"""What real containerd 2.1.9 and ctr said on the wire, captured: we read all of it, and say the same in the same bytes."""

import json
from pathlib import Path

import pytest

pytest.importorskip("google.protobuf", reason="protobuf is in the `daemon` extra")

from google.protobuf.json_format import MessageToDict
from google.protobuf.unknown_fields import UnknownFieldSet

from tranship._api.pool import POOL, message_class
from tranship._api.services.content.v1.content_pb2 import Info
from tranship._api.services.images.v1.images_pb2 import Image
from tranship._api.services.leases.v1.leases_pb2 import Lease
from tranship._api.services.namespaces.v1.namespace_pb2 import Namespace
from tranship._api.services.streaming.v1.streaming_pb2 import StreamInit
from tranship._api.services.transfer.v1.transfer_pb2 import TransferRequest
from tranship._api.wellknown import Any, Empty
from tranship.containerd import codec, credentials, progress
from tranship.containerd.ends import decode_end, encode_end, transfer_request
from tranship.containerd.methods import methods
from tranship.containerd.wire import WireExportStream, WireImageStore, WireImportStream, WireRegistry
from tranship.engine.progress import Stage
from tranship.formats.stream_window import CHUNK, Receiver, Sender

DATA = Path(__file__).resolve().parents[1] / "data/wire"
NOT_OURS = {
    "/containerd.services.containers.v1.Containers/ListStream",
    "/containerd.services.tasks.v1.Tasks/List",
}


def load(name):
    return json.loads((DATA / f"{name}.json").read_text())


TRANSFERS = [r for name in ("export", "import", "pull", "push", "tag") for r in load(f"transfer-{name}")]
STREAMS = [
    pytest.param(stream, id=f"{name}-{stream['kind']}")
    for name, session in load("streams").items()
    for stream in session["streams"]
]
RPCS = [
    pytest.param(key.partition("#")[0], call, id=f"{key.rpartition('/')[2]}-{number}")
    for key, calls in load("other-rpcs").items()
    for number, call in enumerate(calls)
    if key.partition("#")[0] not in NOT_OURS
]


def messages(stream, direction):
    return [Any.FromString(bytes.fromhex(m["hex"])) for m in stream[direction] if "hex" in m]


# ------------------------------------------------------------------------------------------------------------ transfers


def test_all_captured_transfers_are_here():
    assert len(TRANSFERS) == 45


@pytest.mark.parametrize("record", TRANSFERS, ids=lambda r: r["id"])
def test_captured_transfer_is_written_again_from_its_values(record):
    request = TransferRequest.FromString(bytes.fromhex(record["hex"]))
    again = transfer_request(
        decode_end(request.source, "source"),
        decode_end(request.destination, "destination"),
        request.options.progress_stream,
    )
    assert again == request
    labels = record["decoded"]["destination"]["decoded"].get("labels", {})
    if len(labels) < 2:  # Go writes maps in random order
        assert again.SerializeToString(deterministic=True).hex() == record["hex"]


@pytest.mark.parametrize("record", TRANSFERS, ids=lambda r: r["id"])
def test_ends_of_a_captured_transfer_say_what_the_capture_decoded(record):
    for side in ("source", "destination"):
        expected = record["decoded"][side]
        wrapped = Any(type_url=expected["type_url"], value=bytes.fromhex(expected["value_hex"]))
        end = decode_end(wrapped, side)
        fields = expected["decoded"]
        match end:
            case WireImageStore():
                assert end.name == fields.get("name", "")
                assert [p.os for p in end.platforms] == [p["os"] for p in fields.get("platforms", [])]
                assert [r.name for r in end.extra_references] == [r["name"] for r in fields.get("extra_references", [])]
                assert end.all_metadata == fields.get("all_metadata", False)
                assert len(end.unpacks) == len(fields.get("unpacks", []))
            case WireRegistry():
                assert end.reference == fields["reference"]
                assert end.auth_stream == fields["resolver"].get("auth_stream", "")
                assert end.default_scheme == fields["resolver"].get("default_scheme", "")
                assert end.http_debug.name == fields["resolver"].get("http_debug", "DISABLED")
            case WireImportStream() | WireExportStream():
                assert end.stream == fields["stream"]
        prefixed = Any(type_url="type.googleapis.com/" + wrapped.type_url, value=wrapped.value)
        assert decode_end(prefixed, side) == end
        assert encode_end(end).type_url == expected["type_url"]


@pytest.mark.parametrize("vector", load("synthetic-any-vectors"), ids=lambda v: v["type_url"].rpartition(".")[2])
def test_synthetic_messages_keep_their_bytes(vector):
    name, value = vector["type_url"], bytes.fromhex(vector["value_hex"])
    try:
        message = message_class(POOL.FindMessageTypeByName(name)).FromString(value)
    except KeyError:
        assert name.rpartition(".")[2] in {"ContainerPath", "ReadStream", "WriteStream"}  # no end of a transfer to us
        return
    assert codec.pack(message) == Any(type_url=name, value=value)


# -------------------------------------------------------------------------------------------------------------- streams


@pytest.mark.parametrize("stream", STREAMS)
def test_captured_stream_begins_with_the_handshake(stream):
    opening = codec.unpack(messages(stream, "client_to_server")[0], StreamInit)
    assert opening.id.startswith(stream["kind"].removesuffix("-logs").removesuffix("-debug"))
    answer = messages(stream, "server_to_client")[0]
    assert codec.unpack(answer, Empty) == Empty()
    assert codec.pack(Empty()).SerializeToString() == answer.SerializeToString()
    assert len(answer.SerializeToString()) == 23


@pytest.mark.parametrize("stream", STREAMS)
def test_every_captured_message_of_a_stream_keeps_its_bytes(stream):
    for direction in ("client_to_server", "server_to_client"):
        for wrapped in messages(stream, direction):
            message = message_class(POOL.FindMessageTypeByName(wrapped.type_url)).FromString(wrapped.value)
            again = codec.pack(message)
            assert codec.unpack(again, type(message)) == message
            if wrapped.type_url != "containerd.types.transfer.Progress":  # descriptors carry maps in random order
                assert again == wrapped


@pytest.mark.parametrize("stream", [s for s in STREAMS if s.values[0]["kind"] == "progress"])
def test_captured_progress_is_read_and_told_again(stream):
    events = [progress.decode(wrapped) for wrapped in messages(stream, "server_to_client")[1:]]
    assert events[0].stage is Stage.STARTED
    for event, wrapped in zip(events, messages(stream, "server_to_client")[1:], strict=True):
        assert MessageToDict(codec.unpack(progress.encode(event), progress.progress_pb2.Progress)) == MessageToDict(
            codec.unpack(wrapped, progress.progress_pb2.Progress)
        )
        if event.name.startswith(("index-", "manifest-", "config-", "layer-")):
            assert event.stage is Stage.BLOB
            assert str(event.descriptor.digest) in event.name
        elif event.event in {"saved", "pushed content", "pushing content", "fetching image content"}:
            assert event.stage is Stage.IMAGE


@pytest.mark.parametrize("stream", [s for s in STREAMS if s.values[0]["kind"] == "creds"])
def test_captured_questions_for_credentials_are_answered_in_the_same_bytes(stream):
    questions = messages(stream, "server_to_client")[1:]
    answers = messages(stream, "client_to_server")[1:]
    assert len(questions) == len(answers)
    for wrapped in questions:
        question = credentials.decode_question(wrapped)
        assert question.host == "127.0.0.1:5056"
        assert credentials.encode_question(question) == wrapped
    for wrapped in answers:
        credential = credentials.decode_credential(wrapped)
        assert credential.username == "u"
        assert credential.password.reveal() in {"p", "bad"}
        assert credentials.encode_credential(credential) == wrapped


def payloads(stream, direction):
    """The lengths of a stream's Data, also of those of which only the beginning was kept."""
    lengths = []
    for m in stream[direction]:
        head = bytes.fromhex(m.get("hex") or m["hex_prefix"])
        if b"containerd.types.transfer.Data" in head[:40]:
            framing = len(codec.pack_data(bytes(m["size"])).SerializeToString()) - m["size"]
            while len(codec.pack_data(bytes(m["size"] - framing)).SerializeToString()) < m["size"]:
                framing -= 1
            lengths.append(m["size"] - framing)
    return lengths


def updates(stream, direction):
    flow = (codec.unpack_flow(wrapped) for wrapped in messages(stream, direction))
    return [update for update in flow if isinstance(update, int)]


def test_receiver_grants_what_containerd_granted_during_an_import():
    stream = next(s.values[0] for s in STREAMS if s.id == "exp1/import-import")
    receiver, grants = Receiver(), []
    for count in [*payloads(stream, "client_to_server"), 0]:
        if grant := receiver.grant():
            grants.append(grant)
        receiver.received(count)
    # containerd tops up once more while it waits for the end.
    assert grants == updates(stream, "server_to_client")


def test_sender_cuts_an_import_where_ctr_cut_it():
    stream = next(s.values[0] for s in STREAMS if s.id == "exp1/import-import")
    wanted = payloads(stream, "client_to_server")
    assert wanted[0] == CHUNK
    sender, receiver = Sender(), Receiver()
    sender.credited(receiver.grant())
    sender.feed(bytes(sum(wanted)))
    sender.flush()
    sent = []
    while (data := sender.next()) is not None:
        sent.append(len(data))
        receiver.received(len(data))
        if grant := receiver.grant():
            sender.credited(grant)
    assert sent == wanted


def test_receiver_grants_what_ctr_granted_during_an_export():
    stream = next(s.values[0] for s in STREAMS if s.id == "exp2/export-export")
    receiver, grants = Receiver(), []
    for count in payloads(stream, "server_to_client"):
        if grant := receiver.grant():
            grants.append(grant)
        receiver.received(count)
    seen = updates(stream, "client_to_server")
    assert grants[: len(seen)] == seen
    assert len(grants) - len(seen) <= 1  # the capture may end before ctr's last one


# ---------------------------------------------------------------------------------------------------------- other calls


@pytest.mark.parametrize(("path", "call"), RPCS)
def test_captured_call_is_read_by_the_classes_of_its_method(path, call):
    method = methods()[path]
    for part, wanted in (("requests", method.request), ("responses", method.response)):
        for record in call[part]:
            if "hex" not in record:
                continue
            raw = bytes.fromhex(record["hex"])
            message = wanted.FromString(raw)
            again = message.SerializeToString(deterministic=True)
            assert len(UnknownFieldSet(message)) == 0
            assert wanted.FromString(again) == message
            assert sorted(again) == sorted(raw)  # Go writes maps in random order; all else is as it was


def captured(kind):
    for _, call in (p.values for p in RPCS):
        for part, cls in (("requests", "request"), ("responses", "response")):
            method = methods()[_]
            for record in call[part]:
                if "hex" in record:
                    yield from inside(getattr(method, cls).FromString(bytes.fromhex(record["hex"])), kind)


def inside(message, kind):
    if isinstance(message, kind):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for item in [value] if hasattr(value, "ListFields") else value:
                yield from inside(item, kind)


def without_nanoseconds(message):
    for name in ("created_at", "updated_at"):
        if name in message.DESCRIPTOR.fields_by_name and message.HasField(name):
            stamp = getattr(message, name)
            stamp.nanos -= stamp.nanos % 1000
            if stamp.seconds < 0:  # Go's zero time
                message.ClearField(name)
                getattr(message, name).seconds = 0
    return message


@pytest.mark.parametrize(
    ("kind", "count"), [(Info, 4), (Lease, 3), (Namespace, 4), (Image, 5)], ids=lambda v: getattr(v, "__name__", "")
)
def test_captured_records_become_values_and_the_same_records_again(kind, count):
    from tranship.containerd import records

    decode = getattr(records, f"from_{kind.__name__.lower()}")
    encode = getattr(records, f"to_{kind.__name__.lower()}")
    seen = 0
    for message in captured(kind):
        if kind is Image and not message.target.digest:
            continue  # ctr sends an empty target with a label
        if kind is Info and not message.size:
            continue  # … and only the digest with an update
        seen += 1
        value = decode(message)
        again = encode(value)
        expected = without_nanoseconds(message)
        for name in ("created_at", "updated_at"):
            if name in expected.DESCRIPTOR.fields_by_name and not expected.HasField(name):
                again.ClearField(name)
        assert again == expected
    assert seen >= count
