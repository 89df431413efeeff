"""Collection removes what nobody refers to, and nothing else; the store can be counted, checked and mended."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from tranship.errors import FailedPrecondition, NotFound
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.model.mediatypes import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from tranship.store import Image, Resource, Store, gc
from tranship.store.mark import Records, mark
from tranship.store.values import microseconds

NEVER = timedelta(days=-1)  # an age that every file has reached


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "store") as store:
        yield store


def add(store, data, namespace="default", **options):
    digest = Digest.of(data)
    store.namespace(namespace).content.put(data, digest, len(data), **options)
    return digest


def manifest_of(*blobs):
    """A real manifest whose first blob is the config."""
    config, *layers = (Descriptor(media_type=OCI_LAYER, digest=Digest.of(b), size=len(b)).to_json() for b in blobs)
    config["mediaType"] = OCI_CONFIG
    import json

    value = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
    return json.dumps(value).encode()


def image(store, name, raw, namespace="default", **labels):
    target = Descriptor(media_type=OCI_MANIFEST, digest=Digest.of(raw), size=len(raw))
    return store.namespace(namespace).images.put(Image(name, target, labels))


def files_of(store):
    return {f"sha256:{name}" for name in os.listdir(store.root / "blobs" / "sha256")}


# ------------------------------------------------------------------------------------------------------- collection


def test_a_collection_reports_what_it_did(store):
    lost, kept = add(store, b"lost"), add(store, b"kept", labels={"containerd.io/gc.root": "1"})
    leases = store.namespace("default").leases
    leases.create("old", expires=timedelta(seconds=-1))
    image(store, "expired", b"elsewhere", **{"containerd.io/gc.expire": "2001-01-01T00:00:00Z"})
    report = store.gc()
    assert (report.removed, report.bytes, report.kept) == ((lost,), 4, 1)
    assert (report.images, report.leases, report.ingests) == ((("default", "expired"),), 1, 0)
    assert files_of(store) == {kept}
    assert store.gc().removed == ()


def test_many_blobs_are_swept(store):
    with store.batch() as batch:
        for n in range(300):
            data = b"%d" % n
            batch.namespace("default").content.put(data, Digest.of(data), len(data))
    assert len(store.gc().removed) == 300
    assert files_of(store) == set()


def test_a_file_stays_while_one_namespace_records_it(store):
    digest = add(store, b"shared")
    add(store, b"shared", "other", labels={"containerd.io/gc.root": "1"})
    assert store.gc().removed == ()
    assert not store.namespace("default").content.has(digest)
    assert store.namespace("other").content.has(digest)


def test_an_open_blob_is_read_to_its_end_though_it_is_collected(store):
    digest = add(store, b"x" * 3_000_000)
    pieces = store.namespace("default").content.read(digest)
    first = next(pieces)
    assert store.gc().removed == (digest,)
    assert len(first) + sum(map(len, pieces)) == 3_000_000
    with pytest.raises(NotFound):
        store.namespace("default").content.open(digest)


def test_a_condemned_blob_is_revived_by_whoever_wants_it(store, monkeypatch):
    digest, lost = add(store, b"wanted"), add(store, b"not wanted")

    def hit(point):
        if point == "gc.condemned":
            assert not store.namespace("default").content.has(digest)
            assert store.namespace("other").content.ensure(digest)

    monkeypatch.setattr(gc, "hit", hit)
    assert store.gc().removed == (lost,)
    assert b"".join(store.namespace("other").content.read(digest)) == b"wanted"


def test_a_ghost_keeps_the_blob_it_was_promised(store):
    digest = add(store, b"promised")
    other = store.namespace("other").content
    with other.writer("ghost", expected=digest) as writer:
        store.namespace("default").content.delete(digest)
        assert store.gc().removed == ()
        assert writer.commit(8, digest) == digest
    assert b"".join(other.read(digest)) == b"promised"


def test_labels_that_were_lost_do_not_lose_data_when_manifests_are_followed(store):
    blobs = [b"config", b"layer one", b"layer two"]
    raw = manifest_of(*blobs)
    digests = {add(store, data) for data in (*blobs, raw)}
    image(store, "i", raw)
    assert store.gc(follow_manifests=True).removed == ()
    assert files_of(store) == digests
    assert len(store.gc().removed) == 3
    assert files_of(store) == {Digest.of(raw)}


def test_following_manifests_stops_at_what_is_none(store):
    for data in (b"{ not JSON", b'{"manifests": 5}', b"{}", b'{"config": {}, "os": "linux"}', b""):
        add(store, data, labels={"containerd.io/gc.root": "1"})
    assert store.gc(follow_manifests=True).removed == ()


def test_nothing_is_collected_by_a_clock_that_is_behind(store, monkeypatch):
    add(store, b"lost")
    monkeypatch.setattr(gc, "now", lambda: microseconds(datetime.now(UTC) - timedelta(days=3)))
    with pytest.raises(FailedPrecondition, match="nothing is collected"):
        store.gc()
    assert len(store.gc(believe_clock=True).removed) == 1


def test_files_that_a_crash_left_are_removed_when_they_are_old(store):
    path = store.path_of(Digest.of(b"orphan"))
    path.write_bytes(b"orphan")
    (store.root / "ingest" / "orphan").mkdir()
    store.gc()
    assert path.exists()
    report = gc.collect(store._core, orphan_grace=NEVER)
    assert (report.removed, report.bytes) == ((Digest.of(b"orphan"),), 6)
    assert os.listdir(store.root / "ingest") == []


# ------------------------------------------------------------------------------------------------- leases, ingests


def test_a_transfers_lease_holds_while_its_process_lives_whatever_the_clock_says(store):
    space = store.namespace("default")
    with space.leases.holding(expires=timedelta(seconds=-1)) as lease:
        digest = add(store, b"held", lease=lease.id)
        assert store.gc().removed == ()
        assert [found.id for found in space.leases.list()] == [lease.id]
    assert space.leases.list() == []
    assert store.gc().removed == (digest,)


@pytest.mark.parametrize(("expires", "kept"), [("hours=1", True), ("hours=-1", False)])
def test_a_dead_processs_lease_holds_until_it_expires(store, expires, kept):
    script = (
        "import os, sys; from datetime import timedelta\n"
        "from tranship.store import Store; from tranship.model.digest import Digest\n"
        "space = Store.open(sys.argv[1]).namespace('default')\n"
        f"holding = space.leases.holding(expires=timedelta({expires}))\n"
        "lease = holding.__enter__()\n"
        "space.content.put(b'held', Digest.of(b'held'), 4, lease=lease.id)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(store.root)], check=False)
    assert store.namespace("default").content.has(Digest.of(b"held"))
    store.gc()
    assert store.namespace("default").content.has(Digest.of(b"held")) == kept
    assert len(store.namespace("default").leases.list()) == kept


def test_an_expiry_that_cannot_be_read_is_none(store):
    space = store.namespace("default")
    space.leases.create("l", labels={"containerd.io/gc.expire": "tomorrow"})
    add(store, b"held", lease="l")
    assert store.gc().removed == ()


def test_expiry_is_written_as_clients_read_it(store):
    before = datetime.now(UTC)
    lease = store.namespace("default").leases.create(expires=timedelta(hours=1))
    text = lease.labels["containerd.io/gc.expire"]
    assert text.endswith("Z")
    assert timedelta(hours=1) <= datetime.fromisoformat(text) - before < timedelta(hours=1, seconds=5)


def test_ingests_are_kept_while_they_are_young_leased_or_being_written(store, monkeypatch):
    space = store.namespace("default")
    space.leases.create("l")
    for ref, lease in (("young", None), ("leased", "l")):
        with space.content.writer(ref, lease=lease) as writer:
            writer.write(b"abc")
    open_one = space.content.writer("open")
    assert store.gc().ingests == 0
    space.leases.delete("l")
    assert store.gc().ingests == 1
    assert [status.ref for status in space.content.statuses()] == ["open", "young"]
    monkeypatch.setattr(gc, "now", lambda: microseconds(datetime.now(UTC) + timedelta(hours=25)))
    assert store.gc(believe_clock=True).ingests == 1
    assert [status.ref for status in space.content.statuses()] == ["open"]
    open_one.close()
    assert store.gc(believe_clock=True).ingests == 1
    assert os.listdir(store.root / "ingest") == []


def test_a_leased_image_outlives_its_expiry(store):
    space = store.namespace("default")
    raw = b"target"
    add(store, raw)
    image(store, "i", raw, **{"containerd.io/gc.expire": "2001-01-01T00:00:00Z"})
    space.leases.create("l")
    space.leases.add_resource("l", Resource("i", "images"))
    assert store.gc().images == ()
    assert files_of(store) == {Digest.of(raw)}


# ------------------------------------------------------------------------------------------------- marking, by itself


def marked(records, lives=lambda _holder: False):
    return mark(records, 0, lives).content


@pytest.mark.parametrize("suffix", ["", ".0", "/any/thing", ".l.12"])
def test_reference_labels_may_end_as_they_like(suffix):
    records = Records()
    records.content = {"a": {"containerd.io/gc.root": "", f"containerd.io/gc.ref.content{suffix}": "b"}, "b": {}}
    assert marked(records) == {"a", "b"}


def test_other_labels_refer_to_nothing():
    records = Records()
    records.content = {"a": {"containerd.io/gc.root": "", "containerd.io/gc.ref.contents": "b"}, "b": {}}
    assert marked(records) == {"a"}


def test_marking_ends_in_circles_and_ignores_what_is_absent():
    records = Records()
    ref = "containerd.io/gc.ref.content."
    records.content = {"a": {ref + "1": "b", ref + "2": "absent"}, "b": {ref + "1": "a"}, "c": {ref + "1": "c"}}
    records.images = {"i": ("a", {})}
    assert marked(records) == {"a", "b", "absent"}


def test_image_references_and_their_labels_are_followed():
    records = Records()
    expired = {"containerd.io/gc.expire": "1960-01-01T00:00:00Z"}
    records.content = {"a": {"containerd.io/gc.root": "", "containerd.io/gc.ref.image": "i"}, "b": {}, "c": {}}
    records.images = {"i": ("b", {**expired, "containerd.io/gc.ref.content": "c"}), "j": ("absent", expired)}
    assert marked(records) == {"a", "b", "c"}


def test_a_flat_lease_keeps_an_images_target_alone():
    records = Records()
    records.content = {"a": {"containerd.io/gc.ref.content": "b"}, "b": {}}
    records.images = {"i": ("a", {"containerd.io/gc.expire": "1960-01-01T00:00:00Z"})}
    records.leases = {"l": ({"containerd.io/gc.flat": "1"}, None)}
    records.held["l"] = [("images", "i")]
    assert marked(records) == {"a"}


# --------------------------------------------------------------------------------------------------------- counting


def test_usage_counts_blobs_and_what_can_be_freed(store):
    add(store, b"12345", labels={"containerd.io/gc.root": "1"})
    add(store, b"12345", "other")
    add(store, b"garbage")
    image(store, "i", b"12345")
    with store.namespace("default").content.writer("w") as writer:
        writer.write(b"abc")
    usage = store.usage()
    assert (usage.blobs, usage.bytes) == (2, 12)
    assert (usage.reclaimable_blobs, usage.reclaimable_bytes) == (1, 7)
    assert (usage.ingests, usage.ingest_bytes) == (1, 3)
    assert [(n, u.images, u.blobs, u.bytes) for n, u in usage.namespaces.items()] == [
        ("default", 1, 2, 12),
        ("other", 0, 1, 5),
    ]
    assert usage.free_bytes > 0
    store.gc()
    assert store.usage().reclaimable_blobs == 0


def test_a_record_without_its_blob_counts_nothing_and_is_found(store):
    add(store, b"12345")
    with contextlib.closing(sqlite3.connect(store.root / "state.db")) as connection, connection:
        connection.execute("DELETE FROM blobs")
    usage = store.usage()
    assert (usage.blobs, usage.bytes) == (0, 0)
    assert (usage.namespaces["default"].blobs, usage.namespaces["default"].bytes) == (1, 0)
    problems = store.fsck(deep=True).problems
    assert [(problem.kind, problem.detail) for problem in problems] == [
        ("database", "a row of content refers to nothing")
    ]


# ---------------------------------------------------------------------------------------------------------- checking


def spoil(store, digest, data):
    path = store.path_of(digest)
    path.chmod(0o600)
    path.write_bytes(data)
    path.chmod(0o400)


@pytest.mark.parametrize(
    ("damage", "kind", "deep"), [(b"short", "size", False), (b"xame length", "corrupt", True), (None, "missing", False)]
)
def test_a_damaged_blob_is_found_named_and_forgotten_by_repair(store, damage, kind, deep):
    blob = b"same length"
    raw = manifest_of(b"config", blob)
    digest = add(store, blob)
    add(store, b"config")
    add(store, raw, labels={"containerd.io/gc.ref.content.0": digest})
    image(store, "docker.io/library/app:1", raw)
    assert store.fsck(deep=True).ok
    if damage is None:
        store.path_of(digest).unlink()
    else:
        spoil(store, digest, damage)
    if kind == "corrupt":
        assert store.fsck().ok
    report = store.fsck(deep=deep)
    assert not report.ok
    assert [(p.kind, p.subject, p.repaired) for p in report.problems] == [(kind, digest, False)]
    assert "needed by docker.io/library/app:1" in report.problems[0].detail
    assert store.fsck(deep=deep, repair=True).ok
    assert not store.namespace("default").content.has(digest)
    assert len(os.listdir(store.root / "quarantine")) == (damage is not None)
    after = store.fsck(deep=True)
    assert after.problems == ()
    assert after.incomplete == (("default", "docker.io/library/app:1", f"layer {digest.short} is not here"),)
    add(store, blob)
    assert store.fsck(deep=True).incomplete == ()


def test_strays_and_modes_are_found_and_mended(store):
    digest = add(store, b"blob")
    stray = store.root / "blobs" / "sha256" / "README"
    stray.write_text("who put this here?")
    store.path_of(digest).chmod(0o644)
    (store.root / "ingest").chmod(0o755)
    report = store.fsck()
    assert sorted(p.kind for p in report.problems) == ["mode", "mode", "stray"]
    assert store.fsck(repair=True).ok
    assert store.fsck().problems == ()
    assert not stray.exists()


def test_verifying_puts_corrupt_blobs_aside_and_notes_when_the_others_were_read(store):
    good, bad = add(store, b"good"), add(store, b"evil")
    spoil(store, bad, b"live")
    seen = []
    report = store.verify(advance=seen.append)
    assert (report.checked, report.bytes, report.corrupt) == (2, 8, (bad,))
    assert sum(seen) == 8
    content = store.namespace("default").content
    assert not content.has(bad)
    assert content.info(good).verified_at is not None
    assert store.verify([good, bad]).checked == 1
    assert [name.split("-")[1] for name in os.listdir(store.root / "quarantine")] == [bad.hex]


@pytest.mark.parametrize("check", ["verify", "fsck"])
def test_what_was_brought_anew_while_the_old_file_was_hashed_stays(store, check):
    digest = add(store, b"evil")
    spoil(store, digest, b"live")

    def meanwhile(_count):
        if not os.listdir(store.root / "quarantine"):
            assert store.verify([digest]).corrupt == (digest,)  # as another process may
            add(store, b"evil")

    if check == "verify":
        assert store.verify(advance=meanwhile).corrupt == ()
    else:
        assert store.fsck(deep=True, advance=meanwhile).ok
    assert b"".join(store.namespace("default").content.read(digest)) == b"evil"
    assert len(os.listdir(store.root / "quarantine")) == 1


def test_a_file_is_not_taken_for_hashed_because_the_one_before_it_was(store):
    digest, content = add(store, b"good"), store.namespace("default").content

    def meanwhile(_count):
        store.path_of(digest).unlink()
        with content.draft(digest, 4) as draft:
            os.pwrite(draft.fd, b"evil", 0)
            draft.commit(vouched=True)

    store.verify([digest], advance=meanwhile)
    assert content.vouched([digest]) == {digest}
    assert content.info(digest).verified_at is None


def test_an_incomplete_index_needs_one_whole_child(store):
    import json

    raws = [manifest_of(b"config", b"layer"), manifest_of(b"config of another", b"layer")]
    children = [Descriptor(media_type=OCI_MANIFEST, digest=Digest.of(raw), size=len(raw)).to_json() for raw in raws]
    index = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": children,
        }
    ).encode()
    add(store, index)
    image(store, "i", index)
    assert [lack[1] for lack in store.fsck().incomplete] == ["i"]
    for data in (raws[0], b"config", b"layer"):
        add(store, data)
    assert store.fsck().incomplete == ()
