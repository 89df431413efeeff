"""containerd's messages as values: what is refused, what is bounded, and containerd's words for events."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

pytest.importorskip("google.protobuf", reason="protobuf is in the `daemon` extra")

from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from tranship._api.services.streaming.v1.streaming_pb2 import StreamInit
from tranship._api.types import descriptor_pb2
from tranship._api.types.transfer import imagestore_pb2, registry_pb2
from tranship._api.wellknown import Any, Timestamp
from tranship.containerd import codec, credentials, progress, values
from tranship.containerd.ends import decode_end, encode_end
from tranship.containerd.wire import (
    HTTPDebug,
    WireExportStream,
    WireImageStore,
    WireImportStream,
    WireRegistry,
    WireUnpack,
)
from tranship.engine.progress import Progress, Stage
from tranship.errors import InvalidArgument, TranshipError, Unsupported
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.model.naming import ExtraName
from tranship.model.platform import Platform
from tranship.model.secret import Credential, Secret

LINUX = Platform("linux", "amd64")
WINDOWS = Platform("windows", "amd64", os_version="10.0.20348.1", os_features=("win32k",))
ENDS = [
    WireImageStore(),
    WireImageStore(
        name="docker.io/library/a:1",
        labels={"a": "b"},
        platforms=(LINUX, WINDOWS),
        all_metadata=True,
        manifest_limit=3,
        extra_references=(ExtraName(name="p", is_prefix=True, allow_overwrite=True, add_digest=True),),
        unpacks=(WireUnpack(platform=LINUX, snapshotter="overlayfs"), WireUnpack()),
    ),
    WireRegistry(reference="r.example.com/a:1"),
    WireRegistry(
        reference="r.example.com/a:1",
        auth_stream="creds-1",
        headers={"X-A": "b"},
        host_dir="/etc/hosts.d",
        default_scheme="http",
        http_debug=HTTPDebug.BOTH,
        logs_stream="logs-1",
    ),
    WireImportStream(stream="import-1", media_type="application/x-tar", force_compress=True),
    WireExportStream(
        stream="export-1",
        media_type="application/x-tar",
        platforms=(LINUX,),
        all_platforms=True,
        skip_compatibility_manifest=True,
        skip_non_distributable=True,
    ),
]


@pytest.mark.parametrize("end", ENDS, ids=lambda e: type(e).__name__)
def test_end_of_a_transfer_survives_the_wire(end):
    assert decode_end(encode_end(end), "source") == end


def test_headers_of_a_registry_are_not_printed():
    assert "hunter2" not in repr(WireRegistry(headers={"Authorization": "Basic hunter2"}))


def test_absent_end_is_named():
    with pytest.raises(InvalidArgument, match="the transfer has no destination"):
        decode_end(Any(), "destination")


@pytest.mark.parametrize(
    "url", ["foo.Bar", "containerd.types.transfer.ReadStream", "type.googleapis.com/google.protobuf.Empty", "a/b/c"]
)
def test_type_that_is_no_end_is_named(url):
    with pytest.raises(Unsupported, match=url):
        decode_end(Any(type_url=url), "source")


def test_bytes_that_are_no_message_are_refused():
    wrapped = Any(type_url="containerd.types.transfer.ImageStore", value=b"\xff\xff\xff")
    with pytest.raises(InvalidArgument, match="ImageStore"):
        decode_end(wrapped, "source")


@pytest.mark.parametrize(
    "message",
    [
        imagestore_pb2.ImageStore(name="x" * 5000),
        imagestore_pb2.ImageStore(platforms=[{"os": "linux"}] * 2000),
        imagestore_pb2.ImageStore(labels={"k": "v" * 5000}),
        imagestore_pb2.ImageStore(extra_references=[{"name": "x" * 5000}]),
        registry_pb2.OCIRegistry(resolver={"http_debug": 9}),
    ],
    ids=["name", "platforms", "labels", "references", "debug"],
)
def test_message_beyond_the_limits_is_refused(message):
    with pytest.raises(InvalidArgument, match=r"source (ImageStore|OCIRegistry): "):
        decode_end(codec.pack(message), "source")


@given(
    st.sampled_from(["ImageStore", "OCIRegistry", "ImageImportStream", "ImageExportStream"]), st.binary(max_size=200)
)
def test_arbitrary_bytes_never_crash_the_decoder(name, value):
    try:
        end = decode_end(Any(type_url=f"containerd.types.transfer.{name}", value=value), "source")
    except TranshipError:
        return
    assert decode_end(encode_end(end), "source") == end


# ------------------------------------------------------------------------------------------------------------------ Any


def test_type_urls_are_bare_and_read_with_a_prefix_too():
    wrapped = codec.pack(StreamInit(id="x"))
    assert wrapped.type_url == "containerd.services.streaming.v1.StreamInit"
    wrapped.type_url = "type.googleapis.com/" + wrapped.type_url
    assert codec.unpack(wrapped, StreamInit).id == "x"


def test_other_message_than_wanted_is_named():
    with pytest.raises(InvalidArgument, match=r"expected .*StreamInit, found foo\.Bar"):
        codec.unpack(Any(type_url="foo.Bar"), StreamInit)
    with pytest.raises(InvalidArgument, match="none at all"):
        codec.unpack(Any(), StreamInit)


def test_byte_streams_carry_data_and_updates_and_pass_over_the_rest():
    assert codec.unpack_flow(codec.pack_data(b"hello")) == b"hello"
    assert codec.unpack_flow(codec.pack_window(65536)) == 65536
    assert codec.unpack_flow(codec.pack(StreamInit(id="x"))) is None
    with pytest.raises(
        InvalidArgument, match=r"failed to unmarshal received object: type with url foo\.Bar: not found"
    ):
        codec.unpack_flow(Any(type_url="foo.Bar"))
    assert codec.pack_window(65536).value == bytes.fromhex("08808004")


# --------------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    "stamp",
    [
        Timestamp(),
        Timestamp(seconds=-62135596800),
        Timestamp(seconds=1 << 62),
        Timestamp(seconds=-(1 << 62)),
        Timestamp(seconds=1, nanos=-1),
        Timestamp(seconds=253402300800),
    ],
    ids=["unset", "Go's zero", "far future", "far past", "negative", "year 10000"],
)
def test_time_that_is_none_reads_as_none(stamp):
    assert values.from_timestamp(stamp) is None


@given(st.datetimes(datetime(2, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001  # hypothesis wants naive bounds
def test_times_survive_to_the_microsecond(when):
    assert values.from_timestamp(values.to_timestamp(when)) == when or when.timestamp() == 0


def test_time_of_another_zone_is_the_same_moment():
    when = datetime(2026, 11, 23, 12, tzinfo=timezone(timedelta(hours=2)))
    assert values.to_timestamp(when) == Timestamp(seconds=1795428000)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (descriptor_pb2.Descriptor(), "digest"),
        (descriptor_pb2.Descriptor(digest="sha256:" + "0" * 64), "target.Size must be greater than zero"),
        (descriptor_pb2.Descriptor(digest="sha256:" + "0" * 64, size=-1), "target.Size must be greater than zero"),
        (descriptor_pb2.Descriptor(digest="sha256:" + "0" * 64, size=1), "target.MediaType"),
        (descriptor_pb2.Descriptor(digest="md5:00", size=1, media_type="a/b"), "digest"),
    ],
)
def test_descriptor_that_is_not_sound_is_refused(message, text):
    with pytest.raises(InvalidArgument, match=text):
        values.from_descriptor(message)


# ---------------------------------------------------------------------------------------------------------- credentials


@pytest.mark.parametrize(
    "credential",
    [
        Credential(username="u", password=Secret("p")),
        Credential(identity_token=Secret("refresh")),
        Credential(registry_token=Secret("bearer")),
    ],
    ids=["password", "refresh", "bearer"],
)
def test_credentials_survive_the_wire(credential):
    assert credentials.decode_credential(credentials.encode_credential(credential)) == credential


def test_no_credentials_are_told_in_each_of_the_ways_that_clients_have():
    for answer in (
        credentials.encode_credential(None),
        credentials.encode_credential(Credential(username="u")),
        codec.pack(registry_pb2.AuthResponse(authType=registry_pb2.REFRESH)),  # ctr's
        codec.pack(registry_pb2.AuthResponse()),
    ):
        assert credentials.decode_credential(answer) is None


def test_basic_header_is_user_and_password():
    answer = codec.pack(registry_pb2.AuthResponse(authType=registry_pb2.HEADER, secret="Basic dTpwOnE="))
    assert credentials.decode_credential(answer) == Credential(username="u", password=Secret("p:q"))
    with pytest.raises(InvalidArgument):
        credentials.decode_credential(codec.pack(registry_pb2.AuthResponse(authType=3, secret="Digest zzz")))
    with pytest.raises(InvalidArgument):
        credentials.decode_credential(codec.pack(registry_pb2.AuthResponse(authType=9, secret="x")))


# ------------------------------------------------------------------------------------------------------------- progress


REF = "127.0.0.1:5055/hello:v1"


@pytest.mark.parametrize(
    ("operation", "started", "completed"),
    [
        (
            "pull",
            [f"Resolving from OCI Registry ({REF})", f"Pulling from OCI Registry ({REF})"],
            [f"Completed pull from OCI Registry ({REF})"],
        ),
        ("push", [f"Pushing to OCI Registry ({REF})"], [f"Completed push to OCI Registry ({REF})"]),
        ("import", ["Importing"], ["Completed import"]),
        ("export", ["Exporting"], ["Completed export"]),
        ("tag", [], []),
        ("copy", ["Copying"], ["Completed copy"]),
    ],
)
def test_beginning_and_end_are_told_in_containerds_words(operation, started, completed):
    words = progress.Wording(operation, REF)
    begin = Progress(stage=Stage.STARTED, event="Copying", name="a to b")
    end = Progress(stage=Stage.COMPLETED, event=f"Completed {operation}", name="a to b")
    assert [e.event for e in words(begin)] == started
    assert [e.event for e in words(end)] == completed
    assert all(not e.name for e in (*words(begin), *words(end)))
    for event in (*words(begin), *words(end)):
        decoded = progress.decode(progress.encode(event))
        assert decoded.event == event.event
        if operation != "copy":
            assert decoded.stage in {event.stage, Stage.NOTICE}


def test_failure_is_told_with_its_reason_though_containerd_keeps_it():
    (event,) = progress.Wording("export")(
        Progress(stage=Stage.FAILED, event="Failed export", name="a to b", reason="layer x is missing")
    )
    assert event.event == "Failed export: layer x is missing"
    assert progress.decode(progress.encode(event)).stage is Stage.FAILED


def test_events_of_blobs_go_as_they_are():
    layer = Descriptor(media_type="application/vnd.oci.image.layer.v1.tar", digest=Digest.of(b"x"), size=1)
    event = Progress(
        stage=Stage.BLOB, event="downloading", name=f"layer-{layer.digest}", progress=1, total=1, descriptor=layer
    )
    assert progress.Wording("pull", REF)(event) == (event,)
    assert progress.decode(progress.encode(event)) == event


def test_event_with_a_bad_descriptor_or_escape_codes_is_still_news():
    wrapped = codec.pack(
        progress.progress_pb2.Progress(event="\x1b[2Jsaved", name="x", desc=descriptor_pb2.Descriptor(digest="md5:1"))
    )
    event = progress.decode(wrapped)
    assert event.descriptor is None
    assert "\x1b" not in event.event


@pytest.mark.parametrize("size", [1, 100, 127, 128, 16_383, 16_384, 70_000, 3 << 20])
def test_data_is_encoded_by_hand_as_protobuf_does_it(size):
    data = bytes(size)
    assert codec.encode_data(memoryview(data)) == codec.pack_data(data).SerializeToString()


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_384, 70_000, 3 << 20])
def test_data_is_decoded_by_hand_as_protobuf_does_it(size):
    data = bytes(size)
    wrapped = codec.decode_any(codec.pack_data(data).SerializeToString())
    assert bytes(codec.unpack_flow(wrapped)) == data
    assert codec.Any(type_url=wrapped.type_url, value=wrapped.value) == codec.pack_data(data)


@given(st.binary(max_size=80), st.integers(0, 60), st.binary(max_size=6))
def test_what_is_no_plain_data_is_decoded_by_protobuf(data, at, junk):
    raw = bytearray(codec.pack_data(data).SerializeToString())
    raw[at : at + 1] = junk
    try:
        expected = codec.Any.FromString(bytes(raw))
    except DecodeError:
        with pytest.raises(DecodeError):
            codec.decode_any(bytes(raw))
        return
    found = codec.decode_any(bytes(raw))
    assert found.type_url == expected.type_url
    try:
        flow = codec.unpack_flow(expected)
    except InvalidArgument:
        with pytest.raises(InvalidArgument):
            codec.unpack_flow(found)
        return
    assert flow == codec.unpack_flow(found)
