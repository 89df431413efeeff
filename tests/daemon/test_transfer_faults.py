"""Bad requests, clients that vanish in every phase, and what is left of them: nothing."""

import contextlib
import errno
import gc
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from support.transfers import NAMED, Transfers, registry
from support.waiting import eventually
from tranship import Layout, Registry
from tranship._api.services.content.v1 import content_pb2 as c
from tranship._api.services.leases.v1 import leases_pb2 as le
from tranship._api.services.transfer.v1 import transfer_pb2 as pb
from tranship._api.types.transfer import imagestore_pb2, importexport_pb2, registry_pb2
from tranship._api.wellknown import Any, Empty
from tranship.containerd.channel import Channel
from tranship.containerd.codec import pack, pack_data, pack_window
from tranship.containerd.ends import encode_end, transfer_request
from tranship.containerd.methods import Content, Leases, Transfer
from tranship.containerd.streams import ByteReader, ByteWriter
from tranship.containerd.wire import WireExportStream, WireImageStore, WireImportStream
from tranship.daemon import ends
from tranship.daemon.server import Daemon
from tranship.engine.transfer import transfer
from tranship.errors import (
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    RateLimited,
    TranshipError,
    Unsupported,
)
from tranship.formats.stream_window import LARGE_CHUNK
from tranship.model.platform import Platform
from tranship.model.secret import Credential, Secret
from tranship.pump import pump
from tranship.store import Store
from tranship.testing.registry import Basic, RegistryServer


def left_over(lab):
    """What a transfer holds while it runs."""
    transfers = [t for t in threading.enumerate() if t.name.startswith("tranship-")]
    return [*lab.daemon.streams._streams, *lab.space.leases.list(), *transfers, *scratch(lab)]


def scratch(lab):
    return [path for path in (lab.store.root / "run").glob("*/*") if path.is_dir() and any(path.iterdir())]


def nothing_is_left(lab):
    eventually(lambda: not left_over(lab))
    assert lab.names() == []
    assert not lab.held()


# -------------------------------------------------------------------------------------------------------------- requests


STORE, STREAM = encode_end(WireImageStore(name="x")), encode_end(WireImportStream(stream="s"))


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (pb.TransferRequest(), InvalidArgument),
        (pb.TransferRequest(source=STORE), InvalidArgument),
        (pb.TransferRequest(destination=STORE), InvalidArgument),
        (pb.TransferRequest(source=Any(type_url="foo.Bar"), destination=STORE), Unsupported),
        (pb.TransferRequest(source=STORE, destination=pack(Empty())), Unsupported),
        (pb.TransferRequest(source=pack(importexport_pb2.ImageImportStream()), destination=STORE), NotFound),
        (pb.TransferRequest(source=pack(registry_pb2.OCIRegistry()), destination=STORE), InvalidArgument),
        (pb.TransferRequest(source=pack(imagestore_pb2.ImageStore()), destination=STORE), NotFound),
        (pb.TransferRequest(source=STORE, destination=pack(imagestore_pb2.ImageStore())), NotFound),
        (pb.TransferRequest(source=STORE, destination=pack(importexport_pb2.ImageExportStream())), NotFound),
        (pb.TransferRequest(source=STORE, destination=pack(registry_pb2.OCIRegistry())), NotFound),
        (
            pb.TransferRequest(source=Any(type_url=STORE.type_url, value=b"\xff\xff"), destination=STORE),
            InvalidArgument,
        ),
        (pb.TransferRequest(source=STREAM, destination=STORE), NotFound),
        (pb.TransferRequest(source=STORE, destination=STORE, options={"progress_stream": "nope"}), NotFound),
    ],
    ids=str,
)
def test_request_that_lacks_something_is_refused(lab, request_, error):
    with pytest.raises(error):
        lab.channel.unary(Transfer.TRANSFER, request_)
    nothing_is_left(lab)


def test_namespace_must_be_said(lab):
    with Channel(lab.daemon.address, namespace="") as channel, pytest.raises(TranshipError) as caught:
        channel.unary(Transfer.TRANSFER, pb.TransferRequest(source=STORE, destination=STORE))
    assert caught.value.code == "FAILED_PRECONDITION"


def test_streams_are_of_their_namespace_alone(lab):
    with (
        Channel(lab.daemon.address, namespace="other") as channel,
        lab.client.stream() as stream,
        pytest.raises(NotFound),
    ):
        request = transfer_request(WireImportStream(stream=stream.id), WireImageStore(name="x"))
        channel.unary(Transfer.TRANSFER, request)


def test_streams_of_a_refused_request_are_closed(lab):
    with lab.client.stream() as progress, lab.client.stream() as incoming:
        request = transfer_request(WireImportStream(stream=incoming.id), WireExportStream(stream="nope"), progress.id)
        with pytest.raises(NotFound):
            lab.channel.unary(Transfer.TRANSFER, request)
        assert progress.receive() is None
        with pytest.raises(NotFound):  # the stream itself says why
            while incoming.receive() is not None:
                pass
    nothing_is_left(lab)


def test_any_bytes_for_an_end_are_answered(lab):
    chance = random.Random(4)
    kinds = ["ImageStore", "OCIRegistry", "ImageImportStream", "ImageExportStream"]
    whole = [
        encode_end(WireImageStore(name="x", platforms=(Platform("linux", "arm64"),), extra_references=NAMED)).value
    ]
    for number in range(200):
        raw = bytearray(chance.choice([chance.randbytes(chance.randint(0, 60)), whole[0]]))
        if raw:
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        wrapped = Any(type_url=f"containerd.types.transfer.{chance.choice(kinds)}", value=bytes(raw))
        source, destination = (wrapped, STORE) if number % 2 else (STORE, wrapped)
        with pytest.raises(TranshipError) as caught:
            lab.channel.unary(Transfer.TRANSFER, pb.TransferRequest(source=source, destination=destination), timeout=20)
        assert caught.value.code in {"INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "UNAVAILABLE"}
    nothing_is_left(lab)


# --------------------------------------------------------------------------------------------------------------- streams


@pytest.mark.parametrize(
    "message", [Any(type_url="foo.Bar"), Any(), Any(type_url=pack_data(b"").type_url, value=b"\xff")]
)
def test_message_that_is_none_breaks_an_import_off(lab, message):
    with lab.client.stream() as stream:
        stream.send(pack_data(lab.archive("small")[:1000]))
        stream.send(message)
        with pytest.raises(InvalidArgument):
            lab.client.transfer(WireImportStream(stream=stream.id), WireImageStore(extra_references=NAMED))
    nothing_is_left(lab)


def test_message_that_is_too_large_ends_its_stream_alone(lab):
    with lab.client.stream() as stream:
        done = lab.client.start(WireImportStream(stream=stream.id), WireImageStore(extra_references=NAMED))
        stream.send(pack_data(bytes(17 << 20)))
        with pytest.raises((Cancelled, RateLimited)):
            done.result(30)
    nothing_is_left(lab)


@pytest.mark.parametrize("update", [0, -1])
def test_window_update_that_grants_nothing_breaks_an_export_off(lab, update):
    lab.fill("small")
    with lab.client.stream() as stream:
        stream.send(pack_window(update))
        with pytest.raises(InvalidArgument):
            lab.client.transfer(WireImageStore(name="localhost/small:v1"), WireExportStream(stream=stream.id))


def test_an_export_that_the_system_fails_does_not_look_like_one_that_ended(lab, monkeypatch):
    def write(_self, _chunk):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(ends.ByteWriter, "write", write)
    lab.fill("small")
    with lab.client.stream() as stream:
        done = lab.client.start(WireImageStore(name="localhost/small:v1"), WireExportStream(stream=stream.id))
        with pytest.raises(Internal, match="Input/output error"):
            pump(ByteReader(stream), lambda _chunk: None)
        with pytest.raises(Internal, match="Input/output error"):
            done.result(30)


def test_stream_that_another_transfer_reads_is_refused(lab):
    with lab.client.stream() as stream:
        first = lab.client.start(WireImportStream(stream=stream.id), WireImageStore(extra_references=NAMED))
        stream.receive()  # the first window: the daemon is reading
        eventually(lab.daemon.streams.get("lab", stream.id)._reading.locked)
        with pytest.raises(FailedPrecondition, match="read by another transfer"):
            lab.client.transfer(WireImportStream(stream=stream.id), WireImageStore(name="x"))
        with pytest.raises(TranshipError):  # it was closed, as the streams of every transfer are
            first.result(30)
    nothing_is_left(lab)


def test_one_stream_for_everything_is_no_trap(lab):
    """What becomes of it is not said; that it is answered is."""
    lab.fill("small")
    with lab.client.stream() as stream:
        request = transfer_request(WireImportStream(stream=stream.id), WireExportStream(stream=stream.id), stream.id)
        stream.close()
        try:
            lab.channel.unary(Transfer.TRANSFER, request, timeout=20)
        except TranshipError as error:
            assert not isinstance(error, DeadlineExceeded)  # noqa: PT017  # an answer without an error is one too
    eventually(lambda: not left_over(lab))


# ------------------------------------------------------------------------------------------------ clients that go away


@pytest.mark.parametrize("sent", [0, 700, 50_000])
def test_import_whose_client_vanishes_is_cancelled_and_not_taken_for_an_end(lab, sent):
    """containerd takes it for the end of the archive."""
    with lab.client.stream() as stream, lab.client.stream() as progress:
        request = transfer_request(
            WireImportStream(stream=stream.id), WireImageStore(extra_references=NAMED), progress.id
        )
        failed = []

        def run():
            try:
                lab.channel.unary(Transfer.TRANSFER, request)
            except TranshipError as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        stream.receive()  # the first window: the daemon is reading
        if sent:
            stream.send(pack_data(lab.archive("small")[:sent]))
        stream.cancel()
        thread.join(30)
        assert isinstance(failed[0], Cancelled)
        words = lab.client._hear(progress)
        assert words[-1].event.startswith("Cancelled import: ")
    nothing_is_left(lab)


def test_import_that_is_cancelled_waits_for_no_more_bytes(lab):
    with lab.client.stream() as stream:
        request = transfer_request(WireImportStream(stream=stream.id), WireImageStore(extra_references=NAMED))
        with pytest.raises(TranshipError) as caught:
            lab.channel.unary(Transfer.TRANSFER, request, timeout=0.3)
        assert caught.value.code == "DEADLINE_EXCEEDED"
        eventually(lambda: not lab.space.leases.list())
        eventually(lambda: not lab.daemon.streams._streams)
    nothing_is_left(lab)


def test_export_that_nobody_reads_ends_with_its_call(lab):
    lab.fill("large")
    with lab.client.stream() as stream:
        request = transfer_request(WireImageStore(name="localhost/large:v1"), WireExportStream(stream=stream.id))
        with pytest.raises(TranshipError) as caught:
            lab.channel.unary(Transfer.TRANSFER, request, timeout=0.3)
        assert caught.value.code == "DEADLINE_EXCEEDED"
        eventually(lambda: not left_over(lab))


@pytest.mark.parametrize("grants", [0, 1, 2])
def test_export_whose_client_vanishes_is_cancelled(lab, grants):
    lab.fill("large")
    with lab.client.stream() as stream:
        done = lab.client.start(WireImageStore(name="localhost/large:v1"), WireExportStream(stream=stream.id))
        for _ in range(grants):
            stream.send(pack_window(65536))
        if grants:
            stream.receive()
        eventually(lab.space.leases.list)
        stream.cancel()
        with pytest.raises(Cancelled):
            done.result(30)
    eventually(lambda: not left_over(lab))


def test_export_whose_client_stops_reading_is_answered_after_a_while(lab, monkeypatch):
    """It has read up to the end of the tar, and sees no reason to read on."""
    monkeypatch.setattr(ends, "HOLD_BACK", 0.3)
    lab.fill("small")
    with lab.client.stream() as stream:
        done = lab.client.start(WireImageStore(name="localhost/small:v1"), WireExportStream(stream=stream.id))
        stream.send(pack_window(LARGE_CHUNK))
        stream.receive()
        done.result(30)


def test_question_whose_client_vanishes_is_cancelled(lab):
    alice = Credential(username="alice", password=Secret("secret"))
    with RegistryServer(auth=Basic({"alice": "secret"})) as server, lab.client.stream() as stream:
        transfer(
            Layout(lab.images("small")),
            Registry(f"{server.host}/app:1", plain_http=True, credential=alice, environment={}),
        )
        source = registry(server.host, "app:1", auth_stream=stream.id)
        done = lab.client.start(source, WireImageStore(name="x"))
        stream.receive()
        stream.cancel()
        with pytest.raises(Cancelled):
            done.result(30)
    nothing_is_left(lab)


CLIENT = """
import sys, threading
from support.transfers import Transfers, registry
from tranship.containerd.channel import Channel
from tranship.containerd.codec import pack_data, pack_window
from tranship.containerd.wire import *
address, phase, archive, server = sys.argv[1:]
data = open(archive, "rb").read()
def say(): print("here", flush=True); threading.Event().wait()
channel = Channel(address, namespace="lab")
client = Transfers(channel)
with client.stream() as one, client.stream() as two:
    store = WireImageStore(name="x")
    if phase == "streams":
        say()
    elif phase == "import":
        client.start(WireImportStream(stream=one.id), store)
        one.receive(); one.send(pack_data(data[: len(data) // 2])); say()
    elif phase == "export":
        client.start(WireImageStore(name="localhost/large:v1"), WireExportStream(stream=one.id))
        one.send(pack_window(1000)); one.receive(); say()
    elif phase == "question":
        client.start(registry(server, "app:1", auth_stream=one.id), store)
        one.receive(); say()
    elif phase == "echo":
        client.start(WireImportStream(stream=one.id), WireExportStream(stream=two.id))
        two.send(pack_window(1000)); one.receive(); one.send(pack_data(b"x")); two.receive(); say()
"""


@pytest.mark.parametrize("phase", ["streams", "import", "export", "question", "echo"])
def test_client_that_is_killed_leaves_nothing_behind(lab, phase):
    alice = Credential(username="alice", password=Secret("secret"))
    archive = lab.folder / "a.tar"
    archive.write_bytes(lab.archive("large"))
    lab.fill("large")
    with RegistryServer(auth=Basic({"alice": "secret"})) as server:
        transfer(
            Layout(lab.images("small")),
            Registry(f"{server.host}/app:1", plain_http=True, credential=alice, environment={}),
        )
        command = [sys.executable, "-c", CLIENT, lab.daemon.address, phase, str(archive), server.host]
        tests = str(Path(__file__).resolve().parents[1])
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": tests}) as client:
            impatient = threading.Timer(60, client.kill)
            impatient.start()
            assert client.stdout.readline() == b"here\n"
            impatient.cancel()
            assert lab.daemon.streams._streams
            client.send_signal(signal.SIGKILL)
        eventually(lambda: not left_over(lab))
    assert lab.names() == ["localhost/large:v1"]
    lab.client.load(lab.archive("small"))  # and the daemon goes on
    assert lab.names() == ["localhost/large:v1", "localhost/small:v1"]


def test_many_broken_transfers_leave_no_descriptors_or_threads(lab):
    def rounds(count):
        for number in range(count):
            with lab.client.stream() as stream:
                done = lab.client.start(WireImportStream(stream=stream.id), WireImageStore(extra_references=NAMED))
                stream.receive()
                stream.send(pack_data(lab.archive("small")[: number * 997 % 50_000]))
                stream.cancel()
                with pytest.raises(TranshipError):
                    done.result(30)
        eventually(lambda: not left_over(lab))
        gc.collect()

    rounds(5)
    before = len(os.listdir("/proc/self/fd"))
    rounds(40)
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= before + 2)


def test_sixty_four_clients_at_once(lab):
    data = lab.archive("small")
    failures = []

    def work(number):
        try:
            with Channel(lab.daemon.address, namespace="lab") as channel:
                client = Transfers(channel)
                name = f"localhost/n:{number}"
                client.load(data)
                client.transfer(WireImageStore(name="localhost/small:v1"), WireImageStore(name=name))
                assert len(client.export(name)) > 10_000
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert not failures
    assert len(lab.names()) == 65
    eventually(lambda: not left_over(lab))


def test_import_for_which_there_is_no_space_leaves_nothing(home, lab_of, tmp_path):
    with (
        Store.open(tmp_path / "little", durability="process", quota=200_000) as store,
        Daemon(store, home.path / "run/t.sock") as daemon,
        Channel(daemon.address, namespace="lab") as channel,
    ):
        lab = lab_of(daemon, channel, store, tmp_path)
        with pytest.raises(RateLimited) as caught:  # the code's class; a status has no finer one
            lab.client.load(lab.archive("large"))
        assert caught.value.code == "RESOURCE_EXHAUSTED"
        assert lab.client.events[-1].event.startswith("Failed import: ")
        nothing_is_left(lab)
        with channel.stream(Content.WRITE) as call, pytest.raises(RateLimited):
            call.send(c.WriteContentRequest(action=c.WRITE, ref="r", data=bytes(300_000)))
            next(call)
        lab.client.load(lab.archive("small"))
        assert lab.names() == ["localhost/small:v1"]


def test_transfer_whose_lease_is_deleted_meanwhile_stores_nothing(lab):
    lab.channel.unary(Leases.CREATE, le.CreateRequest(id="mine"))
    client = Transfers(lab.channel.with_lease("mine"))
    data = lab.archive("small")
    with lab.client.stream() as stream:  # that lives on
        done = client.start(WireImportStream(stream=stream.id), WireImageStore(extra_references=NAMED))
        writing = ByteWriter(stream)
        writing.write(data[: len(data) // 2])
        writing.flush()
        lab.channel.unary(Leases.DELETE, le.DeleteRequest(id="mine", sync=True))
        with contextlib.suppress(TranshipError):
            writing.write(data[len(data) // 2 :])
            writing.finish()
        with pytest.raises(NotFound, match="lease does not exist"):
            done.result(30)
    nothing_is_left(lab)
