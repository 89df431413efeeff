"""Our channel against a real containerd: what its services answer, and what its errors become."""

import threading

import pytest

from tranship._api.services.content.v1 import content_pb2 as c
from tranship._api.services.images.v1 import images_pb2 as i
from tranship._api.services.leases.v1 import leases_pb2 as le
from tranship._api.services.namespaces.v1 import namespace_pb2 as n
from tranship._api.services.streaming.v1.streaming_pb2 import StreamInit
from tranship._api.types import descriptor_pb2
from tranship._api.wellknown import Empty, FieldMask
from tranship.containerd import records
from tranship.containerd.channel import Channel
from tranship.containerd.codec import pack, pack_data, pack_window, unpack, unpack_flow
from tranship.containerd.ends import transfer_request
from tranship.containerd.methods import Content, Images, Introspection, Leases, Namespaces, Streaming, Transfer, Version
from tranship.containerd.wire import WireExportStream, WireImportStream
from tranship.errors import (
    AlreadyExists,
    Cancelled,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    Unavailable,
    Unsupported,
)
from tranship.formats.stream_window import Receiver, Sender
from tranship.model.digest import Digest

BLOB = b"some content that nobody else has\n" * 100
DIGEST = Digest.of(BLOB)


@pytest.fixture
def channel(containerd):
    with Channel(containerd.address, namespace="lab") as channel:
        yield channel


def write(channel, data, ref):
    with channel.stream(Content.WRITE) as call:
        call.send(c.WriteContentRequest(action=c.WRITE, ref=ref, total=len(data), expected=Digest.of(data)))
        assert next(call).offset == 0
        call.send(c.WriteContentRequest(action=c.WRITE, ref=ref, offset=0, data=data))
        assert next(call).offset == len(data)
        call.send(
            c.WriteContentRequest(
                action=c.COMMIT, ref=ref, offset=len(data), total=len(data), expected=Digest.of(data), labels={"a": "b"}
            )
        )
        return next(call)


def test_version_and_server_answer(containerd, channel):
    assert channel.unary(Version.VERSION, Empty()).version.startswith("2.")
    assert channel.unary(Introspection.SERVER, Empty()).pid == containerd.pid


def test_namespaces_are_made_labelled_and_removed(channel):
    channel.unary(Namespaces.CREATE, n.CreateNamespaceRequest(namespace={"name": "made", "labels": {"a": "b"}}))
    with pytest.raises(AlreadyExists, match='namespace "made": already exists'):
        channel.unary(Namespaces.CREATE, n.CreateNamespaceRequest(namespace={"name": "made"}))
    channel.unary(
        Namespaces.UPDATE,
        n.UpdateNamespaceRequest(
            namespace={"name": "made", "labels": {"c": "d"}}, update_mask=FieldMask(paths=["labels.c"])
        ),
    )
    listed = [records.from_namespace(m) for m in channel.unary(Namespaces.LIST, n.ListNamespacesRequest()).namespaces]
    assert {"a": "b", "c": "d"} in [namespace.labels for namespace in listed if namespace.name == "made"]
    channel.unary(Namespaces.DELETE, n.DeleteNamespaceRequest(name="made"))
    with pytest.raises(NotFound):
        channel.unary(Namespaces.DELETE, n.DeleteNamespaceRequest(name="made"))
    with pytest.raises(InvalidArgument):
        channel.unary(Namespaces.CREATE, n.CreateNamespaceRequest(namespace={"name": "a..b"}))


def test_content_is_written_described_and_read(channel):
    with channel_lease(channel) as leased:
        assert write(leased, BLOB, "channel-1").digest == DIGEST
        info = records.from_info(channel.unary(Content.INFO, c.InfoRequest(digest=DIGEST)).info)
        assert (info.digest, info.size, info.labels) == (DIGEST, len(BLOB), {"a": "b"})
        chunks = channel.server_stream(Content.READ, c.ReadContentRequest(digest=DIGEST, offset=5, size=100))
        assert b"".join(chunk.data for chunk in chunks) == BLOB[5:105]
        pages = channel.server_stream(Content.LIST, c.ListContentRequest(filters=[f"digest=={DIGEST}"]))
        assert [record.digest for page in pages for record in page.info] == [DIGEST]
        with pytest.raises(AlreadyExists):
            write(leased, BLOB, "channel-2")
        with pytest.raises(OutOfRange):
            list(channel.server_stream(Content.READ, c.ReadContentRequest(digest=DIGEST, offset=1 << 20)))
        channel.unary(Content.DELETE, c.DeleteContentRequest(digest=DIGEST))
    with pytest.raises(NotFound, match=f"content digest {DIGEST}: not found"):
        channel.unary(Content.INFO, c.InfoRequest(digest=DIGEST))


def channel_lease(channel):
    class Leased:
        def __enter__(self):
            self.lease = channel.unary(Leases.CREATE, le.CreateRequest(labels={"a": "b"})).lease.id
            return channel.with_lease(self.lease)

        def __exit__(self, *_):
            channel.unary(Leases.DELETE, le.DeleteRequest(id=self.lease, sync=True))

    return Leased()


def test_commit_of_other_content_than_expected_is_a_failed_precondition(channel):
    with channel.stream(Content.WRITE) as call:
        call.send(c.WriteContentRequest(action=c.WRITE, ref="wrong", data=b"x"))
        next(call)
        call.send(c.WriteContentRequest(action=c.COMMIT, ref="wrong", offset=1, expected=Digest.of(b"never written")))
        with pytest.raises(FailedPrecondition, match="unexpected commit digest"):
            next(call)
    status = channel.unary(Content.STATUS, c.StatusRequest(ref="wrong")).status
    assert records.from_ingest_status(status).offset == 1
    channel.unary(Content.ABORT, c.AbortRequest(ref="wrong"))


def test_images_are_created_and_listed(channel):
    target = descriptor_pb2.Descriptor(
        media_type="application/vnd.oci.image.index.v1+json", digest=Digest.of(b"y"), size=1
    )
    made = channel.unary(Images.CREATE, i.CreateImageRequest(image={"name": "channel:1", "target": target}))
    assert records.from_image(made.image).target.digest == Digest.of(b"y")
    images = channel.unary(Images.LIST, i.ListImagesRequest(filters=["name==channel:1"])).images
    assert [records.from_image(m).name for m in images] == ["channel:1"]
    channel.unary(Images.DELETE, i.DeleteImageRequest(name="channel:1", sync=True))
    with pytest.raises(NotFound, match='image "channel:1": not found'):
        channel.unary(Images.GET, i.GetImageRequest(name="channel:1"))


def test_leases_hold_what_they_are_given(channel):
    lease = records.from_lease(channel.unary(Leases.CREATE, le.CreateRequest(id="held")).lease)
    assert lease.id == "held"
    resource = records.Resource(str(DIGEST))
    channel.unary(Leases.ADD_RESOURCE, le.AddResourceRequest(id="held", resource=records.to_resource(resource)))
    found = channel.unary(Leases.LIST_RESOURCES, le.ListResourcesRequest(id="held")).resources
    assert [records.from_resource(m) for m in found] == [resource]
    channel.unary(Leases.DELETE, le.DeleteRequest(id="held"))


def open_stream(channel, name):
    call = channel.stream(Streaming.STREAM)
    call.send(pack(StreamInit(id=name)))
    unpack(next(call), Empty)
    return call


def test_echo_returns_every_byte_by_the_rules_of_both_windows(channel):
    """An import stream into an export stream is containerd's own self-test of its streaming."""
    data = bytes(range(256)) * 2000
    with open_stream(channel, "in") as outgoing, open_stream(channel, "out") as incoming:
        result = []
        transfer = threading.Thread(
            target=lambda: result.append(
                channel.unary(
                    Transfer.TRANSFER, transfer_request(WireImportStream(stream="in"), WireExportStream(stream="out"))
                )
            )
        )
        transfer.start()
        received = bytearray()
        receiver = Receiver()

        def receive():
            while True:
                if grant := receiver.grant():
                    incoming.send(pack_window(grant))
                message = next(incoming, None)
                if message is None:
                    return
                received.extend(unpack_flow(message))
                receiver.received(len(unpack_flow(message)))

        reading = threading.Thread(target=receive)
        reading.start()
        sender = Sender()
        sender.feed(data)
        sender.flush()
        while True:
            while (chunk := sender.next()) is not None:
                outgoing.send(pack_data(chunk))
            if not sender.starved:
                break
            sender.credited(unpack_flow(next(outgoing)))
        while not sender.settled and not sender.owed:
            sender.credited(unpack_flow(next(outgoing)))
        outgoing.half_close()
        transfer.join(20)
        reading.join(20)
        assert received == data
        assert result == [Empty()]


def test_transfer_of_a_missing_stream_is_not_found(channel):
    with pytest.raises(NotFound):
        channel.unary(Transfer.TRANSFER, transfer_request(WireImportStream(stream="no"), WireExportStream(stream="no")))


def test_transfer_between_ends_that_containerd_does_not_join_is_unsupported(channel):
    with open_stream(channel, "x"), pytest.raises(Unsupported):
        channel.unary(Transfer.TRANSFER, transfer_request(WireExportStream(stream="x"), WireExportStream(stream="x")))


def test_cancelled_call_ends_its_iteration(channel):
    call = open_stream(channel, "cancelled")
    threading.Timer(0.1, call.cancel).start()
    with pytest.raises(Cancelled):
        next(call)


# --------------------------------------------------------------------------------------------------- without a containerd


def test_absent_socket_is_named(tmp_path):
    with Channel(tmp_path / "no.sock") as channel, pytest.raises(Unavailable, match=str(tmp_path)):
        channel.unary(Version.VERSION, Empty())


def test_file_that_is_no_socket_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with Channel(tmp_path / "file") as channel, pytest.raises((Unavailable, PermissionDenied), match="not a socket"):
        channel.unary(Version.VERSION, Empty())
