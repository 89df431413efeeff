"""Where images go at a registry: to names, below a prefix, or where their own names say; and what is refused there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support import graphs
from tranship import Archive, Layout, Platform, Registry, Selection, Store, plan, transfer
from tranship.endpoints.several import Several, together
from tranship.errors import AlreadyExists, InvalidArgument, NotFound
from tranship.model.mediatypes import OCI_MANIFEST
from tranship.model.secret import Credential, Secret
from tranship.testing.registry import Basic, RegistryServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as running:
        yield running


def nobody(_host: str, _repository: str) -> None:
    """No credentials, wherever the user of this machine may keep some."""


def at(server: RegistryServer, *names: str, **options: Any) -> Registry:
    full = tuple(f"{server.host}/{name}" for name in names)
    return Registry(full, **{"credential": nobody, "environment": {}, "plain_http": True, **options})


@pytest.fixture
def store(server: RegistryServer, images: Callable[[str], Path], tmp_path: Path) -> Store:
    """A store with images called after the registry, and one that is not."""
    made = Store(root=tmp_path / "store")
    for kind, name in (
        ("small", f"{server.host}/a:1"),
        ("multi", f"{server.host}/b:2"),
        ("small", "docker.io/library/c:3"),
    ):
        transfer(Layout(images(kind)), Store(name, root=tmp_path / "store"))
    return made


def named(store: Store, *names: str) -> Store:
    return Store(names, root=store.root)


def test_images_without_a_place_go_where_their_names_say(server: RegistryServer, store: Store) -> None:
    summary = transfer(named(store, f"{server.host}/a:1", f"{server.host}/b:2"), at(server))
    assert {root.name for root in summary.roots} == {f"{server.host}/a:1", f"{server.host}/b:2"}
    assert [list(server.tags(name)) for name in ("a", "b")] == [["1"], ["2"]]


def test_one_image_gets_every_name_also_when_it_has_one_of_them_already(server: RegistryServer, store: Store) -> None:
    one = named(store, f"{server.host}/a:1")
    transfer(one, at(server, "a:1"))
    summary = transfer(one, at(server, "a:1", "a:2", "d:1"))
    assert {root.name for root in summary.roots} == {f"{server.host}/{name}" for name in ("a:1", "a:2", "d:1")}
    assert server.tags("a")["1"] == server.tags("a")["2"] == server.tags("d")["1"]


def test_a_repeat_names_the_image_as_it_is_there(server: RegistryServer, store: Store) -> None:
    for _ in range(2):
        summary = transfer(named(store, "c:3"), at(server, "e:5"))
        assert [root.name for root in summary.roots] == [f"{server.host}/e:5"]


def test_several_images_do_not_fit_one_name(server: RegistryServer, store: Store) -> None:
    with pytest.raises(InvalidArgument, match="the source has 2 images"):
        transfer(store, at(server, "x:1"))


def test_a_tag_alone_says_no_place_below_a_prefix(
    server: RegistryServer, images: Callable[[str], Path], tmp_path: Path
) -> None:
    transfer(Layout(images("small")), Layout(tmp_path / "layout", "1.0"))
    with pytest.raises(InvalidArgument, match=r"is called 1.0, which says no repository"):
        transfer(Layout(tmp_path / "layout"), at(server, "mirror/"))
    assert not server.tags("mirror/library/1.0")


def test_scoped_keeps_the_hosts_of_names_apart(server: RegistryServer, store: Store) -> None:
    transfer(named(store, "c:3", f"{server.host}/a:1"), at(server, "m/", scoped=True))
    assert list(server.tags("m/docker.io/library/c")) == ["3"]
    assert list(server.tags(f"m/127.0.0.1-{server.port}/a")) == ["1"]


def test_names_that_would_fall_together_are_refused_before_anything_is_sent(
    server: RegistryServer, images: Callable[[str], Path], tmp_path: Path
) -> None:
    for kind, name in (("small", "one.example/app:1"), ("multi", "two.example/app:1")):
        transfer(Layout(images(kind)), Store(name, root=tmp_path))
    for act in (transfer, plan):
        with pytest.raises(InvalidArgument, match="two different images would be"):
            act(Store(root=tmp_path), at(server, "m/"))
    assert not [exchange for exchange in server.requests if exchange.method in ("POST", "PUT")]


def test_a_plan_knows_what_is_below_a_prefix(server: RegistryServer, store: Store) -> None:
    source = named(store, "c:3")
    before = plan(source, at(server, "m/"))
    assert before.bytes_to_move == before.bytes
    transfer(source, at(server, "m/"))
    todo = plan(source, at(server, "m/"))
    assert (todo.roots, [root.name for root in todo.complete]) == ((), [f"{server.host}/m/library/c:3"])


def test_no_clobber_takes_an_image_that_is_there_and_refuses_to_move_its_tag(
    server: RegistryServer, store: Store, images: Callable[[str], Path]
) -> None:
    one = Selection(platforms=(Platform.parse("linux/amd64"),))
    for _ in range(2):
        transfer(named(store, "c:3"), at(server, "x:1", clobber=False))
        transfer(Layout(images("multi")), at(server, "y:1", clobber=False), selection=one)
    before = server.tags("x")
    for selection in (Selection(), Selection(index="single")):
        with pytest.raises(AlreadyExists, match="is at the registry already"):
            transfer(Layout(images("zstd")), at(server, "x:1", clobber=False), selection=selection)
    assert server.tags("x") == before


def test_referrers_go_to_the_repository_of_their_subject(
    server: RegistryServer, images: Callable[[str], Path], tmp_path: Path
) -> None:
    transfer(Layout(images("small")), at(server, "app:1"))
    subject = server.tags("app")["1"]
    empty = server.put_blob("app", b"{}")
    signature = (
        b'{"schemaVersion":2,"mediaType":"%s","artifactType":"x/sig","config":{"mediaType":"x/sig","digest":"%s","size":2},'
        b'"layers":[],"subject":{"mediaType":"%s","digest":"%s","size":%d}}'
        % (
            OCI_MANIFEST.encode(),
            empty.encode(),
            OCI_MANIFEST.encode(),
            subject.encode(),
            len(server.content("app", "1")),
        )
    )
    digest = server.put_manifest("app", signature, OCI_MANIFEST)
    transfer(at(server, "app:1"), at(server, "m/"), selection=Selection(referrers=""))
    assert server.content("m/app", digest) == signature


# --- credentials ------------------------------------------------------------------------------------------------------


def auths(server: RegistryServer, user: str, password: str) -> str:
    return json.dumps({"auths": {server.host: {"username": user, "password": password}}})


def test_a_credential_file_takes_the_place_of_the_users(
    server: RegistryServer, images: Callable[[str], Path], tmp_path: Path
) -> None:
    with RegistryServer(auth=Basic({"alice": "s3cr3t"})) as strict:
        file = tmp_path / "auth.json"
        file.write_text(auths(strict, "alice", "s3cr3t"))
        wrong = {"DOCKER_AUTH_CONFIG": auths(strict, "alice", "wrong")}
        transfer(Layout(images("small")), at(strict, "a:1", credential=None, auth_file=str(file), environment=wrong))
        assert list(strict.tags("a")) == ["1"]


def test_a_given_credential_is_for_the_registry_that_is_named_and_others_are_found_in_files(
    server: RegistryServer, images: Callable[[str], Path], tmp_path: Path
) -> None:
    with RegistryServer(auth=Basic({"alice": "s3cr3t"})) as one, RegistryServer(auth=Basic({"bob": "pa55"})) as mirror:
        transfer(
            Layout(images("small")),
            at(mirror, "a:1", credential=Credential(username="bob", password=Secret("pa55"))),
        )
        folder = tmp_path / "certs.d" / one.host
        folder.mkdir(parents=True)
        (folder / "hosts.toml").write_text(
            f'server = "http://{one.host}"\n[host."http://{mirror.host}"]\ncapabilities = ["pull", "resolve"]\n'
        )
        files = {"DOCKER_AUTH_CONFIG": auths(mirror, "bob", "pa55")}
        given = Credential(username="alice", password=Secret("s3cr3t"))
        source = at(one, "a:1", credential=given, environment=files, hosts_dir=tmp_path / "certs.d")
        transfer(source, Layout(tmp_path / "out"))
        assert mirror.count("blob.get") == 2
        assert not any("YWxpY2U6" in (exchange.authorization or "") for exchange in mirror.requests)


@pytest.mark.parametrize(("name", "text"), [("X-A", "b\r\nX-C: d"), ("X A", "b"), ("", "b"), ("X-A", "snow\u2603")])
def test_a_header_that_no_request_can_carry_is_refused_and_not_shown(name: str, text: str) -> None:
    with pytest.raises(InvalidArgument, match="no header may hold") as caught:
        Registry("registry.example/app:1", headers=((name, text),))
    assert text not in str(caught.value)


# --- several sources --------------------------------------------------------------------------------------------------


def test_ends_that_differ_by_names_alone_are_opened_once(tmp_path: Path) -> None:
    one, two = Registry("h/a:1"), Registry(("h/b:1", "h/c:1"))
    assert together([one, two]) == Registry(("h/a:1", "h/b:1", "h/c:1"))
    other = Registry("h/d:1", plain_http=True)
    everything = Store(root=tmp_path)
    assert together([one, other, everything, everything]) == Several((one, other, everything, everything))
    assert together([one]) == one


@pytest.mark.parametrize("first", ["registry", "layout"])
def test_each_object_is_read_where_its_image_is(
    first: str, server: RegistryServer, images: Callable[[str], Path], tmp_path: Path
) -> None:
    """A registry takes a manifest's word that its blobs are there, so others must not be sent to it for theirs."""
    transfer(Layout(images("small")), at(server, "a:1"))
    ends = [at(server, "a:1"), Layout(images("multi")), at(server, "a:1", clobber=False)]
    with RegistryServer() as other:
        transfer(Layout(images("zstd")), at(other, "z:1"))
        ends.append(at(other, "z:1"))
        before = len(server.requests), len(other.requests)
        transfer(together(ends if first == "registry" else ends[::-1]), Archive(tmp_path / "all.tar"))
        failed = [e for e in [*server.requests[before[0] :], *other.requests[before[1] :]] if e.status == 404]
        assert failed == []
    transfer(Archive(tmp_path / "all.tar"), Layout(tmp_path / "out"))
    found = graphs.images(tmp_path / "out")
    assert found == {d: c for kind in ("small", "multi", "zstd") for d, c in graphs.images(images(kind)).items()}


def test_an_object_that_no_source_has_is_an_error_of_its_own_source(
    images: Callable[[str], Path], tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(images("small"), tmp_path / "broken")
    for path in (tmp_path / "broken" / "blobs" / "sha256").iterdir():
        if path.stat().st_size > 10_000:
            path.unlink()
    with pytest.raises(NotFound):
        transfer(together([Layout(tmp_path / "broken"), Layout(images("zstd"))]), Archive(tmp_path / "a.tar"))
