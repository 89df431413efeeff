"""What belongs to an image at a registry and where it lies: other repositories, cosign's tags, layers elsewhere, Docker Hub."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trustme

from support.http_proxy import ProxyServer
from support.registry_runs import (
    ALICE,
    NEW,
    OLD,
    REPOSITORY,
    Image,
    at,
    auth,
    check_shown,
    content,
    image,
    make_impatient,
    referrer,
    run,
)
from tranship import Archive, Limits, Registry, Selection, Store, transfer
from tranship.errors import DigestMismatch, NotFound, PolicyRefused, TranshipError, Truncated, Unsupported
from tranship.model import mediatypes
from tranship.model.digest import Digest
from tranship.testing.memory import Memory
from tranship.testing.registry import TLS, Basic, RegistryServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KIND = "application/vnd.example.sbom"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    make_impatient(monkeypatch)


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as running:
        yield running


# ---------------------------------------------------------------------------------------------------- several at once


def test_images_of_several_repositories_and_registries_come_in_one_call(server: RegistryServer) -> None:
    with RegistryServer() as other:
        made = [image(20 + number, 1000 + number) for number in range(4)]
        made[0].put(server, "a/one")
        made[1].put(server, "b/two", tag="v2")
        made[2].put(other, "c/three")
        made[3].put(other, "a/one")
        names = (
            f"{server.host}/a/one:1",
            f"{server.host}/b/two@{made[1].digest}",
            f"{other.host}/c/three:1",
            f"{other.host}/a/one:1",
        )
        images = Memory()
        transfer(Registry(names, plain_http=True, environment={}, hosts_dir="/nonexistent"), images)
    assert set(images.names) == set(names)
    assert images.blobs == {digest: raw for one in made for digest, raw in one.everything.items()}


def test_an_absent_one_of_several_is_named_and_nothing_is_stored(server: RegistryServer, tmp_path: Path) -> None:
    NEW.put(server)
    names = (f"{server.host}/{REPOSITORY}:1", f"{server.host}/{REPOSITORY}:2", f"{server.host}/{REPOSITORY}:3")
    store = Store(root=tmp_path)
    ran = run(Registry(names, plain_http=True, environment={}, hosts_dir="/nonexistent"), store)
    assert isinstance(ran.error, NotFound)
    assert "tag 2 of acme/app" in ran.told or "tag 3 of acme/app" in ran.told
    with store.open() as opened:
        assert not list(opened.namespace("default").images.list())


def test_one_image_under_several_names_is_sent_to_each_repository_once(server: RegistryServer) -> None:
    names = tuple(f"{server.host}/{name}" for name in ("a:1", "a:2", "b:1"))
    summary = transfer(NEW.memory(), Registry(names, plain_http=True, environment={}, hosts_dir="/nonexistent"))
    assert [root.name for root in summary.roots] == list(names)
    assert server.tags("a") == {"1": NEW.digest, "2": NEW.digest}
    assert server.tags("b") == {"1": NEW.digest}
    assert server.received("upload") == sum(map(len, NEW.blobs.values()))  # to the second repository they are mounted


def test_an_index_and_one_of_its_manifests_go_together(server: RegistryServer) -> None:
    child = {"mediaType": mediatypes.OCI_MANIFEST, "digest": NEW.digest, "size": len(NEW.raw)}
    raw = json.dumps({"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, "manifests": [child]}).encode()
    NEW.put(server, "from", tag="1-amd64")
    index = server.put_manifest("from", raw, mediatypes.OCI_INDEX, ["1"])
    names = tuple(f"{server.host}/from:{tag}" for tag in ("1", "1-amd64"))
    source = Registry(names, plain_http=True, environment={}, hosts_dir="/nonexistent")
    with RegistryServer() as other:
        transfer(source, at(other, name="to/"))
        assert other.tags("to/from") == {"1": index, "1-amd64": NEW.digest}


# --------------------------------------------------------------------------------------------------------------- which one


def test_the_digest_beside_a_tag_is_what_counts(server: RegistryServer) -> None:
    OLD.put(server)
    NEW.put(server)  # the tag has moved on
    images = Memory()
    transfer(at(server, name=f"{REPOSITORY}:1@{OLD.digest}"), images)
    assert images.blobs == OLD.everything
    ran = run(at(server, name=f"{REPOSITORY}:1@{Digest.of(b'nothing')}"), Memory())
    assert isinstance(ran.error, NotFound)


@pytest.mark.parametrize("kind", ["v1+prettyjws", "v1+json"])
def test_schema_1_is_refused_for_what_it_is(kind: str, server: RegistryServer) -> None:
    raw = json.dumps({"schemaVersion": 1, "name": REPOSITORY, "tag": "1", "fsLayers": [], "history": []}).encode()
    server.put_manifest(REPOSITORY, raw, f"application/vnd.docker.distribution.manifest.{kind}", ["1"], check=False)
    images = Memory()
    ran = run(at(server), images)
    assert isinstance(ran.error, Unsupported), ran.told
    assert "schema 1" in ran.told
    assert not images.blobs


# ------------------------------------------------------------------------------------------------------- what belongs to it


def cosign(server: RegistryServer, subject: Image, ending: str, number: int, repository: str = REPOSITORY) -> Image:
    """A signature as cosign keeps it: an image of its own under a tag made of the digest."""
    made = image(30 + number, 50)
    made.put(server, repository, tag=f"sha256-{subject.digest.hex}.{ending}")
    return made


@pytest.mark.parametrize("api", [True, False])
@pytest.mark.parametrize("prefix", [True, False])
def test_signatures_and_referrers_go_along_under_their_own_names(
    api: bool, prefix: bool, server: RegistryServer
) -> None:
    NEW.put(server)
    made = {
        f"sha256-{NEW.digest.hex}.{ending}": cosign(server, NEW, ending, n)
        for n, ending in enumerate(("sig", "att", "sbom"))
    }
    about = referrer(server, NEW, KIND, 0)
    signature = referrer(server, made[f"sha256-{NEW.digest.hex}.sig"], KIND, 1)  # a referrer of a referrer
    with RegistryServer(referrers=api) as other:
        summary = transfer(
            at(server), at(other, name="copy/" if prefix else "copy:2"), selection=Selection(referrers="")
        )
        repository = f"copy/{REPOSITORY}" if prefix else "copy"
        tags = other.tags(repository)
        assert {tag: digest for tag, digest in tags.items() if tag in made} == {
            tag: one.digest for tag, one in made.items()
        }
        assert tags["1" if prefix else "2"] == NEW.digest
        held = other.state.repositories[repository].manifests
        assert {about, signature} <= set(held)
        assert all((root.name or "").startswith(f"{other.host}/{repository}") for root in summary.roots)
        named = {root.descriptor.digest: root.name for root in summary.roots}
        assert named[about] == f"{other.host}/{repository}@{about}"
        again = transfer(
            at(other, name=f"{repository}:{'1' if prefix else '2'}"), Memory(), selection=Selection(referrers="")
        )
    assert {root.descriptor.digest for root in again.roots} == set(named)


def test_only_referrers_of_the_type_that_was_asked_for_come(server: RegistryServer) -> None:
    NEW.put(server)
    cosign(server, NEW, "sig", 0)
    wanted = referrer(server, NEW, KIND, 0)
    referrer(server, NEW, "application/vnd.example.other", 1)
    summary = transfer(at(server), Memory(), selection=Selection(referrers=KIND))
    assert [root.descriptor.digest for root in summary.roots if root.subject] == [wanted]


@pytest.mark.parametrize(
    "evil",
    [
        "sha256-../../../victim/manifests/1",
        "sha256-\x1b[2J",
        f"sha256-{NEW.digest.hex}.sig",
        f"sha256-{OLD.digest.hex}.../1",
        f"sha256-{OLD.digest.hex}",
    ],
)
def test_a_list_of_referrers_chooses_no_tags(evil: str) -> None:
    """Not another image's signature, not a place in another repository, not the list's own tag."""
    with RegistryServer(referrers=False) as server, RegistryServer() as other:
        OLD.put(server)
        about = referrer(server, OLD, KIND, 0)
        tag = f"sha256-{OLD.digest.hex}"
        listed = json.loads(server.content(REPOSITORY, tag))
        listed["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": evil}
        server.put_manifest(REPOSITORY, json.dumps(listed).encode(), mediatypes.OCI_INDEX, [tag])
        ran = run(at(server), at(other), selection=Selection(referrers=""))
        assert ran.error is None, ran.told
        assert other.tags(REPOSITORY) == {"1": OLD.digest}
        assert about in other.state.repositories[REPOSITORY].manifests
        assert list(other.state.repositories) == [REPOSITORY]
        assert ran.summary is not None
        assert f"{other.host}/{REPOSITORY}@{about}" in {root.name for root in ran.summary.roots}


@pytest.mark.parametrize("annotation", ["io.containerd.image.name", "org.opencontainers.image.ref.name"])
def test_a_list_of_referrers_names_no_images(annotation: str, tmp_path: Path) -> None:
    """Nor does an archive that was made of it, for whoever loads it."""
    with RegistryServer(referrers=False) as server:
        OLD.put(server)
        referrer(server, OLD, KIND, 0)
        tag = f"sha256-{OLD.digest.hex}"
        listed = json.loads(server.content(REPOSITORY, tag))
        listed["manifests"][0]["annotations"] = {annotation: "docker.io/library/alpine:3"}
        server.put_manifest(REPOSITORY, json.dumps(listed).encode(), mediatypes.OCI_INDEX, [tag])
        along = Selection(referrers="")
        transfer(at(server), Store(root=tmp_path / "store"), selection=along)
        transfer(at(server), Archive(tmp_path / "a.tar"), selection=along)
        transfer(Archive(tmp_path / "a.tar"), Store(root=tmp_path / "imported"))
        for name in ("store", "imported"):
            assert content(Store(root=tmp_path / name))[1] == [f"{server.host}/{REPOSITORY}:1"]
        assert b"alpine" not in (tmp_path / "a.tar").read_bytes()


# --------------------------------------------------------------------------------------------------------- foreign layers


def foreign(server: RegistryServer, elsewhere: str, user: str = "") -> tuple[Image, bytes]:
    """An image of which one layer is not at its registry, with the URL where it is said to be."""
    base = image(40, 2000)
    value = json.loads(base.raw)
    content = image(41, 90_000)
    layer = max(content.blobs, key=lambda digest: len(content.blobs[digest]))
    raw = content.blobs[layer]
    described = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": str(layer),
        "size": len(raw),
        "urls": [f"http://{user}{elsewhere}/v2/layers/blobs/{layer}"],
    }
    value["layers"].append(described)
    made = Image(json.dumps(value).encode(), base.blobs)
    for blob in base.blobs.values():
        server.put_blob(REPOSITORY, blob)
    server.put_manifest(REPOSITORY, made.raw, mediatypes.OCI_MANIFEST, ["1"], check=False)
    return made, raw


def test_foreign_layers_are_left_where_they_are(server: RegistryServer) -> None:
    with RegistryServer() as elsewhere:
        made, raw = foreign(server, elsewhere.host)
        elsewhere.put_blob("layers", raw)
        images = Memory()
        transfer(at(server), images)
        assert images.blobs == made.everything
        with RegistryServer() as other:
            transfer(at(server), at(other))
            assert other.tags(REPOSITORY) == {"1": made.digest}
        assert not elsewhere.requests


def test_foreign_layers_are_fetched_on_request_and_without_credentials() -> None:
    with RegistryServer(auth=auth("basic", ALICE)) as server, RegistryServer(auth=Basic(dict([ALICE]))) as guarded:
        with RegistryServer() as elsewhere:
            made, raw = foreign(server, elsewhere.host)
            elsewhere.put_blob("layers", raw)
            elsewhere.fault("drop", after=40_000, kind="blob.get")
            images = Memory()
            assert run(at(server, ALICE, foreign_urls=True), images, ALICE).error is None
            assert images.blobs == {**made.everything, **{d: raw for d in images.blobs if images.blobs[d] == raw}}
            assert raw in images.blobs.values()
            assert not [exchange for exchange in elsewhere.requests if exchange.authorization]
            assert len(elsewhere.requests) == 2  # taken up where it broke
        foreign(server, guarded.host)  # asks for a password, and does not get it
        ran = run(at(server, ALICE, foreign_urls=True), Memory(), ALICE)
        assert ran.error is not None
        assert not [exchange for exchange in guarded.requests if exchange.authorization]
        check_shown(server, ALICE)


def test_a_foreign_layer_whose_server_always_breaks_is_an_error(server: RegistryServer) -> None:
    with RegistryServer() as elsewhere:
        _, raw = foreign(server, elsewhere.host)
        elsewhere.put_blob("layers", raw)
        fault = elsewhere.fault("drop", after=0, kind="blob.get", times=None)
        ran = run(at(server, foreign_urls=True), Memory())
        assert isinstance(ran.error, Truncated)
        assert fault.hits <= 2 * (1 + 4)


def test_a_foreign_layer_of_other_bytes_is_refused(server: RegistryServer) -> None:
    with RegistryServer() as elsewhere:
        _, raw = foreign(server, elsewhere.host)
        elsewhere.put_blob("layers", raw)
        elsewhere.fault("wrong-bytes", times=None)
        images = Memory()
        ran = run(at(server, foreign_urls=True), images)
        assert isinstance(ran.error, DigestMismatch)
        assert not images.names


@pytest.mark.parametrize(
    "place",
    [
        "169.254.169.254",
        "169.254.169.254.",
        "2852039166",
        "0xa9.254.43518",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "127.0.0.1:1",
    ],
)
def test_a_foreign_layer_at_a_place_for_no_content_is_refused(place: str, server: RegistryServer) -> None:
    foreign(server, place)
    ran = run(at(server, foreign_urls=True), Memory())
    assert isinstance(ran.error, TranshipError)
    assert isinstance(ran.error, PolicyRefused) == (not place.startswith("127"))


# -------------------------------------------------------------------------------------------------------------- Docker Hub


def test_docker_hub_is_known_by_all_its_names(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("registry-1.docker.io").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    tls = TLS(tmp_path / "server.pem", tmp_path / "server.pem")
    with RegistryServer(tls=tls, strict=False, auth=auth("basic", ALICE)) as hub, ProxyServer(hub.port) as proxy:
        NEW.put(hub, "library/alpine", tag="3")
        config = {"auths": {"https://index.docker.io/v1/": {"username": ALICE[0], "password": ALICE[1]}}}
        (tmp_path / "config.json").write_text(json.dumps(config))
        environment = {"HTTPS_PROXY": f"http://{proxy.address}", "DOCKER_CONFIG": str(tmp_path)}
        for name in ("alpine:3", "docker.io/alpine:3", "index.docker.io/library/alpine:3"):
            images = Memory()
            source = Registry(name, ca_file=str(tmp_path / "ca.pem"), environment=environment, hosts_dir="/nonexistent")
            ran = run(source, images, ALICE)
            assert ran.error is None, ran.told
            assert list(images.names) == ["docker.io/library/alpine:3"]
        check_shown(hub, ALICE)
        assert all(exchange.headers.get("Host") == "registry-1.docker.io" for exchange in hub.requests)
        assert all("ns" not in exchange.query for exchange in hub.requests)
        ran = run(Registry("alpine:4", ca_file=str(tmp_path / "ca.pem"), environment=environment), Memory(), ALICE)
        assert "tag 4 of library/alpine is not at registry docker.io" in ran.told


# ------------------------------------------------------------------------------------------------------------------ ranges


@pytest.mark.parametrize("fault", [None, "ignore-range", "range-refused"])
def test_a_blob_in_ranges_comes_whole_whatever_the_registry_makes_of_them(
    fault: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tranship.endpoints.receiving._STRETCH", 1 << 20)
    monkeypatch.setattr("tranship.endpoints.receiving._ENOUGH", float("inf"))  # every connection is slow
    with RegistryServer() as server:
        NEW.put(server)
        if fault:
            server.fault(fault, times=None)
        store = Store(root=tmp_path, durability="process")
        assert run(at(server), store, limits=Limits(ranges=3)).error is None
        with store.open() as opened:
            space = opened.namespace("default")
            assert {
                i.digest: space.content.read_bytes(i.digest, 1 << 30) for i in space.content.walk()
            } == NEW.everything
        ranged = [exchange for exchange in server.requests if "Range" in exchange.headers]
        assert ranged
