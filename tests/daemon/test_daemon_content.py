"""The Content service: every rule of containerd's for reading, writing, resuming and committing."""

import threading

import pytest

from tranship._api.services.content.v1 import content_pb2 as c
from tranship._api.services.events.v1 import events_pb2 as e
from tranship._api.services.leases.v1 import leases_pb2 as le
from tranship._api.wellknown import FieldMask
from tranship.containerd import records
from tranship.containerd.channel import Channel
from tranship.containerd.methods import Content, Events, Leases
from tranship.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfRange,
    Unavailable,
)
from tranship.model.digest import Digest
from tranship.store import Store

DATA = b"hello world\n"
DIGEST = Digest.of(DATA)
EMPTY = Digest.of(b"")
ABSENT = Digest.of(b"never stored")
STAT, WRITE, COMMIT = c.STAT, c.WRITE, c.COMMIT


@pytest.fixture(autouse=True)
def leased(channel):
    """Everything that a test writes is held, so that no collection takes it away meanwhile."""
    channel.lease = channel.unary(Leases.CREATE, le.CreateRequest(id="test")).lease.id


def exchange(channel, *messages):
    """Send messages one by one, each after the answer to the one before; the answers."""
    answers = []
    with channel.stream(Content.WRITE) as call:
        for message in messages:
            call.send(c.WriteContentRequest(**message))
            answers.append(next(call))
    return answers


def put(channel, data=DATA, ref="r", **commit):
    return exchange(
        channel,
        {"action": WRITE, "ref": ref, "data": data},
        {"action": COMMIT, "offset": len(data), **commit},
    )[-1]


def read(channel, digest=DIGEST, **request):
    answers = list(channel.server_stream(Content.READ, c.ReadContentRequest(digest=digest, **request)))
    return b"".join(answer.data for answer in answers)


def info(channel, digest=DIGEST):
    return records.from_info(channel.unary(Content.INFO, c.InfoRequest(digest=digest)).info)


def status(channel, ref="r"):
    return records.from_ingest_status(channel.unary(Content.STATUS, c.StatusRequest(ref=ref)).status)


# --------------------------------------------------------------------------------------------------------------- writing


def test_content_is_written_as_go_clients_write_it(channel):
    opened, stat, first, second, committed = exchange(
        channel,
        {"action": WRITE, "ref": "r", "total": 12, "expected": DIGEST},
        {"action": STAT, "ref": "r"},
        {"action": WRITE, "ref": "r", "offset": 0, "data": DATA[:5]},
        {"action": WRITE, "ref": "r", "offset": 5, "data": DATA[5:]},
        {
            "action": COMMIT,
            "ref": "r",
            "offset": 12,
            "total": 12,
            "expected": DIGEST,
            "labels": {"containerd.io/gc.ref.content": ABSENT},
        },
    )
    assert (opened.action, opened.offset, opened.digest) == (WRITE, 0, EMPTY)
    assert (stat.action, stat.offset, stat.total, stat.digest) == (STAT, 0, 12, EMPTY)
    assert stat.started_at.seconds > 1_700_000_000
    assert (first.offset, first.digest) == (5, Digest.of(b"hello"))
    assert (second.offset, second.digest) == (12, DIGEST)
    assert (committed.action, committed.offset, committed.digest) == (COMMIT, 12, DIGEST)
    assert read(channel) == DATA
    assert info(channel).labels == {"containerd.io/gc.ref.content": ABSENT}
    with pytest.raises(NotFound):
        status(channel)


def test_one_message_may_be_the_whole_write(channel):
    (committed,) = exchange(channel, {"action": COMMIT, "ref": "r", "data": DATA, "total": 12, "expected": DIGEST})
    assert (committed.offset, committed.digest) == (12, DIGEST)
    assert read(channel) == DATA


def test_empty_blob_can_be_committed(channel):
    (committed,) = exchange(channel, {"action": COMMIT, "ref": "r"})
    assert committed.digest == EMPTY
    assert read(channel, EMPTY) == b""


def test_sha512_is_an_algorithm_too(channel):
    digest = Digest.of(DATA, "sha512")
    put(channel, expected=digest)
    assert read(channel, digest) == DATA


def test_first_message_must_name_a_ref(channel):
    with pytest.raises(InvalidArgument, match=r"^first message must have a reference: invalid argument$"):
        exchange(channel, {"action": WRITE, "data": DATA})


@pytest.mark.parametrize("message", [{"expected": "md5:00"}, {"total": -1}, {"action": 7, "data": b"x"}])
def test_message_that_makes_no_sense_is_refused(channel, message):
    with pytest.raises(InvalidArgument):
        exchange(channel, {"action": WRITE, "ref": "r", **message})


def test_offset_must_be_where_the_ingest_is(channel):
    with pytest.raises(OutOfRange, match=r"^write @7 must occur at current offset 3: out of range$"):
        exchange(channel, {"ref": "r", "action": WRITE, "data": b"abc"}, {"action": WRITE, "offset": 7, "data": b"d"})
    assert status(channel).offset == 3  # what was written stays


def test_offset_zero_begins_again(channel):
    answers = exchange(
        channel,
        {"ref": "r", "action": WRITE, "data": b"wrong bytes"},
        {"action": WRITE, "offset": 0, "data": DATA},
        {"action": COMMIT, "offset": 12, "expected": DIGEST},
    )
    assert [a.offset for a in answers] == [11, 12, 12]


def test_commit_at_offset_zero_commits_the_empty_blob_as_containerd_does(channel):
    *_, committed = exchange(channel, {"ref": "r", "action": WRITE, "data": DATA}, {"action": COMMIT})
    assert committed.digest == EMPTY


def test_wrong_size_or_digest_is_a_failed_precondition_and_the_ingest_can_be_mended(channel):
    with pytest.raises(FailedPrecondition, match=r'^"r" failed size validation: 12 != 13: failed precondition$'):
        put(channel, total=13)
    with pytest.raises(FailedPrecondition, match=f"^unexpected commit digest {DIGEST}, expected {ABSENT}"):
        exchange(channel, {"ref": "r", "action": COMMIT, "offset": 12, "expected": ABSENT})
    assert status(channel).offset == 12
    (committed,) = exchange(channel, {"ref": "r", "action": COMMIT, "offset": 12, "expected": DIGEST})
    assert committed.digest == DIGEST


def test_expected_content_that_is_there_already_exists(channel):
    put(channel, labels={"first": "1"})
    with pytest.raises(AlreadyExists, match=f"^content {DIGEST}: already exists$"):
        exchange(channel, {"ref": "q", "action": WRITE, "total": 12, "expected": DIGEST})
    with pytest.raises(AlreadyExists, match=f"^blob with expected digest {DIGEST} exists"):
        exchange(channel, {"ref": "q", "action": WRITE, "data": b"x"}, {"action": STAT, "expected": DIGEST})
    with pytest.raises(NotFound):
        status(channel, "q")
    with pytest.raises(AlreadyExists, match=f"^content {DIGEST}: already exists$"):
        put(channel, ref="q", labels={"second": "2"})
    assert info(channel).labels == {"first": "1"}  # labels are set only on creation


def test_expected_digest_may_change_until_the_commit(channel):
    *_, committed = exchange(
        channel,
        {"ref": "r", "action": WRITE, "expected": ABSENT, "data": DATA},
        {"action": COMMIT, "offset": 12, "expected": DIGEST},
    )
    assert committed.digest == DIGEST


def patiently(channel, *requests):
    """Exchange, once the writer before has left: the daemon hears of that a moment later, and Go's clients try again too."""
    for _ in range(200):
        try:
            return exchange(channel, *requests)
        except Unavailable:
            threading.Event().wait(0.02)
    return exchange(channel, *requests)


def test_ingest_is_resumed_where_it_was_left(channel):
    exchange(channel, {"ref": "r", "action": WRITE, "total": 12, "data": DATA[:5]})
    listed = channel.unary(Content.LIST_STATUSES, c.ListStatusesRequest(filters=["ref==r"])).statuses
    assert [(s.ref, s.offset, s.total) for s in listed] == [("r", 5, 12)]
    resumed, *_, committed = patiently(
        channel,
        {"ref": "r", "action": STAT, "total": 12},
        {"action": WRITE, "offset": 5, "data": DATA[5:]},
        {"action": COMMIT, "offset": 12, "expected": DIGEST},
    )
    assert (resumed.offset, resumed.digest) == (5, Digest.of(b"hello"))
    assert committed.digest == DIGEST


def test_ingest_of_another_total_begins_again(channel):
    exchange(channel, {"ref": "r", "action": WRITE, "total": 12, "data": DATA[:5]})
    (answer,) = patiently(channel, {"ref": "r", "action": STAT, "total": 99})
    assert (answer.offset, answer.total) == (0, 99)


def test_ref_in_use_is_unavailable_until_its_writer_leaves(channel):
    with channel.stream(Content.WRITE) as first:
        first.send(c.WriteContentRequest(ref="r", action=WRITE, data=b"abc"))
        next(first)
        with pytest.raises(Unavailable, match=r"ref .*r locked for .* \(since .*\): unavailable$"):
            exchange(channel, {"ref": "r", "action": STAT})
    (answer,) = patiently(channel, {"ref": "r", "action": STAT})
    assert answer.offset == 3


def test_aborted_ingest_is_gone(channel):
    exchange(channel, {"ref": "r", "action": WRITE, "data": b"abc"})
    channel.unary(Content.ABORT, c.AbortRequest(ref="r"))
    with pytest.raises(NotFound, match=r'^could not get status for ref "r": reference r: not found$'):
        status(channel)
    with pytest.raises(NotFound, match=r"^reference r: not found$"):
        channel.unary(Content.ABORT, c.AbortRequest(ref="r"))


def test_write_under_a_lease_that_is_none_is_refused(channel):
    with pytest.raises(NotFound, match=r"^lease does not exist: not found$|lease .*not found"):
        put(channel.with_lease("nobody"))


def test_half_close_without_a_commit_keeps_the_ingest(channel):
    with channel.stream(Content.WRITE) as call:
        call.send(c.WriteContentRequest(ref="r", action=WRITE, data=b"abc"))
        call.half_close()
        assert len(list(call)) == 1
    assert status(channel).offset == 3


def test_content_of_another_namespace_need_not_be_brought_again(daemon, channel):
    put(channel)
    with Channel(daemon.address, namespace="other") as other:
        with pytest.raises(NotFound):
            info(other)
        opened, committed = exchange(
            other,
            {"ref": "r", "action": STAT, "total": 12, "expected": DIGEST},
            {"action": COMMIT, "offset": 12, "total": 12, "expected": DIGEST},
        )
        assert (opened.offset, opened.digest) == (12, DIGEST)
        assert committed.digest == DIGEST
        assert read(other) == DATA


def test_isolated_store_wants_every_byte_again(tmp_path, home):
    from tranship.daemon.server import Daemon

    with (
        Store.open(tmp_path / "isolated", sharing="isolated") as store,
        Daemon(store, home.path / "run/i.sock") as daemon,
        Channel(daemon.address, namespace="a") as a,
        Channel(daemon.address, namespace="b") as b,
    ):
        put(a)
        (opened,) = exchange(b, {"ref": "r", "action": STAT, "total": 12, "expected": DIGEST})
        assert opened.offset == 0


# --------------------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, DATA),
        ({"offset": 6}, DATA[6:]),
        ({"offset": 6, "size": 3}, DATA[6:9]),
        ({"offset": -5, "size": 2}, DATA[:2]),
        ({"size": 1000}, DATA),
        ({"size": -1}, DATA),
        ({"offset": 12}, b""),
    ],
)
def test_ranges_are_read_as_containerd_reads_them(channel, request_, expected):
    put(channel)
    assert read(channel, **request_) == expected


def test_read_past_the_end_is_out_of_range(channel):
    put(channel)
    with pytest.raises(OutOfRange, match=r"^read past object length 12 bytes: out of range$"):
        read(channel, offset=13)


def test_large_blob_comes_in_pieces_whose_offsets_begin_at_zero(channel):
    data = bytes(range(256)) * 10_000  # 2.5 MB
    put(channel, data)
    answers = list(
        channel.server_stream(Content.READ, c.ReadContentRequest(digest=Digest.of(data), offset=100, size=2_000_000))
    )
    assert b"".join(a.data for a in answers) == data[100:2_000_100]
    assert [a.offset for a in answers] == [sum(len(b.data) for b in answers[:n]) for n in range(len(answers))]
    assert all(len(a.data) <= 1 << 20 for a in answers)


@pytest.mark.parametrize(
    "text", ["", "sha256:", "sha256:00", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:" + "G" * 64]
)
def test_digest_that_is_none_is_an_invalid_argument(channel, text):
    for call in (
        lambda: info(channel, text),
        lambda: read(channel, text),
        lambda: channel.unary(Content.DELETE, c.DeleteContentRequest(digest=text)),
        lambda: channel.unary(Content.UPDATE, c.UpdateRequest(info={"digest": text})),
    ):
        with pytest.raises(InvalidArgument, match="invalid checksum digest format"):
            call()


def test_absent_content_is_not_found(channel):
    for call in (
        lambda: info(channel, ABSENT),
        lambda: read(channel, ABSENT),
        lambda: channel.unary(Content.DELETE, c.DeleteContentRequest(digest=ABSENT)),
        lambda: channel.unary(Content.UPDATE, c.UpdateRequest(info={"digest": ABSENT})),
    ):
        with pytest.raises(NotFound, match=f"^content digest {ABSENT}: not found$"):
            call()


# -------------------------------------------------------------------------------------------------- listing and labelling


def test_list_comes_by_digest_in_pages_and_filtered(channel):
    blobs = {Digest.of(bytes([n])): bytes([n]) for n in range(150)}
    for number, data in enumerate(blobs.values()):
        exchange(channel, {"action": COMMIT, "ref": f"r{number}", "data": data, "labels": {"parity": str(number % 2)}})
    pages = list(channel.server_stream(Content.LIST, c.ListContentRequest()))
    assert [len(page.info) for page in pages] == [100, 50]
    assert [m.digest for page in pages for m in page.info] == sorted(blobs)
    some = list(channel.server_stream(Content.LIST, c.ListContentRequest(filters=["labels.parity==1"])))
    assert sum(len(page.info) for page in some) == 75
    with pytest.raises(InvalidArgument, match=r"^filters: parse error: \[size >\|>\|< 1000\]: expected an operator"):
        list(channel.server_stream(Content.LIST, c.ListContentRequest(filters=["size>1000"])))


def test_empty_list_has_no_pages(channel):
    assert list(channel.server_stream(Content.LIST, c.ListContentRequest())) == []


def test_statuses_take_filters_not_expressions(channel):
    with pytest.raises(InvalidArgument, match="filters: parse error"):
        channel.unary(Content.LIST_STATUSES, c.ListStatusesRequest(filters=["^r"]))


def test_labels_change_as_the_mask_says(channel):
    put(channel, labels={"a": "1", "b.c/d": "2"})

    def update(labels, *paths):
        request = c.UpdateRequest(info={"digest": DIGEST, "labels": labels}, update_mask=FieldMask(paths=paths))
        return records.from_info(channel.unary(Content.UPDATE, request).info).labels

    assert update({"b.c/d": "3"}, "labels.b.c/d") == {"a": "1", "b.c/d": "3"}
    assert update({}, "labels.a") == {"b.c/d": "3"}
    assert update({"x": "y"}, "labels") == {"x": "y"}
    assert update({"z": "z", "empty": ""}) == {"z": "z"}
    with pytest.raises(InvalidArgument, match=f'^cannot update "size" field on content info "{DIGEST}"'):
        update({}, "size")
    with pytest.raises(InvalidArgument, match="greater than maximum size"):
        update({"k": "v" * 5000}, "labels.k")


def test_deleted_content_is_gone_for_its_namespace(channel):
    put(channel)
    channel.unary(Content.DELETE, c.DeleteContentRequest(digest=DIGEST))
    with pytest.raises(NotFound):
        info(channel)


def test_content_dies_with_its_lease_and_not_before(store, channel):
    put(channel)
    other = channel.with_lease(None)
    other.unary(Leases.CREATE, le.CreateRequest(id="another"))
    other.unary(Leases.DELETE, le.DeleteRequest(id="another", sync=True))  # a collection
    assert info(channel).size == 12
    other.unary(Leases.DELETE, le.DeleteRequest(id="test", sync=True))
    with pytest.raises(NotFound):
        info(channel)
    assert not store.path_of(DIGEST).exists()


def test_commit_and_delete_are_told_as_events(daemon, channel):
    with channel.server_stream(Events.SUBSCRIBE, e.SubscribeRequest(filters=["topic~=^/content/"])) as events:
        while not daemon.events._subscriptions:
            threading.Event().wait(0.02)
        put(channel)
        channel.unary(Content.DELETE, c.DeleteContentRequest(digest=DIGEST))
        made, gone = next(events), next(events)
    assert (made.topic, made.event.type_url) == ("/content/create", "containerd.events.ContentCreate")
    assert (gone.topic, gone.event.type_url) == ("/content/delete", "containerd.events.ContentDelete")
    assert DIGEST.encode() in made.event.value
