"""Every ctr command of images, content, namespaces and leases: against our daemon as against a real containerd.

ctr 2.1 beside containerd 2.1, by the Transfer service and with --local by the classic ones; ctr 1.6 beside containerd 1.6.
"""

import contextlib
import itertools
import json
import tarfile

import pytest

pytest.importorskip("grpc", reason="grpcio is in the `daemon` extra")

from support.ctr import Both, World
from support.images import tar_layout
from support.peers import Peers, temporary_home
from tranship import Archive, Layout, transfer
from tranship.daemon.server import Daemon
from tranship.model.digest import Digest
from tranship.store import Store

HELLO = Digest.of(b"hello")
MULTI = "localhost/multi:v1"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    with (
        temporary_home() as home,
        Store.open(tmp_path_factory.mktemp("store") / "root", durability="process") as store,
        Daemon(store, home.path / "run/t.sock") as running,
    ):
        yield running


@pytest.fixture(params=["ctr", "ctr@bookworm"])
def both(request, daemon, tmp_path):
    real = request.getfixturevalue("containerd" if request.param == "ctr" else "old_containerd")
    namespace = f"t{next(_numbers)}"
    daemon.collector.run()
    with temporary_home() as home:
        peers = Peers(home)
        worlds = [(daemon.address, tmp_path / "ours"), (real.address, tmp_path / "real")]
        # Deletions of earlier tests may bring a collection about amid this one's commands: let it be over.
        collecting = [World(peers, request.param, address, "collecting", folder) for address, folder in worlds]
        Both(*collecting).collect()
        yield Both(*(World(peers, request.param, address, namespace, folder) for address, folder in worlds))


only_2 = pytest.mark.parametrize("both", ["ctr"], indirect=True)
# How ctr works: by the Transfer service, by itself on demand, or by itself as it always did.
ways = pytest.mark.parametrize(
    ("both", "local"),
    [("ctr", ()), ("ctr", ("--local",)), ("ctr@bookworm", ())],
    indirect=["both"],
    ids=["transfer", "local", "1.6"],
)


@pytest.fixture
def archive(images, tmp_path):
    return lambda kind: tar_layout(images(kind), tmp_path / f"{kind}.tar").read_bytes()


def load(both, archive, kind, *options):
    """Import an image; where ctr does the work, without unpacking, which it cannot leave undone otherwise."""
    both.file("in.tar", archive(kind))
    if both.ours.program != "ctr" or "--local" in options:
        options += ("--no-unpack",)
    both.same("images", "import", *options, "in.tar")


def members(path):
    with tarfile.open(path) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}


def exported(both, *args):
    """The members of what both worlds export, which must be the same."""
    file = next(argument for argument in args if argument.endswith(".tar"))
    both.same("images", "export", *args)
    ours = members(both.ours.folder / file)
    for _ in range(20):  # containerd says that it is done before ctr has all of the archive
        with contextlib.suppress(tarfile.ReadError, KeyError):
            real = members(both.real.folder / file)
            real["index.json"]
            break
        both.real.ctr("images", "export", *args)
    for name in ("index.json", "manifest.json"):
        documents = [json.loads(data.pop(name)) if name in data else None for data in (ours, real)]
        assert _sorted(documents[0]) == _sorted(documents[1])
    assert ours.keys() - {"oci-layout"} == real.keys() - {"oci-layout"}
    for name, data in ours.items():
        if name.startswith("blobs/sha256/"):
            assert Digest.of(data).hex == name.rpartition("/")[2]
    return ours


def _sorted(document):
    """manifest.json of several images is in no order with containerd."""
    return sorted(document, key=json.dumps) if isinstance(document, list) else document


# ---------------------------------------------------------------------------------------------------------------- images


@ways
@pytest.mark.parametrize("kind", ["small", "multi", "docker", "zstd", "many-3"])
def test_import_and_all_that_looks_at_images(both, local, archive, kind):
    load(both, archive, kind, *local)
    both.collect()
    for command in (("ls",), ("ls", "-q"), ("check",), ("ls", "name~=multi")):
        both.same("images", *command)


@ways
def test_check_lists_what_is_complete_and_unpacked(both, local, archive):
    load(both, archive, "many-3", *local, "--no-unpack")
    both.same("images", "check", "-q")


@ways
def test_import_of_all_platforms_and_inspection(both, local, archive):
    load(both, archive, "multi", *local, "--all-platforms")
    both.collect()
    assert "complete (4/4)" in both.same("images", "check")
    both.same("content", "ls", "-q")


@only_2
def test_inspection_shows_the_tree(both, archive):
    load(both, archive, "multi", "--all-platforms", "--no-unpack")
    assert "linux/arm64" in both.same("images", "inspect", MULTI)
    both.same("images", "inspect", "--content", MULTI)
    both.same("images", "inspect", "nope", fails=True)


@only_2
def test_inspection_after_the_import_of_one_platform(both, archive):
    load(both, archive, "multi", "--platform", "linux/amd64")
    both.collect()
    both.same("images", "inspect", MULTI)
    both.same("images", "ls")


@only_2
@pytest.mark.parametrize(
    "options",
    [
        ("--base-name", "example.com/foo"),
        ("--base-name", "example.com/foo", "--digests"),
        ("--base-name", "example.com/foo", "--digests", "--skip-digest-for-named"),
        ("--base-name", "localhost/many-3"),
        ("--digests",),
        ("--digests", "--skip-digest-for-named"),
        ("--index-name", "example.com/idx:1"),
        ("--label", "a=b"),
        ("--compress-blobs",),
        ("--no-unpack",),
        ("--snapshotter", "overlayfs"),
        ("--platform", "linux/amd64"),
    ],
    ids="-".join,
)
def test_options_of_import(both, archive, options):
    load(both, archive, "many-3", *options)
    both.collect()
    both.same("images", "ls", "-q")
    both.same("images", "ls")


@only_2
def test_import_from_stdin(both, archive):
    both.same("images", "import", "-", stdin=archive("small"))
    both.same("images", "ls")


@ways
def test_import_of_what_is_no_archive_fails(both, local):
    both.file("in.tar", b"kind: Pod\n" * 200)
    ours, real = both.each("images", "import", *local, "in.tar")
    assert (ours.code, real.code) == (1, 1)
    both.file("in.tar", b"")
    ours, real = both.each("images", "import", *local, "in.tar")
    assert (ours.code, real.code) == (1, 1)
    both.same("images", "ls")


@ways
@pytest.mark.parametrize("kind", ["docker", "raw"])
def test_docker_archives_are_imported(both, local, images, kind):
    path = both.ours.folder / "old.tar"
    transfer(Layout(images(kind)), Archive(path, f"docker.io/library/{kind}:1", format="docker"))
    load(both, lambda _: path.read_bytes(), kind, *local)
    both.collect()
    both.same("images", "ls")
    both.same("content", "ls", "-q")


@ways
def test_export(both, local, archive):
    load(both, archive, "multi", *local, "--all-platforms")
    load(both, archive, "many-3", *local, "--all-platforms")
    every = exported(both, *local, "--all-platforms", "all.tar", MULTI)
    host = exported(both, *local, "host.tar", MULTI)
    assert len(host) < len(every)
    exported(both, *local, "--platform", "linux/arm64/v8", "arm.tar", MULTI)
    exported(both, *local, "two.tar", "localhost/many-3:v1", "localhost/many-3:v0")
    exported(both, *local, "--skip-manifest-json", "plain.tar", MULTI)
    both.same("images", "export", *local, "none.tar", "nope", fails=True)
    both.same("images", "export", *local, "none.tar", fails=True)
    ours, real = both.each("images", "export", *local, "--platform", "linux/s390x", "none.tar", MULTI)
    assert (ours.code, real.code) == (1, 1)


@only_2
def test_export_without_layers_that_may_not_be_distributed(both, archive):
    load(both, archive, "foreign", "--local", "--all-platforms")
    exported(both, "--skip-non-distributable", "out.tar", "localhost/foreign:v1")


@ways
def test_export_to_stdout_is_the_archive_and_nothing_else(both, local, archive, tmp_path):
    load(both, archive, "small", *local)
    out = both.ours.raw("images", "export", *local, "-", "localhost/small:v1")
    (tmp_path / "out.tar").write_bytes(out)
    assert set(members(tmp_path / "out.tar")) >= {"index.json", "manifest.json"}


@ways
def test_tag_label_and_removal(both, local, archive):
    load(both, archive, "small", *local)
    name = "localhost/small:v1"
    both.same("images", "tag", *local, name, "localhost/a:1")
    if not local and both.ours.program == "ctr":
        both.same("images", "tag", name, "localhost/a:1", "localhost/b:2")  # moved without being asked
    else:
        both.same("images", "tag", *local, name, "localhost/a:1", fails=True)
        both.same("images", "tag", *local, "--force", name, "localhost/a:1")
    both.same("images", "tag", *local, "nope", "localhost/c:1", fails=True)
    both.same("images", "label", name, "a=b", "c=d")
    both.same("images", "label", name, "a=")
    both.same("images", "label", "nope", "a=b", fails=True)
    both.same("images", "ls")
    both.same("images", "rm", "localhost/a:1", "nope")
    both.same("images", "rm", "--sync", name)
    both.same("images", "ls")


@only_2
def test_tag_of_a_name_that_is_no_reference(both, archive):
    load(both, archive, "small")
    both.same("images", "tag", "localhost/small:v1", "UPPER:1", fails=True)
    both.same("images", "tag", "--skip-reference-check", "localhost/small:v1", "UPPER:1")
    both.same("images", "ls", "-q")


def test_conversion(both, archive):
    load(both, archive, "multi", *(["--local"] if both.ours.program == "ctr" else []), "--all-platforms", "--no-unpack")
    both.same("images", "convert", "--oci", "--all-platforms", MULTI, "localhost/converted:v1")
    both.same("images", "ls", "-q")


@only_2
def test_usage_mount_and_unmount_are_not_to_be_had(both, archive):
    """They need snapshots, which this daemon does not make: a clear answer, and no crash."""
    load(both, archive, "small")
    for command in (("images", "usage", "localhost/small:v1"), ("images", "mount", "localhost/small:v1", "here")):
        done = both.ours.ctr(*command)
        assert done.code == 1
        assert "isn't unpacked" in done.err or "does not unpack them: not implemented" in done.err
    assert both.ours.ctr("images", "unmount", "here").code in (0, 1)
    assert both.ours.ctr("images", "ls", "-q").out.split() == ["localhost/small:v1"]


# --------------------------------------------------------------------------------------------------------------- content


def test_content_is_ingested_shown_labelled_and_removed(both):
    both.same("content", "ingest", "--expected-digest", HELLO, "--expected-size", "5", "r", stdin=b"hello")
    both.same("content", "ingest", "r2", stdin=b"hello")
    both.same("content", "ls")
    both.same("content", "ls", "-q")
    assert both.same("content", "get", HELLO) == "hello"
    both.same("content", "label", HELLO, "a=b", "c=d")
    both.same("content", "ls", "labels.a==b")
    both.same("content", "ls", "labels.a==x")
    both.same("content", "label", HELLO, "a=")
    both.same("content", "ls")
    both.same("content", "ls", "size>1", fails=True)
    both.same("content", "active")
    both.same("content", "rm", HELLO)
    both.same("content", "rm", HELLO)
    both.same("content", "get", HELLO, fails=True)
    both.same("content", "get", "sha256:nonsense", fails=True)


def test_ingest_that_is_not_as_expected_stays_active(both):
    both.same("content", "ingest", "--expected-size", "99", "r", stdin=b"hello", fails=True)
    both.same("content", "active")
    both.same("content", "ingest", "--expected-digest", Digest.of(b"else"), "r3", stdin=b"hello", fails=True)


def test_content_is_edited(both):
    both.same("content", "ingest", "r", stdin=b"hello")
    both.file("edit.sh", b"#!/bin/sh\necho more >> $1\n")
    for world in (both.ours, both.real):
        (world.folder / "edit.sh").chmod(0o755)
    both.same("content", "edit", "--editor", "./edit.sh", HELLO)
    both.same("content", "ls", "-q")


def test_references_are_pruned(both, archive):
    load(both, archive, "small", *(["--local"] if both.ours.program == "ctr" else []), "--no-unpack", "--all-platforms")
    both.same("content", "prune", "references", "--dry")
    both.same("content", "prune", "references")
    both.same("content", "ls", "-q")


# ----------------------------------------------------------------------------------------------------------- namespaces


def test_namespaces(both):
    name = f"made{next(_numbers)}"
    both.same("namespaces", "create", name, "a=b")
    both.same("namespaces", "create", name, fails=True)
    both.same("namespaces", "create", "a..b", fails=True)
    both.same("namespaces", "label", name, "c=d")
    both.same("namespaces", "label", name, "a=")
    for quiet in ((), ("-q",)):
        ours, real = both.each("namespaces", "ls", *quiet)
        lines = [[line for line in done.evened() if line.startswith(name)] for done in (ours, real)]
        assert lines[0] == lines[1] != []
    both.same("namespaces", "rm", name)
    both.same("namespaces", "rm", name)


def test_namespace_with_something_in_it_is_not_removed(both):
    both.same("content", "ingest", "r", stdin=b"hello")
    both.same("content", "label", HELLO, "containerd.io/gc.root=yes")
    both.same("namespaces", "rm", both.ours.namespace, fails=True)
    both.same("content", "rm", HELLO)
    both.same("namespaces", "rm", both.ours.namespace)


# ---------------------------------------------------------------------------------------------------------------- leases


def test_leases(both):
    both.same("leases", "create", "--id", "l", "x=y")
    both.same("leases", "create", "--id", "l", fails=True)
    both.same("leases", "ls")
    both.same("leases", "ls", "-q")
    both.same("leases", "ls", "id==l")
    both.same("leases", "ls", "id==m")
    both.same("leases", "delete", "l")
    both.same("leases", "delete", "--sync", "l", fails=True)
    both.same("leases", "ls", "-q")
    ours, real = both.each("leases", "create")
    assert (ours.code, real.code) == (0, 0)
    assert ours.out.strip()


# ------------------------------------------------------------------------------------------------------------ the others


def test_version_and_health_of_the_daemon(both):
    ours, real = both.each("version")
    assert (ours.code, real.code) == (0, 0)
    assert [line.split(":")[0] for line in ours.out.splitlines()] == [
        line.split(":")[0] for line in real.out.splitlines()
    ]


def test_snapshots_are_none(both):
    both.same("snapshots", "ls")
    both.same("snapshots", "tree")
    both.same("snapshots", "usage")
    both.same("snapshots", "info", "nope", fails=True)
    both.same("snapshots", "rm", "nope", fails=True)


def test_containers_are_none_and_of_tasks_is_said_that_they_are_not_to_be_had(both):
    both.same("containers", "ls")
    both.same("containers", "ls", "-q")
    both.same("containers", "info", "nope", fails=True)
    for command in (("tasks", "ls"), ("containers", "create", "nope:1", "c")):
        done = both.ours.ctr(*command)
        assert done.code == 1
        assert done.error in ("not implemented", "not found")


def test_plugins_are_those_that_are_served(both):
    table = both.ours.ctr("plugins", "ls")
    assert table.code == 0
    assert "io.containerd.transfer.v1" in table.out
    assert "io.containerd.snapshotter.v1" not in table.out
    assert {line.split()[-1] for line in table.out.splitlines()[1:]} == {"ok"}


@only_2
def test_info_and_deprecations(both):
    ours, real = both.each("info")
    assert json.loads(ours.out)["server"].keys() == json.loads(real.out)["server"].keys()
    assert both.ours.ctr("deprecations", "list").code == 0


def test_events_are_told_while_they_happen(both):
    """ctr listens until it is ended."""
    told = []
    for world in (both.ours, both.real):
        with world.listening("events", f"namespace=={world.namespace}") as heard:
            while not heard():  # it may not be listening yet
                world.ctr("namespaces", "label", world.namespace, "a=b")
            told.append(heard()[0].partition(world.namespace)[2].split())
    assert told[0] == told[1]
    assert told[0][0] == "/namespaces/update"
