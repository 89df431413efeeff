"""Packing: the same tree gives the same image, and GNU tar unpacks it to the same tree."""

from __future__ import annotations

import gzip
import io
import json
import os
import socket
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.raw_tar import END, member, pax, record
from tranship import CancelToken, Layout, Pack, Platform, Reporter, errors, transfer
from tranship.endpoints.pack import tree
from tranship.endpoints.pack.layer import PART
from tranship.engine.progress import Progress, Stage
from tranship.formats import compression
from tranship.formats.tar import TarStream, layer

if TYPE_CHECKING:
    from collections.abc import Callable

LINUX = Platform("linux", "amd64")
KEEP = {"owner": None, "mode": "keep", "mtime": None}


def make_tree(top: Path, *, backwards: bool = False) -> Path:
    """Files, empty ones too, directories, links of both kinds, names that are not ASCII or not text, and many bytes."""
    makers: list[Callable[[], object]] = [
        lambda: (top / "plain.txt").write_text("hello\n"),
        (top / "empty").touch,
        (top / "bin").mkdir,
        (top / "empty-directory").mkdir,
        lambda: (top / "données-☃").write_text("unicode"),
        lambda: (top / ("long-" + "n" * 200)).write_text("long"),
        lambda: (top / "big").write_bytes(b"0123456789abcdef" * (PART // 8 + 777)),
        lambda: os.symlink("plain.txt", top / "link"),
        lambda: os.symlink("/nowhere/" + "x" * 150, top / "dangling"),
        lambda: os.link(top / "plain.txt", top / "second-name"),
        lambda: os.mkfifo(top / "fifo"),
    ]
    if sys.platform.startswith("linux"):
        makers.append(lambda: Path(os.fsdecode(os.fsencode(top) + b"/not-\xff-text")).write_text("bytes"))
    top.mkdir(parents=True)
    (top / "plain.txt").touch()
    for make in reversed(makers) if backwards else makers:
        make()
    (top / "bin" / "run").write_text("#!/bin/sh\n")
    (top / "bin" / "run").chmod(0o755)
    os.symlink(".", top / "bin" / "loop")
    return top


def packed(value: Pack, to: Path) -> tuple[dict, dict, bytes]:
    """Pack into a layout; gives the manifest, the config, and the layer's tar."""
    summary = transfer(value, Layout(to))
    (root,) = summary.roots
    blobs = to / "blobs" / "sha256"
    manifest = json.loads((blobs / root.descriptor.digest.hex).read_bytes())
    config = json.loads((blobs / manifest["config"]["digest"][7:]).read_bytes())
    _, reader = compression.opened(io.BytesIO((blobs / manifest["layers"][0]["digest"][7:]).read_bytes()))
    data, view = bytearray(), memoryview(bytearray(1 << 20))
    while count := reader.readinto(view):
        data += view[:count]
    return manifest, config, bytes(data)


def digest(value: Pack, to: Path) -> str:
    return transfer(value, Layout(to)).roots[0].descriptor.digest


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        return {info.name: info for info in tar}


# --- the same ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["gzip", "zstd", "none"])
def test_the_same_tree_packed_twice_gives_the_same_digest(tmp_path, how):
    top = make_tree(tmp_path / "tree")
    first, second = (digest(Pack(top, "a:1", compression=how), tmp_path / name) for name in ("one", "two"))
    assert first == second


def test_times_umask_and_order_of_creation_do_not_show(tmp_path):
    first = digest(Pack(make_tree(tmp_path / "a")), tmp_path / "one")
    old = os.umask(0o077)
    try:
        other = make_tree(tmp_path / "b", backwards=True)
    finally:
        os.umask(old)
    (other / "bin" / "run").chmod(0o700)
    os.utime(other / "plain.txt", (1, 1))
    assert digest(Pack(other), tmp_path / "two") == first


def test_the_number_of_threads_does_not_show(tmp_path, monkeypatch):
    top = make_tree(tmp_path / "tree")
    first = digest(Pack(top), tmp_path / "one")
    monkeypatch.setattr("tranship.endpoints.pack.layer._workers", lambda: 7)
    assert digest(Pack(top), tmp_path / "two") == first


def test_one_byte_more_shows(tmp_path):
    top = make_tree(tmp_path / "tree")
    first = digest(Pack(top), tmp_path / "one")
    (top / "empty").write_text("x")
    assert digest(Pack(top), tmp_path / "two") != first


KNOWN = "sha256:b6f5f67fc05691d60e1881323a9e09a883e64cee533e7a35c8860e32df2eefbb"


def test_the_uncompressed_layer_is_what_gnu_tar_writes_and_its_digest_is_known(tmp_path):
    """The bytes of a layer are a promise: this digest may change with a new major version only."""
    top = tmp_path / "tree"
    (top / "d").mkdir(parents=True)
    (top / "d").chmod(0o755)
    (top / "d" / "f").write_text("content\n")
    (top / "d" / "f").chmod(0o644)
    os.symlink("d/f", top / "l")
    manifest, config, data = packed(Pack(top, compression="none", platform=LINUX), tmp_path / "out")
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]] == [KNOWN]
    options = ["--format=ustar", "-b1", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"]
    theirs = subprocess.run(["tar", "-c", *options, "-C", top, "d", "l"], stdout=-1, check=True)
    assert data == theirs.stdout


# --- unpacked ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["gzip", "zstd", "none"])
def test_gnu_tar_unpacks_the_layer_to_the_same_tree(tmp_path, how):
    top = make_tree(tmp_path / "tree")
    _, _, data = packed(Pack(top, compression=how, **KEEP), tmp_path / "out")
    there = tmp_path / "there"
    there.mkdir()
    subprocess.run(["tar", "-x", "-p", "-C", there], input=data, check=True)
    assert described(there) == described(top)


def described(top: Path) -> dict[bytes, tuple]:
    """Everything that can be said of a tree, but for inode numbers and the top itself."""
    found, firsts = {}, {}
    for folder, folders, names in os.walk(os.fsencode(top)):
        for name in sorted(folders + names):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            below = os.path.relpath(path, os.fsencode(top))
            content: object = None
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            first = firsts.setdefault(status.st_ino, below)
            found[below] = (status.st_mode, status.st_uid, status.st_gid, int(status.st_mtime), content, first)
    return found


def test_the_config_says_what_was_asked(tmp_path):
    top = make_tree(tmp_path / "tree")
    value = Pack(
        top,
        "registry.example/app:1",
        entrypoint=("/bin/run", "-v"),
        cmd=("serve",),
        env=("MODE=fast", "EMPTY="),
        user="1000:1000",
        workdir="/bin",
        labels={"org.opencontainers.image.title": "app"},
        annotations={"made": "here"},
        platform=Platform("linux", "arm64", "v8"),
        created=86400,
    )
    manifest, config, data = packed(value, tmp_path / "out")
    assert config["config"] == {
        "Entrypoint": ["/bin/run", "-v"],
        "Cmd": ["serve"],
        "Env": ["MODE=fast", "EMPTY="],
        "User": "1000:1000",
        "WorkingDir": "/bin",
        "Labels": {"org.opencontainers.image.title": "app"},
    }
    assert (config["os"], config["architecture"], config["variant"]) == ("linux", "arm64", "v8")
    assert config["created"] == "1970-01-02T00:00:00Z" == config["history"][0]["created"]
    assert manifest["annotations"] == {"made": "here"}
    assert config["rootfs"] == {
        "type": "layers",
        "diff_ids": [f"sha256:{__import__('hashlib').sha256(data).hexdigest()}"],
    }


def test_owner_mode_and_time_are_normalised_unless_they_are_to_be_kept(tmp_path):
    top = tmp_path / "tree"
    top.mkdir()
    (top / "f").write_text("x")
    (top / "f").chmod(0o4750)
    os.utime(top / "f", (1234567890, 1234567890))
    normal = members(packed(Pack(top), tmp_path / "1")[2])["f"]
    assert (normal.mode, normal.uid, normal.gid, normal.mtime) == (0o755, 0, 0, 0)
    assert (normal.uname, normal.gname) == ("", "")
    given = members(packed(Pack(top, owner=(1000, 5_000_000), mtime=99), tmp_path / "2")[2])["f"]
    assert (given.uid, given.gid, given.mtime) == (1000, 5_000_000, 99)
    kept = members(packed(Pack(top, **KEEP), tmp_path / "3")[2])["f"]
    assert (kept.mode, kept.uid, kept.gid, kept.mtime) == (0o4750, os.getuid(), os.getgid(), 1234567890)


def test_a_prefix_puts_the_tree_below_it_with_its_hard_links(tmp_path):
    top = make_tree(tmp_path / "tree")
    _, _, data = packed(Pack(top, prefix="/srv/models/"), tmp_path / "out")
    found = members(data)
    assert list(found)[:3] == ["srv", "srv/models", "srv/models/big"]
    assert found["srv"].isdir() and found["srv"].mode == 0o755
    assert found["srv/models/second-name"].linkname == "srv/models/plain.txt"
    assert found["srv/models/link"].linkname == "plain.txt"


def test_patterns_leave_out_files_and_what_is_below_directories(tmp_path):
    top = tmp_path / "tree"
    for name in (
        "a.pyc",
        "keep/a.py",
        "keep/a.pyc",
        ".git/config",
        "build/x",
        "keep/build/y",
        "docs/a.md",
        "docs/a.txt",
    ):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("x")
    exclude = ("*.pyc", ".git/", "/build", "docs/*.md")
    _, _, data = packed(Pack(top, exclude=exclude), tmp_path / "out")
    assert list(members(data)) == ["docs", "docs/a.txt", "keep", "keep/a.py", "keep/build", "keep/build/y"]


def test_a_layer_that_a_store_moved_away_is_not_left_in_scratch(tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    digest(Pack(make_tree(tmp_path / "tree")), tmp_path / "out")
    assert list(scratch.iterdir()) == []


# --- hostile trees ----------------------------------------------------------------------------------------------------


def test_links_are_never_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("hidden")
    top = tmp_path / "tree"
    top.mkdir()
    os.symlink(secret, top / "folder")
    os.symlink(secret / "key", top / "file")
    os.symlink("circle", top / "circle")
    _, _, data = packed(Pack(top), tmp_path / "out")
    assert {name: info.linkname for name, info in members(data).items()} == {
        "circle": "circle",
        "file": str(secret / "key"),
        "folder": str(secret),
    }
    assert b"hidden" not in data


def test_a_socket_is_left_out_and_that_is_said(tmp_path):
    top = tmp_path / "tree"
    top.mkdir()
    (top / "file").touch()
    heard = Listening()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(top / "socket"))
        transfer(Pack(top), Layout(tmp_path / "out"), reporter=heard)
    assert [e.event for e in heard.events if e.stage is Stage.NOTICE] == [
        "socket is a socket, which no image can hold: left out"
    ]


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="only root makes devices")
def test_devices_are_recorded_as_such(tmp_path):
    top = tmp_path / "tree"
    top.mkdir()
    try:
        os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(top / "loop", stat.S_IFBLK | 0o600, os.makedev(7, 200_000))
    except PermissionError:
        pytest.skip("this container may not make devices")
    found = members(packed(Pack(top), tmp_path / "out")[2])
    assert found["null"].ischr() and (found["null"].devmajor, found["null"].devminor) == (1, 3)
    assert found["loop"].isblk() and (found["loop"].devmajor, found["loop"].devminor) == (7, 200_000)


@pytest.mark.parametrize("size", [50, 150])
def test_a_file_that_grows_or_shrinks_meanwhile_is_an_error_that_names_it(tmp_path, size):
    top = tmp_path / "tree"
    top.mkdir()
    (top / "log").write_bytes(b"x" * 100)

    class Writes(Listening):
        def report(self, event: Progress) -> None:
            if event.stage is Stage.HASHING:
                os.truncate(top / "log", size)

    with pytest.raises(errors.FailedPrecondition, match="log changed while it was read"):
        transfer(Pack(top), Layout(tmp_path / "out"), reporter=Writes())


@pytest.mark.root
def test_file_capabilities_are_kept_and_other_attributes_are_not(tmp_path):
    top = tmp_path / "tree"
    top.mkdir()
    (top / "ping").write_text("binary")
    value = bytes.fromhex("0100000200040000000000000000000000000000")
    try:
        os.setxattr(top / "ping", "security.capability", value)
        os.setxattr(top / "ping", "user.comment", b"mine")
    except (OSError, AttributeError) as error:
        pytest.skip(f"attributes cannot be set here: {error}")
    _, _, data = packed(Pack(top), tmp_path / "out")
    (found,) = TarStream(io.BytesIO(data))
    assert found.xattrs == {"security.capability": value.decode("utf-8", "surrogateescape")}


def test_a_file_that_becomes_a_link_meanwhile_is_not_read(tmp_path):
    top = tmp_path / "tree"
    top.mkdir()
    (top / "file").write_text("x")
    folder = os.open(top, os.O_RDONLY)
    try:
        (node,) = tree.walk(folder, tree.excluder(()))
        (top / "file").unlink()
        os.symlink("/etc/passwd", top / "file")
        node = tree.Node(node.path, node.name, folder, node.status)
        with pytest.raises(errors.FailedPrecondition, match="file was replaced"):
            node.open()
    finally:
        os.close(folder)


def test_a_tree_without_end_is_refused_with_every_file_closed(tmp_path):
    top = tmp_path / "tree"
    top.mkdir()
    here, opened = os.open(top, os.O_RDONLY), len(os.listdir("/dev/fd"))
    for _ in range(tree.MAX_DEPTH + 2):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    with pytest.raises(errors.InvalidArgument, match="directories deep"):
        transfer(Pack(top), Layout(tmp_path / "out"))
    assert len(os.listdir("/dev/fd")) == opened
    os.close(here)
    subprocess.run(["rm", "-rf", top], check=True)  # deeper than a path may be long


def test_nothing_there_and_nothing_to_pack_are_said(tmp_path):
    with pytest.raises(errors.NotFound, match="no directory or tar"):
        transfer(Pack(tmp_path / "absent"), Layout(tmp_path / "out"))
    (tmp_path / "text").write_text("this is no tar at all\n" * 100)
    with pytest.raises(errors.InvalidArgument, match="neither a directory nor a tar"):
        transfer(Pack(tmp_path / "text"), Layout(tmp_path / "out"))
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(errors.InvalidArgument, match="neither a directory nor a file"):
        transfer(Pack(tmp_path / "fifo"), Layout(tmp_path / "out"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"compression": "bzip2"},
        {"level": 10},
        {"compression": "none", "level": 1},
        {"prefix": "/../x"},
        {"env": ("X",)},
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path, wrong):
    with pytest.raises(errors.InvalidArgument):
        transfer(Pack(tmp_path, **wrong), Layout(tmp_path / "out"))


# --- progress ---------------------------------------------------------------------------------------------------------


class Listening(Reporter):
    def __init__(self) -> None:
        self.events: list[Progress] = []

    def report(self, event: Progress) -> None:
        self.events.append(event)


def test_progress_ends_at_a_total_that_was_known_from_the_start(tmp_path):
    heard = Listening()
    top = make_tree(tmp_path / "tree")
    transfer(Pack(top), Layout(tmp_path / "out"), reporter=heard)
    packing = [e for e in heard.events if e.stage is Stage.HASHING]
    size = sum(p.stat().st_size for p in top.rglob("*") if p.is_file() and not p.is_symlink()) - len("hello\n")
    assert packing[0].total == packing[-1].total == packing[-1].progress == size


def test_cancelling_stops_in_the_middle_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    token = CancelToken()

    class Stops(Listening):
        def report(self, event: Progress) -> None:
            super().report(event)
            if event.stage is Stage.HASHING:
                token.cancel("enough")

    top = make_tree(tmp_path / "tree")
    with pytest.raises(errors.Cancelled, match="enough"):
        transfer(Pack(top), Layout(tmp_path / "out"), reporter=Stops(), cancel=token)
    assert not list(tmp_path.glob("tranship-pack-*"))
    assert not (tmp_path / "out" / "index.json").exists()


# --- a tar ------------------------------------------------------------------------------------------------------------


def gnu_tar(top: Path, to: Path, *options: str) -> Path:
    subprocess.run(["tar", "-c", "-f", to, "--sort=name", *options, "-C", top, "."], check=True)
    return to


@pytest.mark.parametrize("form", ["--format=gnu", "--format=pax", "--format=ustar"])
def test_a_tar_of_a_tree_gives_the_image_of_the_tree(tmp_path, form):
    top = make_tree(tmp_path / "tree")
    if form == "--format=ustar":
        (top / "dangling").unlink()  # ustar cannot say these
        (top / ("long-" + "n" * 200)).unlink()
    archive = gnu_tar(top, tmp_path / "tree.tar", form)
    of_tree, of_tar = (members(packed(Pack(p), tmp_path / p.name[-3:] / "out")[2]) for p in (top, archive))
    assert sorted(of_tree) == sorted(of_tar)
    for name, info in of_tree.items():
        there = of_tar[name]
        assert (info.type, info.mode, info.uid, info.mtime) == (there.type, there.mode, there.uid, there.mtime), name


@pytest.mark.parametrize("how", ["none", "gzip", "zstd"])
def test_a_tar_of_which_everything_is_kept_is_the_layer_byte_by_byte(tmp_path, how):
    archive = gnu_tar(make_tree(tmp_path / "tree"), tmp_path / "tree.tar", "--format=pax")
    data = archive.read_bytes()
    (tmp_path / "tree.tar.gz").write_bytes(gzip.compress(data))
    for path in (archive, tmp_path / "tree.tar.gz"):
        _, config, layer_data = packed(Pack(path, compression=how, **KEEP), tmp_path / f"out-{path.name}")
        assert layer_data == data
        assert config["rootfs"]["diff_ids"] == [f"sha256:{__import__('hashlib').sha256(data).hexdigest()}"]


def test_members_keep_their_order_devices_and_capabilities(tmp_path):
    value = bytes.fromhex("0100000200040000000000000000000000ff0000")
    data = b"".join(
        [
            member(b"./", kind=b"5"),
            member(b"./z/", kind=b"5"),
            pax(record(b"SCHILY.xattr.security.capability", value)),
            member(b"./z/ping", b"binary"),
            member(b"/absolute", b"x"),
            END,
        ]
    )
    (tmp_path / "in.tar").write_bytes(data)
    _, _, out = packed(Pack(tmp_path / "in.tar", prefix="/p"), tmp_path / "out")
    found = list(TarStream(io.BytesIO(out)))
    assert [m.name for m in found] == ["p", "p/z", "p/z/ping", "p/absolute"]
    assert found[2].xattrs == {"security.capability": value.decode("utf-8", "surrogateescape")}


def test_devices_of_a_tar_keep_their_numbers(tmp_path):
    entry = layer.LayerEntry(name=b"null", type=layer.CHARACTER_DEVICE, mode=0o666, device=(1, 3))
    (tmp_path / "in.tar").write_bytes(layer.header(entry) + END)
    _, _, out = packed(Pack(tmp_path / "in.tar", mode="keep"), tmp_path / "out")
    assert out[:512] == layer.header(entry)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (member(b"../x", b"1") + END, errors.InvalidArgument),
        (member(b"a/../../x", b"1") + END, errors.InvalidArgument),
        (member(b"x", kind=b"1", linkname=b"absent") + END, errors.InvalidArgument),
        (member(b"x", kind=b"1", linkname=b"../x") + END, errors.InvalidArgument),
        (member(b"x", b"1"), errors.Truncated),
        (member(b"x", b"1" * 2000)[:1024], errors.Truncated),
    ],
)
def test_a_hostile_or_broken_tar_is_refused(tmp_path, data, error):
    (tmp_path / "in.tar").write_bytes(data)
    with pytest.raises(error):
        transfer(Pack(tmp_path / "in.tar"), Layout(tmp_path / "out"))


def test_what_is_excluded_of_a_tar_is_left_out_with_what_is_below(tmp_path):
    archive = gnu_tar(make_tree(tmp_path / "tree"), tmp_path / "tree.tar")
    found = members(packed(Pack(archive, exclude=("bin", "f*", "long-*")), tmp_path / "out")[2])
    assert "bin/run" not in found and "bin" not in found and "fifo" not in found
    assert "plain.txt" in found


# --- headers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entry",
    [
        layer.LayerEntry(name=b"a"),
        layer.LayerEntry(name=b"n" * 300, linkname=b"l" * 300, type=layer.SYMLINK),
        layer.LayerEntry(name=b"\xff\xfe", size=8**11),
        layer.LayerEntry(name="ü".encode(), owner=(2**31, 2**32 - 2), mtime=-5),
        layer.LayerEntry(name=b"p" * 90 + b"/" + b"n" * 90, type=layer.DIRECTORY, mode=0o1777),
        layer.LayerEntry(name=b"c", xattrs={b"security.capability": bytes(range(256))}),
        layer.LayerEntry(name=b"d", type=layer.BLOCK_DEVICE, device=(259, 1_048_575)),
    ],
    ids=lambda entry: str(entry)[:20],
)
def test_a_header_is_read_back_as_it_was_meant_by_us_and_by_python(entry):
    data = layer.header(entry)
    assert len(data) % 512 == 0

    class Endless(io.RawIOBase):
        def __init__(self) -> None:
            self.data = io.BytesIO(data)

        def readinto(self, view) -> int:
            return self.data.readinto(view)

    ours = next(TarStream(Endless()))
    name = ours.name.encode("utf-8", "surrogateescape")
    assert (name, ours.type, ours.size, ours.mode) == (entry.name, entry.type, entry.size, entry.mode)
    assert ((ours.uid, ours.gid), ours.mtime, ours.device) == (entry.owner, entry.mtime, entry.device)
    assert ours.linkname.encode() == entry.linkname
    assert {k.encode(): v.encode("utf-8", "surrogateescape") for k, v in ours.xattrs.items()} == entry.xattrs
    with tarfile.open(fileobj=io.BytesIO(data + END), errors="surrogateescape") as tar:
        theirs = tar.next()
    assert theirs is not None
    assert os.fsencode(theirs.name) == entry.name
    assert (theirs.size, theirs.uid, theirs.gid, theirs.mtime) == (entry.size, *entry.owner, entry.mtime)


def test_a_device_that_no_tar_can_hold_is_refused():
    with pytest.raises(errors.InvalidArgument, match="no tar can hold"):
        layer.header(layer.LayerEntry(name=b"d", type=layer.BLOCK_DEVICE, device=(1, 2**24)))
