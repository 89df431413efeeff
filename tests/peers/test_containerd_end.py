"""containerd as an end: ours, 2.1 and 1.6; by its Content and Images services, and by its Transfer service where it has one."""

import contextlib
import gzip
import io
import json
import os
import random
import tarfile
import threading
import uuid
from dataclasses import dataclass, replace

import pytest

pytest.importorskip("grpc", reason="grpcio is in the `daemon` extra")

from support import graphs
from support.images import tar_layout
from support.peers import temporary_home
from support.waiting import eventually
from tranship import (
    Archive,
    CancelToken,
    Containerd,
    Layout,
    Outcome,
    Platform,
    Registry,
    Selection,
    Store,
    connect,
    transfer,
)
from tranship._api.services.content.v1 import content_pb2 as co
from tranship._api.services.images.v1 import images_pb2 as im
from tranship._api.services.leases.v1 import leases_pb2 as le
from tranship.containerd.channel import Channel
from tranship.containerd.job import Job
from tranship.containerd.methods import Content, Images, Leases
from tranship.daemon.server import Daemon
from tranship.engine.memory import MemoryBlob
from tranship.errors import (
    AlreadyExists,
    Cancelled,
    DataLoss,
    NotFound,
    PermissionDenied,
    TranshipError,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from tranship.model.digest import Digest
from tranship.model.naming import ExtraName, Naming
from tranship.model.secret import Credential, Secret
from tranship.store import Store as OpenStore
from tranship.testing.conformance import absent, check_endpoint, check_repeats, check_round_trip, flipped, shortened
from tranship.testing.graphs import random_images
from tranship.testing.memory import Memory
from tranship.testing.registry import Basic, RegistryServer

ALICE = Credential(username="alice", password=Secret("secret"))
AMD64, ARM64, S390X = (Platform("linux", name) for name in ("amd64", "arm64", "s390x"))


@pytest.fixture(scope="module")
def our_daemon(tmp_path_factory):
    with (
        temporary_home() as home,
        OpenStore.open(tmp_path_factory.mktemp("store") / "root", durability="process") as store,
        Daemon(store, home.path / "run/t.sock") as daemon,
    ):
        yield daemon


@dataclass
class There:
    """A namespace of its own at one of the daemons."""

    address: str
    delegating: bool  # does it have a Transfer service?
    namespace: str

    @property
    def keeps_sha512(self):
        return "ctd.sock" not in self.address

    def end(self, *names, **options):
        return Containerd(names, address=self.address, namespace=self.namespace, **options)

    @property
    def channel(self):
        return Channel(self.address, namespace=self.namespace)

    def names(self):
        with self.channel as channel:
            return [image.name for image in channel.unary(Images.LIST, im.ListImagesRequest()).images]

    def collect(self, *, amid=False):
        """Collect; nothing of ours may hold anything any more, unless it is amid our work."""
        with self.channel as channel:
            assert amid or not channel.unary(Leases.LIST, le.ListRequest()).leases
            lease = channel.unary(Leases.CREATE, le.CreateRequest()).lease.id
            channel.unary(Leases.DELETE, le.DeleteRequest(id=lease, sync=True))

    def held(self):
        self.collect()
        with self.channel as channel:
            pages = channel.server_stream(Content.LIST, co.ListContentRequest())
            return {info.digest: dict(info.labels) for page in pages for info in page.info}


@pytest.fixture(params=["ours", "2.1", "1.7", "1.6"])
def there(request):
    namespace = f"e-{uuid.uuid4().hex[:8]}"
    match request.param:
        case "ours":
            return There(request.getfixturevalue("our_daemon").address, True, namespace)
        case "2.1":
            return There(str(request.getfixturevalue("containerd").address), True, namespace)
        case "1.7":
            return There(str(request.getfixturevalue("containerd_1_7").address), True, namespace)
        case _:
            return There(str(request.getfixturevalue("old_containerd").address), False, namespace)


transferring = pytest.mark.parametrize("there", ["ours", "2.1", "1.7"], indirect=True)
pulling = pytest.mark.parametrize("there", ["ours", "2.1"], indirect=True)  # 1.7 knows no plain HTTP, and no hosts


@pytest.fixture
def jobs(monkeypatch):
    """The transfers that were handed over."""
    done = []
    real = Job.run

    def run(self, source, destination):
        real(self, source, destination)
        done.append((type(source).__name__, type(destination).__name__))

    monkeypatch.setattr(Job, "run", run)
    return done


@pytest.fixture
def archive(images, tmp_path):
    return lambda kind: str(tar_layout(images(kind), tmp_path / f"{kind}.tar"))


def offer(layout, host, name, credential=lambda *_: None):
    end = Registry(f"{host}/{name}", plain_http=True, credential=credential, environment={})
    transfer(Layout(layout), end)
    return end


# -------------------------------------------------------------------------------------------- by content and images alone


def test_it_does_what_every_end_must(there):
    numbers = iter(range(100))

    def fresh():
        return replace(there.end(), namespace=f"{there.namespace}-{next(numbers)}")

    if there.keeps_sha512:
        check_endpoint(fresh, seeds=range(3))
        return
    for seed in [seed for seed in range(200) if not uses_sha512(seed)][:3]:
        check_round_trip(fresh(), seed)
        check_repeats(fresh(), seed)


def uses_sha512(seed):
    return any(digest.algorithm != "sha256" for digest in random_images(random.Random(seed)).blobs)


@pytest.mark.parametrize("damage", [flipped, shortened, absent])
def test_damaged_content_is_refused_and_gets_no_name(there, images, damage):
    source = unique(images("large"))
    damage(source)
    with pytest.raises((DataLoss, NotFound)):
        transfer(source, there.end())
    assert there.names() == []
    assert not there.held()


def test_what_a_daemon_cannot_keep_is_refused_clearly(there, images):
    if there.keeps_sha512:
        transfer(Layout(images("sha512")), there.end())
        return
    with pytest.raises(Unsupported, match="by sha256 alone"):
        transfer(Layout(images("sha512")), there.end())
    assert there.names() == []


@pytest.mark.parametrize("kind", ["small", "multi", "docker", "zstd", "raw", "many-3", "large", "tiny-30"])
def test_what_goes_in_comes_out_by_our_own_hands(there, images, tmp_path, kind):
    end = there.end(delegates=False)
    transfer(Layout(images(kind)), end)
    transfer(end, Layout(tmp_path / "out"))
    assert graphs.images(tmp_path / "out") == graphs.images(images(kind))
    (everything,) = [set().union(*graphs.images(images(kind)).values())]
    assert set(there.held()) == everything  # references are labels, and the lease is given back
    again = transfer(Layout(images(kind)), end)
    assert set(again.counts) == {Outcome.PRESENT}


def test_one_platform_is_taken_and_its_absence_said(there, images, tmp_path):
    transfer(Layout(images("multi")), there.end(), selection=Selection(platforms=(ARM64,)))
    with pytest.raises(NotFound, match="is not there"):
        transfer(there.end(delegates=False), Layout(tmp_path / "x"), selection=Selection(platforms=(AMD64,)))
    transfer(there.end(), Layout(tmp_path / "out"), selection=Selection(platforms=(ARM64,)))
    (root,) = graphs.index(images("multi"))
    index = json.loads(graphs.blob(images("multi"), root["digest"]))
    assert graphs.closure(tmp_path / "out", index["manifests"][1]["digest"])


def test_labels_and_names_are_stored_and_may_be_protected(there, images):
    transfer(Layout(images("small")), there.end("localhost/a:1", "localhost/b:1", labels={"x": "y"}))
    with there.channel as channel:
        listed = channel.unary(Images.LIST, im.ListImagesRequest()).images
        assert [(image.name, dict(image.labels)) for image in listed] == [
            ("localhost/a:1", {"x": "y"}),
            ("localhost/b:1", {"x": "y"}),
        ]
    with pytest.raises(AlreadyExists, match="is in containerd:localhost/a:1 already"):
        transfer(Layout(images("python")), there.end("localhost/a:1", clobber=False))
    transfer(Layout(images("python")), there.end("localhost/a:1"))


def test_pulled_content_notes_where_it_came_from(there, images):
    with RegistryServer() as server:
        transfer(offer(images("small"), server.host, "acme/app:1"), there.end("x:1", delegates=False))
        label = "containerd.io/distribution.source.127.0.0.1"
        assert {labels.get(label) for labels in there.held().values()} == {"acme/app"}
        before = len(server.requests)
        target = Registry(f"{server.host}/other/app:1", plain_http=True, credential=lambda *_: None, environment={})
        transfer(there.end("x:1", delegates=False), target)
        assert [e.kind for e in list(server.requests)[before:]].count("upload.mount") == 2


def unique(layout):
    """An image whose largest layer no namespace has: content is shared between them."""
    images = Memory()
    transfer(Layout(layout), images)
    (name,) = images.names
    manifest = json.loads(images.blobs.pop(images.names[name].digest))
    largest = max(manifest["layers"], key=lambda layer: layer["size"])
    raw = images.blobs.pop(Digest.parse(largest["digest"])) + uuid.uuid4().bytes
    largest |= {"digest": Digest.of(raw), "size": len(raw)}
    document = json.dumps(manifest).encode()
    images.blobs |= {Digest.of(raw): raw, Digest.of(document): document}
    images.names[name] = replace(images.names[name], digest=Digest.of(document), size=len(document))
    return images


class Breaking:
    """A source that gives half of every large blob, until it is mended; notes where those were opened."""

    kind = "memory"

    def __init__(self, images):
        self._images = images
        self.opened = []
        self.broken = True

    @contextlib.contextmanager
    def open_source(self, run):
        with self._images.open_source(run) as source:
            source.blob = self.blob
            yield source

    def blob(self, descriptor):
        outer, raw = self, self._images.blobs[descriptor.digest]

        class Half(MemoryBlob):
            def open(self, offset=0):
                if len(raw) < 1 << 20:
                    return super().open(offset)
                outer.opened.append(offset)
                return io.BytesIO(raw[offset : len(raw) // 2 if outer.broken else None])

        return Half(descriptor, raw)


def test_a_blob_that_was_cut_goes_on_where_it_was(there, images):
    original, back = unique(images("large")), Memory()
    source = Breaking(original)
    with pytest.raises(DataLoss):
        transfer(source, there.end())
    source.broken, source.opened = False, []
    transfer(source, there.end())
    assert any(offset > 100_000 for offset in source.opened)
    transfer(there.end(delegates=False), back)
    assert back.blobs == original.blobs


def test_bytes_left_by_somebody_else_under_the_same_ref_are_not_trusted(there, images):
    source = unique(images("large"))
    digest = max(source.blobs, key=lambda d: len(source.blobs[d]))
    with there.channel as channel, channel.stream(Content.WRITE) as call:
        call.send(co.WriteContentRequest(action=co.WRITE, ref=f"layer-{digest}", data=b"wrong" * 100))
        next(call)
        call.half_close()
        list(call)
    transfer(source, there.end())
    back = Memory()
    transfer(there.end(delegates=False), back)
    assert back.blobs == source.blobs


def test_names_are_looked_up_as_in_our_own_store(there, images, tmp_path):
    transfer(Layout(images("many-3")), there.end())
    one = transfer(there.end("localhost/many-3:v1", delegates=False), Layout(tmp_path / "a"))
    assert [root.name for root in one.roots] == ["localhost/many-3:v1"]
    two = transfer(there.end("localhost/many-3:v[01]", delegates=False), Layout(tmp_path / "b"))
    assert len(two.roots) == 2
    with pytest.raises(NotFound, match="there is no image 'nope' in namespace"):
        transfer(there.end("nope"), Layout(tmp_path / "c"))


def test_absent_daemon_is_named(tmp_path):
    with pytest.raises(Unavailable, match="no such socket"):
        transfer(Containerd("x", address=tmp_path / "no.sock"), Memory())


# ------------------------------------------------------------------------------------------------------------ delegation


@pytest.mark.parametrize("kind", ["small", "multi", "docker", "many-3", "large"])
def test_archives_go_in_and_out_whole(there, jobs, images, archive, tmp_path, kind):  # noqa: PLR0917  # fixtures
    transfer(Archive(archive(kind)), there.end())
    assert jobs == [("WireImportStream", "WireImageStore")] * there.delegating
    out = tmp_path / "out.tar"
    summary = transfer(there.end(), Archive(out))
    assert jobs[1:] == [("WireImageStore", "WireExportStream")] * there.delegating
    assert summary.bytes == sum(d.size for d in _objects(images(kind)))
    transfer(Archive(out), Layout(tmp_path / "out"))
    assert graphs.images(tmp_path / "out") == graphs.images(images(kind))
    there.collect()


def _objects(layout):
    memory = Memory()
    transfer(Layout(layout), memory)

    @dataclass
    class Sized:
        size: int

    return [Sized(len(raw)) for raw in memory.blobs.values()]


@transferring
def test_thirty_exports_are_whole(there, jobs, archive, tmp_path):
    transfer(Archive(archive("large")), there.end())
    runs = int(os.environ.get("TRANSHIP_EXPORTS", "30"))
    seen = set()
    for _ in range(runs):
        buffer = io.BytesIO()
        transfer(there.end("localhost/large:v1"), Archive(buffer))
        seen.add(buffer.getvalue().rstrip(b"\0"))
    assert len(jobs) == 1 + runs
    (data,) = seen
    (tmp_path / "x.tar").write_bytes(data + bytes(1024))
    with tarfile.open(tmp_path / "x.tar") as tar:
        assert len(tar.getmembers()) >= 8


@transferring
def test_export_of_platforms_compressed_and_without_the_extra_manifest(there, jobs, archive, tmp_path):
    transfer(Archive(archive("multi")), there.end())
    out = tmp_path / "out.tar.gz"
    arm = Selection(platforms=(ARM64,))
    transfer(there.end(), Archive(out, compression="gzip", docker_manifest=False), selection=arm)
    assert len(jobs) == 2
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(out.read_bytes()))) as tar:
        assert "manifest.json" not in tar.getnames()
        assert len([name for name in tar.getnames() if name.startswith("blobs/sha256/")]) == 5
    with pytest.raises(NotFound, match="matches linux/s390x"):
        transfer(there.end(), Archive(tmp_path / "no.tar"), selection=Selection(platforms=(S390X,)))
    assert not (tmp_path / "no.tar").exists()


@transferring
def test_what_cannot_be_asked_for_is_done_by_our_own_hands(there, jobs, images, archive, tmp_path):
    transfer(Archive(archive("multi"), "v1"), there.end("localhost/renamed:1"))
    transfer(there.end(), Archive(tmp_path / "a.tar", "localhost/other:2"))
    transfer(there.end(), Archive(tmp_path / "b.tar", format="docker"))
    transfer(there.end(), Archive(tmp_path / "c.tar"), selection=Selection(index="single", platforms=(ARM64,)))
    transfer(there.end(delegates=False), Archive(tmp_path / "d.tar"))
    transfer(Layout(images("small")), there.end())
    assert jobs == []
    assert all((tmp_path / f"{name}.tar").exists() for name in "abcd")


@transferring
def test_partial_image_is_exported_as_it_is(there, jobs, images, tmp_path):
    """The daemon would demand all platforms, or the host's."""
    transfer(Layout(images("multi")), there.end(), selection=Selection(platforms=(ARM64,)))
    summary = transfer(there.end(), Archive(tmp_path / "out.tar"))
    assert jobs == []
    assert [(part.selected, part.total) for part in summary.partial] == [(1, 3)]


@transferring
def test_archive_of_some_platforms_is_imported_all_the_same(there, jobs, images, tmp_path):
    path = tmp_path / "arm.tar"
    transfer(Layout(images("multi")), Archive(path), selection=Selection(platforms=(ARM64,)))
    transfer(Archive(path), there.end())
    assert there.names() == ["localhost/multi:v1"]
    assert jobs == []  # the daemon wanted all that the index names


@transferring
def test_nameless_images_get_a_name(there, jobs, images, tmp_path):
    path = tmp_path / "nameless.tar"
    layout = tmp_path / "layout"
    transfer(Layout(images("small")), Layout(layout))
    index = json.loads((layout / "index.json").read_text())
    for entry in index["manifests"]:
        entry.pop("annotations")
    (layout / "index.json").write_text(json.dumps(index))
    tar_layout(layout, path)
    transfer(Archive(str(path)), there.end())
    assert len(jobs) == 1
    (name,) = there.names()
    assert name.startswith("import-")
    assert name.endswith(index["manifests"][0]["digest"])


@transferring
def test_naming_rules_travel(there, jobs, archive):
    rules = Naming(extra=(ExtraName(name="localhost/many-3", is_prefix=True),))
    transfer(Archive(archive("many-3")), there.end(naming=rules, labels={"a": "b"}))
    assert there.names() == [f"localhost/many-3:v{n}" for n in range(3)]
    assert len(jobs) == 1


@pulling
def test_pull_and_push_go_past_us(there, jobs, images):
    with RegistryServer(auth=Basic({"alice": "secret"})) as server:
        source = offer(images("multi"), server.host, "app:1", ALICE)
        summary = transfer(source, there.end("localhost/x:1", labels={"a": "b"}))
        assert there.names() == ["localhost/x:1"]
        assert sum(summary.counts.values()) == len(_objects(images("multi")))
        again = transfer(source, there.end("localhost/x:1"))
        assert set(again.counts) == {Outcome.PRESENT}
        target = replace(source, names=f"{server.host}/copy:2")
        pushed = transfer(there.end("localhost/x:1"), target)
        assert [root.name for root in pushed.roots] == [f"{server.host}/copy:2"]
        assert server.tags("copy")["2"] == server.tags("app")["1"]
        assert len(jobs) == 3
        with pytest.raises((Unauthenticated, PermissionDenied)):
            wrong = Credential(username="alice", password=Secret("wrong"))
            transfer(replace(source, credential=wrong), there.end("localhost/y:1"))
    there.collect()


@transferring
def test_pull_of_a_platform_that_is_not_there_leaves_names_as_they_were(there, jobs, images):
    with RegistryServer() as server:
        source = offer(images("multi"), server.host, "app:1")
        transfer(Layout(images("small")), there.end("localhost/old:1"))
        for name in ("localhost/old:1", "localhost/new:1"):
            with pytest.raises(NotFound, match="matches linux/s390x"):
                transfer(source, there.end(name), selection=Selection(platforms=(S390X,)))
    assert there.names() == ["localhost/old:1"]
    back = Memory()
    transfer(there.end(delegates=False), back)
    assert len(back.blobs) == 3


@pulling
def test_pull_that_finds_a_platform_absent_keeps_what_its_name_was_of(there, images, monkeypatch):
    real = Job.run

    def run(self, source, destination):
        real(self, source, destination)
        there.collect(amid=True)

    with RegistryServer() as server:
        source = offer(images("multi"), server.host, "app:1")
        transfer(Layout(images("small")), there.end("localhost/old:1"))
        monkeypatch.setattr(Job, "run", run)
        with pytest.raises(NotFound, match="matches linux/s390x"):
            transfer(source, there.end("localhost/old:1"), selection=Selection(platforms=(S390X,)))
    there.collect()
    back = Memory()
    transfer(there.end(delegates=False), back)
    assert len(back.blobs) == 3


@pulling
def test_failing_function_for_credentials_is_what_one_hears(there, images):
    def broken(_host, _repository):
        raise RuntimeError("the helper is broken")

    with RegistryServer(auth=Basic({"alice": "secret"})) as server:
        source = offer(images("small"), server.host, "app:1", ALICE)
        with pytest.raises(RuntimeError, match="helper is broken"):
            transfer(replace(source, credential=broken), there.end("localhost/y:1"))
    assert there.names() == []


@transferring
def test_tag(there, jobs, images):
    transfer(Layout(images("small")), there.end("localhost/a:1"))
    summary = transfer(there.end("localhost/a:1"), there.end("localhost/b:1", "localhost/c:1"))
    assert jobs == [("WireImageStore", "WireImageStore")]
    assert [root.name for root in summary.roots] == ["localhost/b:1", "localhost/c:1"]
    assert there.names() == ["localhost/a:1", "localhost/b:1", "localhost/c:1"]


def test_another_namespace_is_filled_without_moving_what_is_shared(there, images):
    transfer(Layout(images("large")), there.end("localhost/a:1"))
    other = replace(there.end(), namespace=f"{there.namespace}-2")
    transfer(there.end("localhost/a:1"), other)
    back = Memory()
    transfer(other, back)
    assert len(back.blobs) == 4


@transferring
def test_transfer_that_is_cancelled_ends_soon_and_leaves_nothing(there, archive):
    reading, writing = os.pipe()
    token = CancelToken()
    failed = []

    def work():
        with open(reading, "rb", buffering=0) as pipe:
            try:
                transfer(Archive(pipe), there.end(), selection=Selection(all_platforms=True), cancel=token)
            except TranshipError as error:
                failed.append(error)

    with open(archive("large"), "rb") as file:
        os.write(writing, file.read(50_000))
    thread = threading.Thread(target=work)
    thread.start()
    with there.channel as channel:
        eventually(lambda: channel.unary(Leases.LIST, le.ListRequest()).leases)
        token.cancel("enough")
        eventually(lambda: not channel.unary(Leases.LIST, le.ListRequest()).leases)
    os.close(writing)
    thread.join(30)
    assert isinstance(failed[0], Cancelled)
    assert there.names() == []


@transferring
def test_export_whose_file_cannot_be_written_says_so(there, archive, tmp_path):
    transfer(Archive(archive("large")), there.end())

    class Full:
        def write(self, chunk):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        transfer(there.end("localhost/large:v1"), Archive(Full()))
    with pytest.raises((OSError, TranshipError)):
        transfer(there.end("localhost/large:v1"), Archive(tmp_path / "no/such/folder/x.tar"))
    there.collect()


# ---------------------------------------------------------------------------------------------------------------- remote


@pulling
def test_remote_transfers_between_ends_of_ours(there, images, archive, tmp_path):
    remote = connect(there.address, namespace=there.namespace)
    (loaded,) = remote.transfer(Archive(archive("multi")), Store())
    assert loaded.name == "localhost/multi:v1"
    remote.transfer(Store("localhost/multi:v1"), Store("localhost/tagged:1"))
    assert there.names() == ["localhost/multi:v1", "localhost/tagged:1"]
    remote.transfer(Store("localhost/multi:v1"), Archive(tmp_path / "out.tar"))
    transfer(Archive(tmp_path / "out.tar"), Layout(tmp_path / "out"))
    assert graphs.images(tmp_path / "out") == graphs.images(images("multi"))
    with RegistryServer(auth=Basic({"alice": "secret"})) as server:
        end = Registry(f"{server.host}/app:1", plain_http=True, credential=ALICE, environment={})
        remote.transfer(Store("localhost/multi:v1"), end)
        (pulled,) = remote.transfer(end, Store("localhost/pulled:1"))
        assert (pulled.name, pulled.descriptor.digest) == ("localhost/pulled:1", loaded.descriptor.digest)
        with pytest.raises(NotFound):
            remote.transfer(replace(end, names=f"{server.host}/nope:1"), Store("x"))
    with pytest.raises(Unsupported, match="cannot be sent"):
        remote.transfer(replace(end, insecure=True), Store("x"))
    with pytest.raises(Unsupported, match="selection"):
        remote.transfer(Store("x"), Archive(tmp_path / "y.tar"), selection=Selection(index="rewrite"))
    there.collect()


@pytest.mark.parametrize("there", ["ours"], indirect=True)
def test_remote_does_what_containerd_cannot(there, images, tmp_path):
    remote = connect(there.address, namespace=there.namespace)
    with RegistryServer() as one, RegistryServer() as two:
        source = offer(images("multi"), one.host, "app:1")
        remote.transfer(source, replace(source, names=f"{two.host}/copy:2"))
        assert two.tags("copy") == {"2": one.tags("app")["1"]}
        remote.transfer(source, Archive(tmp_path / "out.tar"))
        remote.transfer(Archive(tmp_path / "out.tar"), replace(source, names=f"{two.host}/third:3"))
        assert two.tags("third") == {"3": one.tags("app")["1"]}
        transfer(Layout(images("many-3")), there.end())
        remote.transfer(
            Store(tuple(f"localhost/many-3:v{n}" for n in range(3))), replace(source, names=f"{two.host}/team/")
        )
        assert set(two.tags("team/many-3")) == {"v0", "v1", "v2"}


@pytest.mark.parametrize("there", ["1.6"], indirect=True)
def test_containerd_without_the_service_says_so(there, tmp_path):
    with pytest.raises(Unsupported):
        connect(there.address, namespace=there.namespace).transfer(Store("x"), Archive(tmp_path / "x.tar"))
    assert not (tmp_path / "x.tar").exists()
