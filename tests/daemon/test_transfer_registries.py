"""Pull, push and what containerd cannot do, through the Transfer service: content, labels, platforms, credentials."""

import base64
import json
import threading

import pytest

from support import graphs
from support.transfers import registry
from tranship import Layout, Registry
from tranship._api.services.leases.v1 import leases_pb2 as le
from tranship._api.types.transfer import registry_pb2
from tranship.containerd.codec import pack
from tranship.containerd.credentials import encode_credential
from tranship.containerd.methods import Leases
from tranship.containerd.wire import WireExportStream, WireImageStore, WireImportStream, WireRegistry, WireUnpack
from tranship.daemon import asking
from tranship.endpoints.store import Store
from tranship.engine.transfer import transfer
from tranship.errors import (
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unsupported,
)
from tranship.model.digest import Digest
from tranship.model.naming import ExtraName
from tranship.model.platform import Platform
from tranship.model.secret import Credential, Secret
from tranship.testing.registry import Basic, RegistryServer, Token

AMD64, ARM64, S390X = (Platform("linux", name) for name in ("amd64", "arm64", "s390x"))
ALICE = Credential(username="alice", password=Secret("secret"))


@pytest.fixture
def server():
    with RegistryServer() as running:
        yield running


def nobody(_host, _repository):
    return None


def offer(lab, server, kind, name="app:1", credential=nobody):
    """Put an image at the registry; its name there."""
    transfer(
        Layout(lab.images(kind)),
        Registry(f"{server.host}/{name}", plain_http=True, credential=credential, environment={}),
    )
    return f"{server.host}/{name}"


def back(lab, name="app:1"):
    """The images of the daemon's store, as a layout."""
    transfer(Store(name, opened=lab.store, namespace="lab"), Layout(lab.folder / "back"))
    return graphs.images(lab.folder / "back")


# ------------------------------------------------------------------------------------------------------------------ pull


@pytest.mark.parametrize("kind", ["small", "multi", "docker", "zstd", "large"])
def test_pull_brings_every_byte_and_its_name(lab, server, kind):
    offer(lab, server, kind)
    lab.client.transfer(registry(server.host, "app:1"), WireImageStore(name="example.com/app:1", labels={"a": "b"}))
    assert lab.names() == ["example.com/app:1"]
    assert lab.space.images.get("example.com/app:1").labels == {"a": "b"}
    lab.store.gc()
    assert back(lab, "example.com/app:1") == graphs.images(lab.images(kind))
    assert not lab.space.leases.list()


def test_pull_notes_where_content_came_from_and_what_it_needs(lab, server):
    offer(lab, server, "small", "one/app:1")
    offer(lab, server, "small", "two/app:1")
    for name in ("two/app:1", "one/app:1", "one/app:1"):
        lab.client.transfer(registry(server.host, name), WireImageStore(name="x"))
    target = lab.space.images.get("x").target
    manifest = json.loads(lab.read(target.digest))
    source = {"containerd.io/distribution.source.127.0.0.1": "one/app,two/app"}
    labels = {info.digest: info.labels for info in lab.space.content.walk()}
    layer, config = manifest["layers"][0]["digest"], manifest["config"]["digest"]
    assert labels == {
        layer: source,
        config: source,
        target.digest: {
            **source,
            "containerd.io/gc.ref.content.config": config,
            "containerd.io/gc.ref.content.l.0": layer,
        },
    }


def test_pull_of_a_platform_brings_others_only_as_metadata_or_not_at_all(lab, server):
    offer(lab, server, "multi")
    (root,) = graphs.index(lab.images("multi"))
    manifests = json.loads(graphs.blob(lab.images("multi"), root["digest"]))["manifests"]
    closures = [graphs.closure(lab.images("multi"), m["digest"]) for m in manifests]
    source, arm64 = registry(server.host, "app:1"), WireImageStore(name="x", platforms=(ARM64,))
    lab.client.transfer(source, arm64)
    assert lab.held() == {root["digest"], *closures[1]}
    lab.client.transfer(source, WireImageStore(name="x", platforms=(ARM64,), all_metadata=True))
    configs = {json.loads(graphs.blob(lab.images("multi"), m["digest"]))["config"]["digest"] for m in manifests}
    assert lab.held() >= {*closures[1], *configs, *(m["digest"] for m in manifests)}
    assert not closures[0] <= lab.held()
    with pytest.raises(NotFound, match="matches linux/s390x"):
        lab.client.transfer(source, WireImageStore(name="y", platforms=(S390X,), all_metadata=True))
    assert lab.names() == ["x"]


@pytest.mark.parametrize("all_metadata", [False, True])
def test_pull_stops_at_the_limit_of_manifests_the_best_first(lab, server, all_metadata):
    offer(lab, server, "multi")
    (root,) = graphs.index(lab.images("multi"))
    arm64 = json.loads(graphs.blob(lab.images("multi"), root["digest"]))["manifests"][1]["digest"]
    wanted = WireImageStore(name="x", platforms=(ARM64, AMD64), all_metadata=all_metadata, manifest_limit=1)
    lab.client.transfer(registry(server.host, "app:1"), wanted)
    assert lab.held() == {root["digest"], *graphs.closure(lab.images("multi"), arm64)}


def test_pull_passes_over_the_wish_to_unpack(lab, server):
    """ctr sends it by default; a daemon without snapshotters must not fail for it."""
    offer(lab, server, "small")
    unpacks = (WireUnpack(platform=AMD64, snapshotter="overlayfs"), WireUnpack())
    lab.client.transfer(registry(server.host, "app:1"), WireImageStore(name="x", unpacks=unpacks))
    assert lab.names() == ["x"]


def test_pull_gives_every_further_name(lab, server):
    offer(lab, server, "small")
    names = (ExtraName(name="b"), ExtraName(name="c"), ExtraName(name="unused", is_prefix=True))
    lab.client.transfer(registry(server.host, "app:1"), WireImageStore(name="a", extra_references=names))
    assert lab.names() == ["a", "b", "c"]
    with pytest.raises(NotFound, match="no image name found"):
        lab.client.transfer(registry(server.host, "app:1"), WireImageStore())


def test_pull_under_a_lease_leaves_its_content_to_the_lease(lab, server):
    offer(lab, server, "small")
    lab.channel.unary(Leases.CREATE, le.CreateRequest(id="mine"))
    client = type(lab.client)(lab.channel.with_lease("mine"))
    client.transfer(registry(server.host, "app:1"), WireImageStore(name="x"))
    lab.space.images.delete("x")
    assert len(lab.held()) == 3
    lab.space.leases.delete("mine")
    assert not lab.held()


@pytest.mark.parametrize(
    "reference",
    ["", "app", "app:1", "example.com/app", "example.com/", "https://example.com/app:1", "example.com/APP:1"],
)
def test_reference_must_say_everything(lab, reference):
    with pytest.raises(InvalidArgument):
        lab.client.transfer(WireRegistry(reference=reference), WireImageStore(name="x"))


def test_what_a_registry_lacks_is_not_found(lab, server):
    with pytest.raises(NotFound, match="nope"):
        lab.client.transfer(registry(server.host, "nope:1"), WireImageStore(name="x"))
    assert lab.client.events[-1].event.startswith("Failed pull: ")
    assert lab.names() == []


def test_corrupt_content_of_a_registry_is_refused(lab, server):
    offer(lab, server, "small")
    server.fault("wrong-bytes", times=None)
    with pytest.raises(DataLoss):
        lab.client.transfer(registry(server.host, "app:1"), WireImageStore(name="x"))
    assert lab.client.events[-1].event.startswith("Failed pull: ")
    assert lab.names() == []
    assert not lab.space.leases.list()


def test_hosts_dir_of_the_request_leads_to_a_mirror(lab, server):
    offer(lab, server, "small", "app:1")
    hosts = lab.folder / "hosts/registry.invalid"
    hosts.mkdir(parents=True)
    (hosts / "hosts.toml").write_text(f'server = "http://{server.host}"\n')
    source = WireRegistry(reference="registry.invalid/app:1", host_dir=str(lab.folder / "hosts"))
    lab.client.transfer(source, WireImageStore(name="x"))
    assert lab.names() == ["x"]


def test_headers_of_the_request_go_with_every_request(lab, server):
    offer(lab, server, "small")
    seen = len(server.requests)
    lab.client.transfer(registry(server.host, "app:1", headers={"X-Mine": "yes"}), WireImageStore(name="x"))
    assert all(exchange.headers.get("X-Mine") == "yes" for exchange in list(server.requests)[seen:])


# ------------------------------------------------------------------------------------------------------------------ push


@pytest.mark.parametrize("kind", ["small", "multi", "docker", "zstd", "large"])
def test_push_takes_every_byte_there(lab, server, kind):
    lab.fill(kind)
    lab.client.transfer(WireImageStore(name=f"localhost/{kind}:v1"), registry(server.host, "app:1"))
    source = Registry(f"{server.host}/app:1", plain_http=True, credential=nobody, environment={})
    transfer(source, Layout(lab.folder / "out"))
    assert graphs.images(lab.folder / "out") == graphs.images(lab.images(kind))


def test_push_needs_an_image_by_its_exact_name(lab, server):
    lab.fill("small")
    for name in ("nope", "localhost/*", "localhost/small"):
        with pytest.raises(NotFound, match=r'^image ".*": not found$'):
            lab.client.transfer(WireImageStore(name=name), registry(server.host, "app:1"))


def test_push_of_one_platform_offers_the_index_as_it_is(lab, server):
    lab.fill("multi")
    source = WireImageStore(name="localhost/multi:v1", platforms=(ARM64,))
    with pytest.raises(FailedPrecondition):  # this registry wants every child
        lab.client.transfer(source, registry(server.host, "app:1"))
    with RegistryServer(sparse_indexes=True) as lenient:
        lab.client.transfer(source, registry(lenient.host, "app:1"))
        (root,) = graphs.index(lab.images("multi"))
        assert lenient.tags("app") == {"1": root["digest"]}
        arm64 = json.loads(graphs.blob(lab.images("multi"), root["digest"]))["manifests"][1]["digest"]
        assert lenient.content("app", arm64)


def test_push_of_an_image_that_is_not_whole_says_what_is_missing(lab, server):
    lab.fill("multi")
    (root,) = graphs.index(lab.images("multi"))
    index = json.loads(graphs.blob(lab.images("multi"), root["digest"]))
    layer = json.loads(graphs.blob(lab.images("multi"), index["manifests"][0]["digest"]))["layers"][2]["digest"]
    lab.space.content.delete(Digest.parse(layer))
    with pytest.raises(NotFound, match=layer[:19]):
        lab.client.transfer(WireImageStore(name="localhost/multi:v1"), registry(server.host, "app:1"))
    assert server.tags("app") == {}


def test_pushed_blobs_are_mounted_from_where_they_were_pulled(lab, server):
    offer(lab, server, "small", "one/app:1")
    lab.client.transfer(registry(server.host, "one/app:1"), WireImageStore(name="x"))
    before = len(server.requests)
    lab.client.transfer(WireImageStore(name="x"), registry(server.host, "two/app:1"))
    kinds = [exchange.kind for exchange in list(server.requests)[before:]]
    assert kinds.count("upload.mount") == 2
    assert "upload.finish" not in kinds


# ------------------------------------------------------------------------------------------------- what containerd cannot


def test_registry_to_registry(lab, server):
    offer(lab, server, "multi")
    with RegistryServer() as other:
        words = lab.client.transfer(registry(server.host, "app:1"), registry(other.host, "copy:2"))
        assert other.tags("copy") == {"2": server.tags("app")["1"]}
    assert (words[0], words[-1]) == ("Copying", "Completed copy")
    assert not lab.held()


def test_registry_to_export_stream(lab, server):
    offer(lab, server, "multi")
    data = lab.client.export(source=registry(server.host, "app:1"), all_platforms=True)
    lab.client.load(data)
    (name,) = lab.names()
    assert back(lab, name) == graphs.images(lab.images("multi"))


def test_import_stream_to_registry(lab, server):
    with lab.client.stream() as stream:
        data = lab.archive("multi")
        thread = threading.Thread(target=lab.client._send, args=(stream, data))
        thread.start()
        lab.client.transfer(WireImportStream(stream=stream.id), registry(server.host, "app:1"))
        thread.join(30)
    assert list(server.tags("app")) == ["1"]


def test_several_images_in_one_push_go_below_a_prefix(lab, server):
    lab.fill("many-3")
    lab.fill("small")
    extra = (ExtraName(name="localhost/many-3", is_prefix=True), ExtraName(name="localhost/small:v1"))
    source = WireImageStore(extra_references=extra)
    lab.client.transfer(source, registry(server.host, "team/"))
    assert set(server.tags("team/many-3")) == {"v0", "v1", "v2"}
    assert set(server.tags("team/small")) == {"v1"}
    with pytest.raises(InvalidArgument, match="4 images"):
        lab.client.transfer(source, registry(server.host, "one:1"))


def test_ends_that_are_on_the_wrong_side_are_not_implemented(lab):
    with lab.client.stream() as stream:
        for source, destination in (
            (WireExportStream(stream=stream.id), WireImageStore(name="x")),
            (WireImageStore(name="x"), WireImportStream(stream=stream.id)),
        ):
            with pytest.raises(Unsupported, match="method Transfer not implemented for containerd"):
                lab.client.transfer(source, destination)


# ----------------------------------------------------------------------------------------------------------- credentials


@pytest.mark.parametrize("auth", [Basic({"alice": "secret"}), Token({"alice": "secret"})], ids=["basic", "token"])
def test_client_is_asked_once_for_each_host(lab, auth):
    with RegistryServer(auth=auth) as server:
        offer(lab, server, "python", credential=ALICE)
        with lab.client.answering(lambda _: encode_credential(ALICE)) as (stream, asked):
            lab.client.transfer(registry(server.host, "app:1", auth_stream=stream), WireImageStore(name="x"))
        assert [(q.host, q.reference) for q in asked] == [(server.host, f"{server.host}/app:1")]
        with lab.client.answering(lambda _: encode_credential(ALICE)) as (stream, asked):
            lab.client.transfer(WireImageStore(name="x"), registry(server.host, "other:2", auth_stream=stream))
        assert len(asked) == 1
        assert list(server.tags("other")) == ["2"]


def test_whole_header_of_the_client_is_used(lab):
    """containerd reads it and drops it."""
    header = "Basic " + base64.b64encode(b"alice:secret").decode()
    answer = pack(registry_pb2.AuthResponse(authType=registry_pb2.HEADER, secret=header))
    with RegistryServer(auth=Basic({"alice": "secret"})) as server:
        offer(lab, server, "small", credential=ALICE)
        with lab.client.answering(lambda _: answer) as (stream, _asked):
            lab.client.transfer(registry(server.host, "app:1", auth_stream=stream), WireImageStore(name="x"))
    assert lab.names() == ["x"]


@pytest.mark.parametrize("credential", [None, Credential(username="alice", password=Secret("wrong"))])
def test_wrong_credentials_are_unauthenticated_and_asked_for_once(lab, credential):
    with RegistryServer(auth=Basic({"alice": "secret"})) as server:
        offer(lab, server, "small", credential=ALICE)
        with (
            lab.client.answering(lambda _: encode_credential(credential)) as (stream, asked),
            pytest.raises((Unauthenticated, PermissionDenied)),
        ):
            lab.client.transfer(registry(server.host, "app:1", auth_stream=stream), WireImageStore(name="x"))
    assert len(asked) == 1


def test_client_that_does_not_answer_is_not_waited_for_without_end(lab, monkeypatch):
    """containerd waits for ever."""
    monkeypatch.setattr(asking.Asking.__init__, "__defaults__", (0.2,))
    with RegistryServer(auth=Basic({"alice": "secret"})) as server:
        with (
            lab.client.answering(lambda _: None) as (stream, asked),
            pytest.raises(DeadlineExceeded, match="did not answer"),
        ):
            lab.client.transfer(registry(server.host, "app:1", auth_stream=stream), WireImageStore(name="x"))
        assert len(asked) == 1


def test_client_that_answers_no_more_is_unauthenticated(lab):
    with RegistryServer(auth=Basic({"alice": "secret"})) as server, lab.client.stream() as stream:
        stream.close()
        with pytest.raises(Unauthenticated, match="answers no more"):
            lab.client.transfer(registry(server.host, "app:1", auth_stream=stream.id), WireImageStore(name="x"))


def test_answer_of_another_kind_is_refused(lab):
    with (
        RegistryServer(auth=Basic({"alice": "secret"})) as server,
        lab.client.answering(lambda _: pack(registry_pb2.OCIRegistry())) as (stream, _),
        pytest.raises(InvalidArgument, match="AuthResponse"),
    ):
        lab.client.transfer(registry(server.host, "app:1", auth_stream=stream), WireImageStore(name="x"))


def test_without_an_auth_stream_the_daemons_own_user_is_not_shown(lab, monkeypatch):
    with RegistryServer(auth=Basic({"alice": "secret"})) as server:
        offer(lab, server, "small", credential=ALICE)
        (lab.folder / "config.json").write_text(json.dumps({"auths": {server.host: {"auth": "YWxpY2U6c2VjcmV0"}}}))
        monkeypatch.setenv("DOCKER_CONFIG", str(lab.folder))
        with pytest.raises((Unauthenticated, PermissionDenied)):
            lab.client.transfer(registry(server.host, "app:1"), WireImageStore(name="x"))
