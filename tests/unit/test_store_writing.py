"""Blobs come into the store by several ways, and by none of them unless they are whole."""

import contextlib
import io
import os
import threading

import pytest

from tranship import pump
from tranship.errors import Aborted, AlreadyExists, CommitMismatch, DataLoss, InvalidArgument, NoSpace, NotFound
from tranship.failpoints import arm
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.store import Image, Resource, Store
from tranship.store.database import Database

DATA = os.urandom(3_000_000)
DIGEST = Digest.of(DATA)


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "store") as store:
        yield store
        assert store.fsck(deep=True).ok
        left = [name for name in os.listdir(store._core.process.folder) if name != "alive"]
        assert left == [], "something was left in the process' folder"


@pytest.fixture
def content(store):
    return store.namespace("default").content


@contextlib.contextmanager
def failing(setting):
    arm(setting)
    try:
        yield
    finally:
        arm("")


def read(content, digest=DIGEST):
    return b"".join(content.read(digest))


# ------------------------------------------------------------------------------------------------------ in one go


def test_put_takes_bytes_and_readers_of_every_algorithm(content):
    for algorithm in ("sha256", "sha512"):
        digest = Digest.of(DATA, algorithm)
        assert content.put(io.BytesIO(DATA), digest, len(DATA)) is True
        assert content.put(DATA, digest, len(DATA)) is False
        assert read(content, digest) == DATA


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d + b"x", lambda d: b"x" + d[1:]])
@pytest.mark.parametrize("source", [bytes, io.BytesIO], ids=["bytes", "reader"])
def test_put_refuses_other_bytes(content, change, source):
    with pytest.raises(CommitMismatch):
        content.put(source(change(DATA)), DIGEST, len(DATA))
    assert not content.has(DIGEST)


def test_a_reader_that_fails_leaves_nothing(store, content):
    class Broken(io.RawIOBase):
        def readinto(self, _buffer):
            raise DataLoss("the wire was cut")

    with pytest.raises(DataLoss, match="the wire was cut"):
        content.put(Broken(), DIGEST, len(DATA))
    assert list((store.root / "blobs" / "sha256").iterdir()) == []


def test_labels_of_a_second_put_are_added(content):
    content.put(DATA, DIGEST, len(DATA), labels={"a": "1", "b": "2"})
    content.put(DATA, DIGEST, len(DATA), labels={"b": "3", "c": "4"})
    assert content.info(DIGEST).labels == {"a": "1", "b": "3", "c": "4"}


def test_a_draft_is_filled_from_threads_and_trusts_the_callers_digest(content):
    with content.draft(DIGEST, len(DATA)) as draft:
        half = len(DATA) // 2
        parts = [threading.Thread(target=os.pwrite, args=(draft.fd, DATA[at : at + half], at)) for at in (0, half)]
        for part in parts:
            part.start()
        for part in parts:
            part.join()
        assert draft.commit(DIGEST) is True
    assert read(content) == DATA


def test_a_draft_without_a_digest_is_read_again(content):
    with content.draft(DIGEST, len(DATA)) as draft:
        os.pwrite(draft.fd, b"x" + DATA[1:], 0)
        with pytest.raises(CommitMismatch, match="unexpected commit digest"):
            draft.commit()
        os.pwrite(draft.fd, DATA + b"cloned in whole blocks", 0)
        assert draft.commit() is True
    assert read(content) == DATA


def test_a_draft_that_is_left_vanishes(store, content):
    with content.draft(DIGEST, len(DATA)) as draft:
        os.pwrite(draft.fd, DATA[:10], 0)
        with pytest.raises(CommitMismatch, match="should have 3000000 bytes, 10 were written"):
            draft.commit(DIGEST)
    assert list((store.root / "blobs" / "sha256").iterdir()) == []


def test_a_file_is_moved_in(store, content):
    path = store.scratch() / "part"
    path.write_bytes(DATA)
    inode = path.stat().st_ino
    assert content.adopt_file(path, DIGEST, len(DATA), labels={"a": "1"}) is True
    assert not path.exists()
    assert store.path_of(DIGEST).stat().st_ino == inode
    assert read(content) == DATA
    path.write_bytes(DATA)
    assert content.adopt_file(path, DIGEST, len(DATA)) is False
    assert not path.exists()
    path.parent.rmdir()


def test_files_that_others_can_change_are_not_moved_in(store, content, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(DATA)
    os.link(path, tmp_path / "second name")
    (tmp_path / "link").symlink_to(path)
    for bad in (path, tmp_path / "link"):
        with pytest.raises(InvalidArgument, match="not a regular file of its own"):
            content.adopt_file(bad, DIGEST, len(DATA))
    os.unlink(tmp_path / "second name")
    with pytest.raises(CommitMismatch):
        content.adopt_file(path, DIGEST, 5)
    assert path.exists()


def vouch(content, data=DATA):
    digest = Digest.of(data)
    with content.draft(digest, len(data)) as draft:
        os.pwrite(draft.fd, data, 0)
        draft.commit(vouched=True)
    assert content.vouched([digest]) == {digest}


@pytest.mark.parametrize("way", ["put", "writer"])
def test_a_failed_commit_over_a_vouched_blob_leaves_the_blob(content, way):
    vouch(content)
    with pytest.raises(NotFound, match="lease does not exist"):
        if way == "put":
            content.put(DATA, DIGEST, len(DATA), lease="nope")
        else:
            with content.writer("verified") as writer:
                writer.write(DATA)
                writer.commit(len(DATA), DIGEST, lease="nope")
    assert content.has(DIGEST)
    assert read(content) == DATA
    if way == "writer":
        with content.writer("verified") as writer:
            assert writer.offset == 0, "its bytes are the blob's"
            writer.write(b"abc")
            writer.commit()
        assert read(content) == DATA


def test_vouched_bytes_in_the_place_of_a_lost_file_are_not_taken_for_verified(store, content):
    content.put(DATA, DIGEST, len(DATA))
    store.verify([DIGEST])
    assert content.info(DIGEST).verified_at is not None
    store.path_of(DIGEST).unlink()
    vouch(content)
    assert content.info(DIGEST).verified_at is None


# ------------------------------------------------------------------------------------------------------- ingests


def test_ranges_from_threads_count_only_without_a_gap(content):
    third = len(DATA) // 3
    with content.writer("ranges", total=len(DATA)) as writer:
        writer.write_at(DATA[2 * third :], 2 * third)
        assert writer.offset == 0
        writer.write_at(DATA[:third], 0)
        assert writer.offset == third
    with content.writer("ranges", total=len(DATA)) as writer:
        assert writer.offset == third
        os.pwrite(writer.fd, DATA[third : 2 * third], third)
        writer.wrote(third, third)
        assert content.status("ranges").offset == 2 * third
        writer.write_at(DATA[2 * third :], 2 * third)
        assert writer.commit(len(DATA), DIGEST) == DIGEST
    assert read(content) == DATA


def test_many_threads_fill_one_ingest(content):
    step = 1000
    with content.writer("threads", total=len(DATA)) as writer:

        def fill(first):
            for at in range(first * step, len(DATA), 4 * step):
                writer.write_at(DATA[at : at + step], at)

        threads = [threading.Thread(target=fill, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writer.commit(len(DATA), DIGEST)
    assert read(content) == DATA


def test_the_callers_digest_saves_a_second_reading(content):
    with content.writer("hashed", expected=DIGEST) as writer:
        hasher = DIGEST.hasher()
        source = content_fd(DATA)
        pump.copy_range(source, 0, len(DATA), writer.fd, 0, hasher=hasher)
        os.close(source)
        writer.wrote(0, len(DATA))
        writer.commit(len(DATA), actual=Digest.from_hash("sha256", hasher))
    assert read(content) == DATA
    with content.writer("wrong") as writer:
        writer.write(b"abc")
        with pytest.raises(CommitMismatch):
            writer.commit(3, Digest.of(b"abc"), actual=DIGEST)


def test_the_second_reading_is_told_of_and_may_be_stopped(content):
    seen = []

    def stop_late(count):
        seen.append(count)
        if sum(seen) > len(DATA) // 2:
            raise Aborted("enough")

    with content.writer("told") as writer:
        writer.write_at(DATA, 0)
        with pytest.raises(Aborted, match="enough"):
            writer.commit(len(DATA), DIGEST, advance=stop_late)
    with content.writer("told") as writer:
        assert writer.offset == len(DATA)
        seen.clear()
        writer.commit(len(DATA), DIGEST, advance=seen.append)
    assert sum(seen) == len(DATA)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_mismatch_carries_the_digest_that_was_found(content, algorithm):
    with content.writer("wrong") as writer:
        writer.write(b"abc")
        with pytest.raises(CommitMismatch) as caught:
            writer.commit(3, Digest.of(b"abd", algorithm))
    assert caught.value.actual == Digest.of(b"abc", algorithm)
    with pytest.raises(CommitMismatch) as caught:
        content.put(b"abc", Digest.of(b"abd", algorithm), 3)
    assert caught.value.actual == Digest.of(b"abc", algorithm)


def content_fd(data):
    fd = os.memfd_create("data") if hasattr(os, "memfd_create") else os.open("/dev/null", os.O_RDWR)
    os.write(fd, data)
    return fd


def test_sha512_is_expected_at_the_commit_alone(content):
    digest = Digest.of(b"abc", "sha512")
    with content.writer("late") as writer:
        writer.write(b"abc")
        assert writer.commit(3, digest) == digest
    assert read(content, digest) == b"abc"


def test_a_lease_may_come_with_the_commit(store, content):
    leases = store.namespace("default").leases
    leases.create("l")
    with content.writer("unleased") as writer:
        writer.write(DATA)
        assert leases.list_resources("l") == ()
        writer.commit(len(DATA), DIGEST, lease="l")
    assert leases.list_resources("l") == (Resource(DIGEST),)


def test_a_writer_whose_ingest_was_aborted_cannot_commit(store, content):
    with content.writer("gone") as writer:
        writer.write(DATA)
        content.abort("gone")
        with content.writer("gone") as second:
            second.write(b"quite different bytes")
            with pytest.raises(NotFound, match="reference gone: not found"):
                writer.commit(len(DATA), DIGEST)
            second.commit()
    assert [info.digest for info in content.walk()] == [Digest.of(b"quite different bytes")]
    assert list((store.root / "ingest").iterdir()) == []


@pytest.mark.parametrize("point", ["place.recorded", "database.commit"])
def test_a_failed_commit_keeps_the_ingest(store, content, point):
    with content.writer("kept") as writer:
        writer.write(DATA)
        with failing(f"{point}:1:error"), pytest.raises(OSError, match="failpoint"):
            writer.commit(len(DATA), DIGEST)
    assert not content.has(DIGEST)
    assert not store.path_of(DIGEST).exists()
    with content.writer("kept") as writer:
        assert writer.offset == len(DATA)
        writer.commit(len(DATA), DIGEST)
    assert read(content) == DATA


def test_a_failed_commit_leaves_no_file_under_a_digest(store, content):
    with failing("database.commit:1:error"), pytest.raises(OSError, match="failpoint"):
        content.put(DATA, DIGEST, len(DATA))
    assert not store.path_of(DIGEST).exists()
    with pytest.raises(OSError, match="failpoint"), store.batch() as batch, failing("database.commit:1:error"):
        batch.namespace("default").content.put(DATA, DIGEST, len(DATA))
        batch.flush()
    assert not store.path_of(DIGEST).exists()


def test_what_another_process_records_after_a_failed_commit_stays(store, content, monkeypatch):
    write, calls = Database.write, []

    def waiting(self, **options):
        calls.append(self)
        if len(calls) == 2:  # the first one has failed, and has let go of the lock
            with Store.open(store.root) as other:
                other.namespace("other").content.put(DATA, DIGEST, len(DATA))
        return write(self, **options)

    monkeypatch.setattr(Database, "write", waiting)
    with failing("database.commit:1:error"), pytest.raises(OSError, match="failpoint"):
        content.put(DATA, DIGEST, len(DATA))
    assert len(calls) > 2
    assert read(store.namespace("other").content) == DATA


def test_a_vouched_file_does_not_stay_under_a_verified_record_when_the_commit_fails(store, content):
    content.put(DATA, DIGEST, len(DATA))
    store.path_of(DIGEST).unlink()
    with content.draft(DIGEST, len(DATA)) as draft:
        os.pwrite(draft.fd, DATA, 0)
        with failing("database.commit:1:error"), pytest.raises(OSError, match="failpoint"):
            draft.commit(vouched=True)
    assert not store.path_of(DIGEST).exists()
    content.put(DATA, DIGEST, len(DATA))


@pytest.mark.parametrize("how", ["commit", "close"])
def test_what_the_disk_refused_is_not_resumed(content, how):
    with content.writer("lost") as writer:
        writer.write(DATA)
        with failing("sync.file:1:error"):
            if how == "commit":
                with pytest.raises(OSError, match="failpoint"):
                    writer.commit(len(DATA), DIGEST)
            else:
                writer.close()
    assert content.status("lost").offset == 0
    assert not content.has(DIGEST)


def test_two_writers_of_one_blob_both_come_to_an_end(content):
    with content.writer("a", expected=DIGEST) as a, content.writer("b", expected=DIGEST) as b:
        a.write(DATA)
        b.write(DATA)
        a.commit(len(DATA), DIGEST)
        with pytest.raises(AlreadyExists):
            b.commit(len(DATA), DIGEST)
    assert content.statuses() == []


def test_a_ghost_whose_blob_was_put_aside_must_be_written(store, content):
    content.put(DATA, DIGEST, len(DATA))
    other = store.namespace("other").content
    with other.writer("ghost", expected=DIGEST) as writer:
        path = store.path_of(DIGEST)
        path.chmod(0o600)
        path.write_bytes(b"damaged")
        assert store.verify([DIGEST]).corrupt == (DIGEST,)
        with pytest.raises(Aborted, match="must be written"):
            writer.commit(len(DATA), DIGEST)
    with other.writer("ghost", expected=DIGEST) as writer:
        writer.write(DATA)
        writer.commit(len(DATA), DIGEST)
    assert read(other) == DATA


def test_isolated_content_must_be_brought_unless_its_owner_shares(tmp_path):
    with Store.open(tmp_path / "isolated", sharing="isolated") as store:
        one, two = store.namespace("one"), store.namespace("two")
        one.content.put(DATA, DIGEST, len(DATA))
        assert not two.content.ensure(DIGEST)
        with two.content.writer("w", expected=DIGEST) as writer:
            assert writer.offset == 0
        assert two.content.put(DATA, DIGEST, len(DATA)) is True
        two.content.delete(DIGEST)
        store.namespaces.update("one", {"containerd.io/namespace.shareable": "true"}, None)
        assert two.content.ensure(DIGEST)
        assert read(two.content) == DATA


# --------------------------------------------------------------------------------------------------------- batches


def small(n):
    return b"blob %d" % n


def test_a_batch_shows_its_content_to_itself_at_once_and_to_others_when_placed(store, content):
    with store.batch() as batch:
        space = batch.namespace("default")
        for n in range(50):
            space.content.put(small(n), Digest.of(small(n)), len(small(n)))
        digest = Digest.of(small(7))
        assert space.content.has(digest)
        assert read(space.content, digest) == small(7)
        assert space.content.read_bytes(digest, 100) == small(7)
        assert not content.has(digest)
        assert space.content.info(digest).size == len(small(7))  # asks the database, so places them
        assert content.has(digest)
    assert len(list(content.walk())) == 50


def test_an_image_is_never_recorded_before_its_content(store, content):
    with store.batch() as batch:
        space = batch.namespace("default")
        space.content.put(DATA, DIGEST, len(DATA))
        space.images.put(Image("i", Descriptor(media_type="x", digest=DIGEST, size=len(DATA))))
        assert content.has(DIGEST)
        assert store.namespace("default").images.get("i").target.digest == DIGEST


def test_a_batch_is_used_from_many_threads(store, content):
    with store.batch() as batch:
        space = batch.namespace("default")

        def work(first):
            for n in range(first, 1500, 4):
                space.content.put(small(n), Digest.of(small(n)), len(small(n)), labels={"n": str(n)})
                assert read(space.content, Digest.of(small(n))) == small(n)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(list(content.walk())) == 1500


def test_what_was_whole_is_kept_when_a_batch_ends_with_an_error(store, content):
    with pytest.raises(RuntimeError), store.batch() as batch:
        batch.namespace("default").content.put(DATA, DIGEST, len(DATA))
        raise RuntimeError
    assert read(content) == DATA


def test_a_batch_that_could_not_place_says_why_ever_after(store, content):
    with pytest.raises(OSError, match="failpoint"), store.batch() as batch:
        space = batch.namespace("default")
        space.content.put(DATA, DIGEST, len(DATA))
        with failing("place.recorded:1:error"), pytest.raises(OSError, match="failpoint"):
            space.images.list()
        with pytest.raises(OSError, match="failpoint"):
            space.content.put(DATA, DIGEST, len(DATA))
    assert not content.has(DIGEST)
    assert content.put(DATA, DIGEST, len(DATA)) is True


@pytest.mark.parametrize("where", ["within", "at the end"])
def test_a_full_disk_is_told_of_and_leaves_no_lease(store, monkeypatch, where):
    batch = store.batch()
    space = batch.namespace("default")

    def place(_core, _group, **_options):
        space.content.put(b"meanwhile", Digest.of(b"meanwhile"), 9, lease=lease.id)  # as another thread may
        raise NoSpace("the disk is full")

    monkeypatch.setattr("tranship.store.batch.place", place)
    with pytest.raises(NoSpace, match="the disk is full"), batch, space.leases.holding() as lease:
        space.content.put(DATA, DIGEST, len(DATA), lease=lease.id)
        if where == "within":
            space.images.list()
    assert store.namespace("default").leases.list() == []


def test_what_a_failed_transfer_has_brought_is_kept_though_its_lease_ends(store, content):
    with pytest.raises(RuntimeError), store.batch() as batch:
        space = batch.namespace("default")
        with space.leases.holding() as lease:
            space.content.put(DATA, DIGEST, len(DATA), lease=lease.id)
            raise RuntimeError
    assert read(content) == DATA
    assert store.namespace("default").leases.list() == []


def test_nothing_is_put_in_a_batch_that_has_ended(store, content):
    with store.batch() as batch:
        space = batch.namespace("default")
    with pytest.raises(Aborted, match="it has ended"):
        space.content.put(DATA, DIGEST, len(DATA))
    assert not content.has(DIGEST)


def test_a_blob_that_cannot_be_synced_leaves_nothing_in_the_batch(store, content, monkeypatch):
    monkeypatch.setattr("tranship.store.batch.SYNC_AT_ONCE", 1000)
    with store.batch() as batch:
        with failing("sync.file:1:error"), pytest.raises(OSError, match="failpoint"):
            batch.namespace("default").content.put(DATA, DIGEST, len(DATA))
        batch.namespace("default").content.put(b"small", Digest.of(b"small"), 5)
    assert [info.digest for info in content.walk()] == [Digest.of(b"small")]


def test_content_in_a_batch_is_held_by_its_lease_when_others_see_it(store):
    with store.batch() as batch:
        space = batch.namespace("default")
        with space.leases.holding() as lease:
            space.content.put(small(1), Digest.of(small(1)), 6, lease=lease.id)
            assert space.leases.list_resources(lease.id) == (Resource(Digest.of(small(1))),)
            store.gc()
            assert space.content.has(Digest.of(small(1)))
        store.gc()
        assert not space.content.has(Digest.of(small(1)))


def test_one_blob_put_twice_in_a_batch_keeps_all_labels_and_leases(store, content):
    leases = store.namespace("default").leases
    leases.create("one")
    leases.create("two")
    with store.batch() as batch:
        space = batch.namespace("default")
        for lease, label in (("one", "a"), ("one", "b"), ("two", "c")):
            space.content.put(DATA, DIGEST, len(DATA), lease=lease, labels={label: "1"})
    assert content.info(DIGEST).labels == {"a": "1", "b": "1", "c": "1"}
    assert [len(leases.list_resources(lease)) for lease in ("one", "two")] == [1, 1]


# ---------------------------------------------------------------------------------------------------------- present


def test_ensure_looks_and_holds_at_once(store, content):
    space = store.namespace("default")
    space.leases.create("l")
    assert content.ensure(DIGEST, lease="l") is False
    content.put(DATA, DIGEST, len(DATA))
    assert content.ensure(DIGEST, lease="l", labels={"a": "1"}) is True
    assert content.info(DIGEST).labels == {"a": "1"}
    assert space.leases.list_resources("l") == (Resource(DIGEST),)
    with pytest.raises(NotFound, match="lease does not exist"):
        content.ensure(DIGEST, lease="absent")


def test_ensure_takes_content_from_another_namespace(store, content):
    content.put(DATA, DIGEST, len(DATA))
    other = store.namespace("other").content
    wanted = {DIGEST: {"a": "1"}, Digest.of(b"absent"): {}}
    assert other.ensure_all(wanted) == {DIGEST}
    assert other.info(DIGEST).labels == {"a": "1"}


def test_a_blob_whose_file_is_gone_is_not_present_and_can_be_written_again(store, content):
    content.put(DATA, DIGEST, len(DATA))
    store.path_of(DIGEST).unlink()
    with pytest.raises(DataLoss, match="its file is missing"):
        content.open(DIGEST)
    assert content.ensure(DIGEST) is False
    assert content.put(DATA, DIGEST, len(DATA)) is False
    assert read(content) == DATA


def test_a_file_without_a_record_is_replaced(store, content):
    store.path_of(DIGEST).write_bytes(b"left by a crash, and not even right")
    assert not content.has(DIGEST)
    with pytest.raises(NotFound):
        content.open(DIGEST)
    content.put(DATA, DIGEST, len(DATA))
    assert read(content) == DATA


# ------------------------------------------------------------------------------------------------------------- space


def test_a_quota_is_checked_up_front_while_writing_and_at_the_commit(tmp_path):
    with Store.open(tmp_path / "s", quota=4_000_000) as store:
        content = store.namespace("default").content
        store.reserve(4_000_000)
        with pytest.raises(NoSpace, match="quota of 4000000 bytes has 4000000 bytes left") as caught:
            store.reserve(4_000_001)
        assert (caught.value.needed, caught.value.free) == (4_000_001, 4_000_000)
        content.put(DATA, DIGEST, len(DATA))
        with pytest.raises(NoSpace):
            store.reserve(1_500_000)
        other = os.urandom(1_500_000)
        for attempt in (
            lambda: content.put(other, Digest.of(other), len(other)),
            lambda: content.writer("announced", total=len(other)),
            lambda: write_in_pieces(content, other),
        ):
            for _ in range(2):
                with pytest.raises(NoSpace):
                    attempt()
        content.delete(DIGEST)
        store.gc()
        content.abort("pieces")
        content.put(other, Digest.of(other), len(other))


def write_in_pieces(content, data):
    with content.writer("pieces") as writer:
        for at in range(0, len(data), 100_000):
            writer.write(data[at : at + 100_000])


def test_two_drafts_together_are_held_to_the_quota(tmp_path):
    with Store.open(tmp_path / "s", quota=5_000_000) as store:
        content = store.namespace("default").content
        with content.draft(DIGEST, len(DATA)), pytest.raises(NoSpace):
            content.draft(Digest.of(b"other"), len(DATA))
        with content.draft(Digest.of(b"other"), len(DATA)):
            pass


def test_what_the_disk_cannot_hold_is_refused_up_front(store):
    with pytest.raises(NoSpace, match="the disk has"):
        store.reserve(1 << 60)
