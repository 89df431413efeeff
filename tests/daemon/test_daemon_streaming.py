"""Streams: the handshake, how they live and end, and byte streams between our two ends."""

import contextlib
import io
import queue
import threading

import pytest

from support.waiting import eventually
from tranship._api.services.leases.v1 import leases_pb2 as le
from tranship._api.services.streaming.v1.streaming_pb2 import StreamInit
from tranship._api.wellknown import Any, Empty
from tranship.containerd.channel import Channel
from tranship.containerd.codec import pack, pack_data, pack_window, unpack, unpack_flow
from tranship.containerd.methods import Leases, Streaming
from tranship.containerd.outbox import ROOM, Outbox
from tranship.containerd.streams import ByteReader, ByteWriter, ClientStream
from tranship.daemon import streams
from tranship.daemon.services.streaming import StreamingService
from tranship.daemon.streams import GRANTED, LARGE_WINDOW, MAX_STREAMS, OpenStream, WindowBudget
from tranship.errors import (
    AlreadyExists,
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    RateLimited,
    Truncated,
    Unavailable,
)
from tranship.formats.stream_window import CHUNK, LARGE_CHUNK, WINDOW, Receiver, Sender
from tranship.pump import pump


@pytest.fixture
def opened(daemon, channel):
    """A client's stream and the daemon's side of it."""
    with ClientStream(channel, "s") as client:
        yield client, daemon.streams.get("lab", "s")


# ------------------------------------------------------------------------------------------------------------- handshake


def test_stream_is_known_when_it_is_acknowledged(daemon, channel):
    with channel.stream(Streaming.STREAM) as call:
        call.send(pack(StreamInit(id="x")))
        assert unpack(next(call), Empty) == Empty()
        assert daemon.streams.get("lab", "x").id == "x"


def test_prefixed_type_url_opens_a_stream_too(daemon, channel):
    with channel.stream(Streaming.STREAM) as call:
        call.send(Any(type_url="type.googleapis.com/containerd.services.streaming.v1.StreamInit", value=b"\x0a\x01y"))
        next(call)
        assert daemon.streams.get("lab", "y")


@pytest.mark.parametrize("first", [Any(type_url="foo.Bar"), Any(), pack(Empty()), pack(StreamInit(id="x" * 5000))])
def test_first_message_of_another_kind_is_refused(channel, first):
    with channel.stream(Streaming.STREAM) as call, pytest.raises(InvalidArgument):
        call.send(first)
        next(call)


def test_half_close_before_the_first_message_is_refused(channel):
    with channel.stream(Streaming.STREAM) as call, pytest.raises(InvalidArgument, match="ended before"):
        call.half_close()
        next(call)


def test_silence_in_place_of_the_first_message_is_not_waited_out(monkeypatch, store, home):
    from tranship.daemon import server

    monkeypatch.setattr(server, "StreamingService", lambda streams: StreamingService(streams, 0.1))
    with (
        server.Daemon(store, home.path / "run/q.sock") as daemon,
        Channel(daemon.address) as channel,
        channel.stream(Streaming.STREAM) as call,
        pytest.raises(DeadlineExceeded, match="no first message"),
    ):
        next(call)


def test_id_that_is_taken_already_exists_in_its_namespace_alone(daemon, opened, channel):
    with pytest.raises(AlreadyExists, match=r'^stream "s": already exists$'):
        ClientStream(channel, "s")
    with Channel(daemon.address, namespace="other") as other, ClientStream(other, "s"):
        assert daemon.streams.get("other", "s") is not opened[1]


def test_too_many_streams_are_refused(daemon, channel):
    for number in range(MAX_STREAMS):
        daemon.streams.register(OpenStream("lab", f"n{number}", None, iter(())))
    with pytest.raises(RateLimited, match="256 open streams"):
        ClientStream(channel, "one more")
    daemon.streams._streams.clear()


# ------------------------------------------------------------------------------------------------------------------ ends


def test_stream_that_the_daemon_closes_ends_for_the_client_and_is_forgotten(daemon, opened):
    client, ours = opened
    ours.send(pack(StreamInit(id="news")))
    ours.close()
    assert unpack(client.receive(), StreamInit).id == "news"  # what was sent before the end arrives before it
    assert client.receive() is None
    eventually(lambda: not daemon.streams._streams)
    with pytest.raises(NotFound, match=r'^stream "s": not found$'):
        daemon.streams.get("lab", "s")
    with pytest.raises(Cancelled):
        ours.send(pack(Empty()))


def test_stream_that_the_daemon_closes_with_an_error_says_which(opened):
    client, ours = opened
    ours.close(Truncated("layer x ends early"))
    with pytest.raises(DataLoss, match="layer x ends early"):
        client.receive()


def test_client_that_says_it_has_no_more_can_still_listen(opened):
    client, ours = opened
    client.send(pack_data(b"last words"))
    client.close()
    assert unpack_flow(ours.receive()) == b"last words"
    assert ours.receive() is None
    ours.send(pack_window(1))
    assert unpack_flow(client.receive()) == 1


def test_client_that_vanishes_is_not_taken_for_one_that_has_finished(daemon, opened):
    """containerd reads a vanished client as the end of its archive."""
    client, ours = opened
    client.send(pack_data(b"half of it"))
    assert unpack_flow(ours.receive()) == b"half of it"
    threading.Timer(0.1, client.cancel).start()
    with pytest.raises(Cancelled):
        ours.receive()
    eventually(lambda: not daemon.streams._streams)


def test_vanished_client_is_told_apart_every_time(daemon, channel):
    for number in range(50):
        client = ClientStream(channel, f"v{number}")
        ours = daemon.streams.get("lab", f"v{number}")
        client.send(pack_data(b"x"))
        assert unpack_flow(ours.receive()) == b"x"
        client.cancel()
        with pytest.raises(Cancelled):
            ours.receive()


def test_silent_client_is_not_waited_for_without_end(opened):
    client, ours = opened
    with pytest.raises(DeadlineExceeded, match="did not answer"):
        ours.receive(timeout=0.1)
    with pytest.raises(DeadlineExceeded):
        client.receive()


def test_stream_lives_as_long_as_its_lease(daemon, channel):
    channel.unary(Leases.CREATE, le.CreateRequest(id="l"))
    channel.unary(Leases.CREATE, le.CreateRequest(id="other"))
    leased = channel.with_lease("l")
    with ClientStream(leased, "leased") as client, ClientStream(channel, "unleased"):
        channel.unary(Leases.DELETE, le.DeleteRequest(id="other", sync=True))
        assert daemon.streams.get("lab", "leased")
        channel.unary(Leases.DELETE, le.DeleteRequest(id="l"))  # without sync: soon
        assert client.receive() is None
        assert daemon.streams.get("lab", "unleased")


def test_stream_that_no_transfer_asks_for_makes_room_in_the_end(daemon, channel, monkeypatch):
    with ClientStream(channel, "used") as used, ClientStream(channel, "orphan") as orphan:
        daemon.streams.get("lab", "used")
        monkeypatch.setattr(streams, "UNUSED", 0.0)
        with ClientStream(channel, "next"):
            with pytest.raises(DeadlineExceeded, match="no transfer has named this stream"):
                orphan.receive()
            daemon.streams.get("lab", "used").send(pack(Empty()))
            assert used.receive() == pack(Empty())


def test_daemon_that_stops_says_so_instead_of_streams_that_are_unknown(daemon, channel, opened):
    client, _ = opened
    daemon.streams.close()
    with pytest.raises(Unavailable, match="the daemon is stopping"):
        client.receive()
    eventually(lambda: len(daemon.streams) == 0)
    with pytest.raises(Unavailable, match='stream "s": the daemon is stopping'):
        daemon.streams.get("lab", "s")
    with pytest.raises(Unavailable, match='stream "late": the daemon is stopping'), ClientStream(channel, "late"):
        pass


# --------------------------------------------------------------------------------------------------------- byte streams


def transfer_bytes(reading, writing, data, step=70_001):
    """Write `data` at one end and read it at the other; what arrived."""
    arrived = io.BytesIO()
    failure = []

    def write():
        try:
            for at in range(0, len(data), step):
                writing.write(data[at : at + step])
            writing.finish(pad=False)
        except Exception as error:
            failure.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    pump(reading, arrived.write)
    thread.join(30)
    assert not failure, failure
    return arrived.getvalue()


DATA = bytes(range(256)) * 20_000  # 5 MB


@pytest.mark.parametrize("window", [WINDOW, LARGE_WINDOW])
@pytest.mark.parametrize("sender", [Sender, lambda: Sender(LARGE_CHUNK, overdraft=True)], ids=["exact", "large"])
def test_import_stream_carries_every_byte(opened, window, sender):
    client, ours = opened
    assert transfer_bytes(ByteReader(ours, window), ByteWriter(client, sender()), DATA) == DATA


@pytest.mark.parametrize("sender", [Sender, lambda: Sender(LARGE_CHUNK, overdraft=True)], ids=["exact", "large"])
def test_export_stream_carries_every_byte(opened, sender):
    client, ours = opened
    assert transfer_bytes(ByteReader(client), ByteWriter(ours, sender()), DATA) == DATA


def test_empty_byte_stream_is_empty(opened):
    client, ours = opened
    assert transfer_bytes(ByteReader(ours), ByteWriter(client), b"") == b""


def test_padding_proves_that_the_reader_has_everything(opened):
    client, ours = opened
    arrived, reading = [], ByteReader(client)
    thread = threading.Thread(target=pump, args=(reading, lambda chunk: arrived.append(len(chunk))))
    thread.start()
    writing = ByteWriter(ours)
    writing.write(bytes(1000))
    assert writing.finish(pad=True)
    padded = sum(arrived)  # proven, so it has arrived before `finish` returned
    assert padded >= 1000
    thread.join(20)
    assert sum(arrived) - 1000 <= WINDOW + 512
    assert (sum(arrived) - 1000) % 512 == 0


class Pipe:
    """Go's io.Pipe: a write returns when all of it has been read, which says nothing of what the reader has done with it."""

    def __init__(self):
        self._offered, self._taken = queue.Queue(), queue.Queue()

    def write(self, data):
        for at in range(0, len(data), CHUNK):
            self._offered.put(data[at : at + CHUNK])
            self._taken.get()

    def read(self):
        data = self._offered.get()
        self._taken.put(None)
        return data


@pytest.mark.parametrize("size", [1000, CHUNK, WINDOW, 300_000, 3_000_000])
def test_answer_of_a_writer_means_that_the_reader_has_written_too(opened, size):
    """ctr reads from a pipe and writes to a file; it must not be told that all is done between the two."""
    client, ours = opened
    pipe, written = Pipe(), bytearray()

    def receive():
        receiver = Receiver()
        while True:
            if grant := receiver.grant():
                client.send(pack_window(grant))
            if (message := client.receive()) is None:
                pipe._offered.put(b"")
                return
            data = unpack_flow(message)
            pipe.write(data)
            receiver.received(len(data))

    def copy():
        while data := pipe.read():
            threading.Event().wait(0.01)
            written.extend(data)

    threads = [threading.Thread(target=work, daemon=True) for work in (receive, copy)]
    for thread in threads:
        thread.start()
    data = bytes(range(1, 256)) * (size // 255 + 1)
    writing = ByteWriter(ours, Sender(LARGE_CHUNK, overdraft=True))
    writing.write(data)
    assert writing.finish(pad=True)
    assert written.startswith(data)
    for thread in threads:
        thread.join(20)


def test_writer_notices_a_reader_that_closed_its_side(opened):
    client, ours = opened
    client.close()
    with pytest.raises(Truncated):
        ByteWriter(ours).write(bytes(CHUNK))


def test_reader_passes_over_a_known_message_and_refuses_an_unknown_one(opened):
    client, ours = opened
    client.send(pack(StreamInit(id="not data")))
    client.send(pack_data(b"data"))
    client.send(Any(type_url="foo.Bar"))
    reading, buffer = ByteReader(ours), memoryview(bytearray(10))
    assert reading.readinto(buffer) == 4
    with pytest.raises(InvalidArgument, match=r"foo\.Bar"):
        reading.readinto(buffer)


def test_windows_are_large_until_the_budget_is_spent():
    budget = WindowBudget()
    with budget.window() as first:
        assert first == LARGE_WINDOW
        with budget.window() as second, budget.window() as third, budget.window() as fourth:
            assert 2 * (first + second + third + fourth) <= GRANTED
            assert fourth >= WINDOW
    with budget.window() as again:
        assert again == LARGE_WINDOW


# --------------------------------------------------------------------------------------------------------- what may wait


def test_encoded_messages_wait_for_room_and_no_longer_than_the_stream_lives():
    box, put = Outbox(), []
    for number in range(ROOM):
        assert box.put(b"%d" % number)
    thread = threading.Thread(target=lambda: put.append(box.put(b"late")))
    thread.start()
    thread.join(0.1)
    assert not put
    assert box.put("a message that is small")  # of progress, say: never in the way of a transfer
    taking = iter(box)
    assert next(taking) == b"0"
    thread.join(20)
    assert put == [True]
    thread = threading.Thread(target=lambda: put.append(box.put(b"too late")))
    thread.start()
    box.end()
    thread.join(20)
    assert put == [True, False]
    assert list(taking) == [*(b"%d" % number for number in range(1, ROOM)), "a message that is small", b"late"]


def test_window_of_gigabytes_fills_no_memory(opened):
    """The client grants all that it can say, and takes nothing."""
    client, ours = opened
    client.send(pack_window((1 << 31) - 1))
    sent = []

    def write():
        with contextlib.suppress(Cancelled):
            writing = ByteWriter(ours, Sender(LARGE_CHUNK, overdraft=True))
            for _ in range(400):
                writing.write(bytes(LARGE_CHUNK))
                sent.append(LARGE_CHUNK)

    thread = threading.Thread(target=write)
    thread.start()
    eventually(lambda: ours.backlog == ROOM)
    assert sum(sent) < 20 * LARGE_CHUNK  # the sockets hold some
    client.cancel()
    thread.join(20)
    assert not thread.is_alive()
    assert len(sent) < 400


def test_window_of_gigabytes_buys_no_padding(opened):
    client, ours = opened
    client.send(pack_window((1 << 31) - 1))
    writing = ByteWriter(ours, Sender(LARGE_CHUNK, overdraft=True))
    writing.write(b"archive")
    threading.Timer(0.2, client.send, (pack_window((1 << 31) - 1),)).start()
    writing.finish(pad=True)
    assert unpack_flow(client.receive()) == b"archive"
    assert client.receive() is None
