"""A store opens where it is safe to, and says why where it is not."""

import os
import sqlite3
import stat
import subprocess
import sys

import pytest

from tranship.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Unavailable
from tranship.model.digest import Digest
from tranship.store import Store, layout, recovery

DATA = b"some content"
DIGEST = Digest.of(DATA)


def modes(root):
    return {
        str(path.relative_to(root)): stat.S_IMODE(path.stat().st_mode)
        for path in [root, *root.rglob("*")]
        if "run/" not in str(path)
    }


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes_do_not_depend_on_the_umask(tmp_path, umask):
    old = os.umask(umask)
    try:
        with Store.open(tmp_path / "a" / "store") as store:
            store.namespace("default").content.put(DATA, DIGEST, len(DATA))
            found = modes(store.root)
    finally:
        os.umask(old)
    assert found.pop(".") == 0o700
    assert {found.pop(name) for name in ("state.db", "state.db-wal", "state.db-shm", "lock")} == {0o600}
    assert found.pop(f"blobs/sha256/{DIGEST.hex}") == 0o400
    assert set(found.values()) == {0o700}


def test_a_store_is_made_only_where_nothing_else_is(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InvalidArgument, match=r"is not a store and is not empty: it holds notes\.txt"):
        Store.open(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_nothing_is_made_when_that_is_not_wanted(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(NotFound, match="there is no store at"):
            Store.open(path, create=False)
    assert os.listdir(tmp_path) == []


def test_a_root_that_others_can_write_to_is_refused(tmp_path):
    Store.open(tmp_path / "s").close()
    for mode in (0o770, 0o702):
        os.chmod(tmp_path / "s", mode)
        with pytest.raises(PermissionDenied, match="can be written by others"):
            Store.open(tmp_path / "s")


def test_a_root_that_others_can_read_is_closed_to_them(tmp_path):
    (tmp_path / "s").mkdir(mode=0o755)
    Store.open(tmp_path / "s").close()
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700


def test_a_root_of_another_user_is_refused(tmp_path, monkeypatch):
    Store.open(tmp_path / "s").close()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PermissionDenied, match="belongs to user"):
        Store.open(tmp_path / "s")


def test_a_link_to_the_root_is_followed(tmp_path):
    Store.open(tmp_path / "s").close()
    (tmp_path / "link").symlink_to(tmp_path / "s")
    with Store.open(tmp_path / "link") as store:
        assert store.root == tmp_path / "s"


def test_a_network_file_system_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "filesystem", lambda _path: "nfs4")
    with pytest.raises(FailedPrecondition, match=r"network file system \(nfs4\)"):
        Store.open(tmp_path / "s")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_file_systems_are_told_apart():
    assert layout.filesystem("/proc/self") == "proc"
    assert layout.filesystem("/") not in (None, "proc")


def test_a_newer_database_is_refused(tmp_path):
    with Store.open(tmp_path / "s"):
        pass
    with sqlite3.connect(tmp_path / "s" / "state.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(FailedPrecondition, match="has version 99; this tranship knows version 1"):
        Store.open(tmp_path / "s")


def test_a_database_that_is_none_is_named(tmp_path):
    with Store.open(tmp_path / "s"):
        pass
    (tmp_path / "s" / "state.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(DataLoss, match=r"state\.db is damaged"):
        Store.open(tmp_path / "s")


def test_closing_leaves_nothing_of_the_process(tmp_path):
    with Store.open(tmp_path / "s") as store:
        scratch = store.scratch()
        (scratch / "part").write_bytes(DATA)
        assert scratch.stat().st_dev == store.root.stat().st_dev
    assert os.listdir(tmp_path / "s" / "run") == ["gate"]
    assert not (tmp_path / "s" / "state.db-wal").exists()


def test_open_descriptors_of_blobs_outlive_the_store(tmp_path):
    with Store.open(tmp_path / "s") as store:
        store.namespace("default").content.put(DATA, DIGEST, len(DATA))
        fd = store.namespace("default").content.open(DIGEST)
    assert os.read(fd, 100) == DATA
    os.close(fd)


def test_two_processes_share_a_store(tmp_path):
    script = (
        "import sys; from tranship.store import Store; from tranship.model.digest import Digest\n"
        "with Store.open(sys.argv[1]) as store:\n"
        "    store.namespace('default').content.put(b'theirs', Digest.of(b'theirs'), 6)\n"
    )
    with Store.open(tmp_path / "s") as store:
        content = store.namespace("default").content
        assert not content.has(Digest.of(b"theirs"))
        subprocess.run([sys.executable, "-c", script, str(tmp_path / "s")], check=True)
        assert content.has(Digest.of(b"theirs"))


def test_repairing_needs_the_store_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("tranship.store.process.REPAIR_WAIT", 0.05)
    with Store.open(tmp_path / "s") as one:
        with Store.open(tmp_path / "s"), pytest.raises(Unavailable, match="open in another process"):
            one.fsck(repair=True)
        with one._core.process.alone(), pytest.raises(Unavailable, match="being repaired"):
            Store.open(tmp_path / "s")
        assert one.fsck(repair=True).ok
        with Store.open(tmp_path / "s"):
            pass


# ------------------------------------------------------------------------------------------------ after a bad end


def abandon(root, *, rebooted=False, durability="full"):
    """A store as a killed process leaves it, perhaps on a machine that was stopped then."""
    script = (
        "import os, sys; from tranship.store import Store; from tranship.model.digest import Digest\n"
        "store = Store.open(sys.argv[1], durability=sys.argv[2])\n"
        "content = store.namespace('default').content\n"
        "content.put(b'some content', Digest.of(b'some content'), 12, labels={'containerd.io/gc.root': ''})\n"
        "(store.scratch() / 'part').write_bytes(b'x')\n"
        "content.writer('left').write(b'abc')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(root), durability], check=False)
    assert len(os.listdir(root / "run")) == 2
    if rebooted:
        reboot(root)


def reboot(root):
    with sqlite3.connect(root / "state.db") as connection:
        connection.execute("UPDATE meta SET value = 'another' WHERE key = 'boot'")
    connection.close()


def test_what_a_killed_process_left_is_cleared_and_what_it_wrote_stays(tmp_path):
    abandon(tmp_path / "s")
    with Store.open(tmp_path / "s") as store:
        assert len(os.listdir(tmp_path / "s" / "run")) == 2  # the gate, and our own
        content = store.namespace("default").content
        assert b"".join(content.read(DIGEST)) == DATA
        assert content.status("left").offset == 3
        assert store.fsck(deep=True).ok


def test_a_living_process_is_not_cleared_away(tmp_path):
    with Store.open(tmp_path / "s") as one:
        scratch = one.scratch()
        with Store.open(tmp_path / "s"):
            assert scratch.is_dir()


@pytest.mark.parametrize("damage", [b"", b"x"], ids=["empty", "short"])
def test_a_blob_that_lost_its_bytes_in_a_power_cut_is_put_aside(tmp_path, caplog, damage):
    abandon(tmp_path / "s", rebooted=True)
    blob = tmp_path / "s" / "blobs" / "sha256" / DIGEST.hex
    blob.chmod(0o600)
    blob.write_bytes(damage)
    with Store.open(tmp_path / "s") as store:
        assert not store.namespace("default").content.has(DIGEST)
        assert f"blob {DIGEST} has {len(damage)} bytes instead of 12" in caplog.text
        assert [p.name.startswith(f"sha256-{DIGEST.hex}") for p in (store.root / "quarantine").iterdir()] == [True]
        assert store.fsck().ok


def test_without_syncs_blobs_are_hashed_after_a_power_cut(tmp_path, caplog):
    abandon(tmp_path / "s", rebooted=True, durability="process")
    blob = tmp_path / "s" / "blobs" / "sha256" / DIGEST.hex
    blob.chmod(0o600)
    blob.write_bytes(bytes(12))  # preallocated, and never written: the length alone tells nothing
    with Store.open(tmp_path / "s") as store:
        assert not store.namespace("default").content.has(DIGEST)
        assert "did not survive" in caplog.text


def test_a_file_that_was_written_anew_is_hashed_after_a_power_cut_however_old_its_record(tmp_path):
    with Store.open(tmp_path / "s", durability="process") as store:
        content = store.namespace("default").content
        content.put(DATA, DIGEST, 12)
        with store._core.database.write() as connection:
            connection.execute("UPDATE blobs SET created_at = created_at - ?", (2 * recovery.WRITTEN_BACK,))
        content.put(b"the newest", Digest.of(b"the newest"), 10)
        store.path_of(DIGEST).unlink()
        content.put(DATA, DIGEST, 12)
    reboot(tmp_path / "s")
    blob = tmp_path / "s" / "blobs" / "sha256" / DIGEST.hex
    blob.chmod(0o600)
    blob.write_bytes(bytes(12))
    with Store.open(tmp_path / "s") as store:
        assert not store.namespace("default").content.has(DIGEST)
        assert store.namespace("default").content.has(Digest.of(b"the newest"))


def test_an_ingest_that_nobody_closed_begins_again_after_a_power_cut(tmp_path):
    abandon(tmp_path / "s", rebooted=True)
    with Store.open(tmp_path / "s") as store:
        assert store.namespace("default").content.status("left").offset == 0
    with Store.open(tmp_path / "s") as store, store.namespace("default").content.writer("left") as writer:
        assert writer.offset == 0


def test_the_boot_is_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(recovery, "boot_id", lambda: "one")
    Store.open(tmp_path / "s").close()
    checked = []
    monkeypatch.setattr(recovery, "_check_database", checked.append)
    Store.open(tmp_path / "s").close()
    assert len(checked) == 0
    monkeypatch.setattr(recovery, "boot_id", lambda: "two")
    Store.open(tmp_path / "s").close()
    Store.open(tmp_path / "s").close()
    assert len(checked) == 1


def test_a_mistake_in_using_the_database_is_no_state_of_the_store(tmp_path):
    with Store.open(tmp_path / "s") as store:
        database = store._core.database
        for lent in (database.read, database.write):
            with pytest.raises(sqlite3.ProgrammingError), lent() as connection:
                connection.execute("SELECT ?")


def test_a_store_that_another_process_is_making_is_taken_for_one(tmp_path, monkeypatch):
    """It made the database, whose journal is there for a moment, after we had looked and before we look what there is."""
    listed = os.listdir

    def later(path="."):
        return [*listed(path), *(["state.db", "state.db-journal"] if path == str(tmp_path / "s") else [])]

    monkeypatch.setattr("tranship.store.layout.os.listdir", later)
    with Store.open(tmp_path / "s") as store:
        assert not list(store.namespace("default").images.list())
