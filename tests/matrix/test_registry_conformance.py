"""What the OCI distribution specification (1.1) wants of clients: what no other test shows. docs/registries.md has every statement with its test."""

from __future__ import annotations

import errno
import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from support.registry_runs import NEW, OLD, REPOSITORY, Heard, Image, at, image, make_impatient, referrer, run
from tranship import Layout, Limits, Selection, transfer
from tranship.engine.run import Run
from tranship.errors import DataLoss, NotFound, TranshipError
from tranship.model import mediatypes
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.testing.memory import Memory
from tranship.testing.registry import RegistryServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KIND = "application/vnd.example.sbom"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    make_impatient(monkeypatch)


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as running:
        yield running


# ------------------------------------------------------------------------------------------------------------- pulling


def test_manifests_are_asked_for_by_their_types(server: RegistryServer) -> None:
    NEW.put(server)
    transfer(at(server), Memory())
    for exchange in server.requests:
        accepted = exchange.headers.get("Accept") or ""
        if exchange.kind.startswith("manifest"):
            assert {
                mediatypes.OCI_MANIFEST,
                mediatypes.OCI_INDEX,
                mediatypes.DOCKER_MANIFEST,
                mediatypes.DOCKER_INDEX,
            } <= set(accepted.split(", "))
        assert exchange.headers.get("Accept-Encoding") == "identity"


def test_parameters_of_a_content_type_mean_nothing(server: RegistryServer) -> None:
    NEW.put(server)
    server.fault("wrong-content-type", value=f"{mediatypes.OCI_MANIFEST}; charset=utf-8", times=None)
    images = Memory()
    transfer(at(server), images)
    assert images.blobs == NEW.everything


def test_a_manifest_that_is_said_to_be_another_kind_is_refused(server: RegistryServer) -> None:
    NEW.put(server)
    server.fault("wrong-content-type", value=mediatypes.OCI_INDEX, kind="manifest.get", times=None)
    with pytest.raises(DataLoss, match=r"gave manifest .* as application/vnd\.oci\.image\.index"):
        transfer(at(server), Memory())


def test_a_manifest_may_not_come_as_something_else_than_it_says(server: RegistryServer) -> None:
    value = {**json.loads(OLD.raw), "mediaType": mediatypes.OCI_MANIFEST}
    Image(json.dumps(value).encode(), OLD.blobs).put(server)
    server.fault("wrong-content-type", value="application/vnd.example.other+json", kind="manifest.get", times=None)
    with pytest.raises(DataLoss, match=r"gave manifest .* as application/vnd\.example\.other\+json"):
        transfer(at(server), Memory())


# ------------------------------------------------------------------------------------------------------------- pushing


def test_a_blob_is_sent_whole_by_a_post_and_a_put(server: RegistryServer) -> None:
    transfer(OLD.memory(), at(server))
    assert server.count("upload.single") == server.count("upload.chunk") == 0
    sent = [exchange for exchange in server.requests if exchange.kind == "upload.finish"]
    assert {exchange.query["digest"]: int(exchange.headers.get("Content-Length") or "") for exchange in sent} == {
        digest: len(raw) for digest, raw in OLD.blobs.items()
    }
    assert all(exchange.headers.get("Content-Type") == "application/octet-stream" for exchange in sent)


def test_chunks_are_sent_as_the_specification_wants_them(server: RegistryServer) -> None:
    transfer(NEW.memory(), at(server, chunk=1 << 20))
    ranges: dict[str, list[tuple[int, int]]] = {}
    for exchange in server.requests:
        if exchange.kind == "upload.chunk":
            match = re.fullmatch(r"(\d+)-(\d+)", exchange.headers.get("Content-Range") or "")
            assert match
            first, last = int(match[1]), int(match[2])
            assert int(exchange.headers.get("Content-Length") or "") == last - first + 1
            assert exchange.headers.get("Content-Type") == "application/octet-stream"
            ranges.setdefault(exchange.path, []).append((first, last))
        if exchange.kind in ("upload.start", "upload.mount"):
            assert exchange.headers.get("Content-Length") == "0"
    assert len(ranges) == 3
    for found in ranges.values():
        assert found[0][0] == 0
        assert all(after[0] == before[1] + 1 for before, after in itertools.pairwise(found))
    assert max(map(len, ranges.values())) == 3


def test_a_digest_of_another_algorithm_is_announced(
    server: RegistryServer, images: Callable[[str], Path], tmp_path: Path
) -> None:
    transfer(Layout(images("sha512")), at(server))
    opened = [exchange for exchange in server.requests if exchange.kind in ("upload.start", "upload.mount")]
    assert opened
    assert all(exchange.query["digest-algorithm"] == "sha512" for exchange in opened)
    transfer(OLD.memory(), at(server, name="other:1"))
    assert all("digest-algorithm" not in e.query for e in server.requests if "/other/" in e.path)
    assert tmp_path


@pytest.mark.parametrize("refused", [False, True])
def test_uploads_are_cancelled_when_a_push_fails(refused: bool, server: RegistryServer) -> None:
    server.fault("status", code=403, kind="upload.finish", times=None)
    if refused:
        server.fault("status", code=405, kind="upload.cancel", times=None)
    ran = run(NEW.memory(), at(server))
    assert ran.error is not None
    assert "denied push access" in ran.told
    assert server.count("upload.cancel")
    if not refused:
        assert not server.state.uploads


def test_uploads_are_cancelled_when_the_source_fails(server: RegistryServer) -> None:
    with RegistryServer() as source:
        NEW.put(source)
        source.fault("drop", after=1, kind="blob.get", times=None)
        ran = run(at(source), at(server))
        assert ran.error is not None
        assert ran.error.side == "source"
    assert server.count("upload.cancel")
    assert not server.state.uploads


def test_uploads_are_cancelled_when_a_disk_fails(
    server: RegistryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer(NEW.memory(), Layout(tmp_path / "layout"))

    def fails(_fd: int, _view: memoryview, _offset: int) -> int:
        raise OSError(errno.EIO, "the disk fails")

    monkeypatch.setattr("tranship.http.payload.read_at", fails)
    with pytest.raises(OSError, match="the disk fails"):
        transfer(Layout(tmp_path / "layout"), at(server))
    assert server.count("upload.cancel")
    assert not server.state.uploads


def test_uploads_that_are_begun_again_leave_none_open(server: RegistryServer) -> None:
    server.fault("status", code=413, kind="upload.finish")
    server.fault("hang-up", kind="upload.finish", skip=2)  # the other layer
    transfer(NEW.memory(), at(server), limits=Limits(jobs=1))
    assert server.count("upload.cancel") == 2
    assert not server.state.uploads


def test_manifests_are_pushed_under_their_own_type_as_the_bytes_that_they_are(
    server: RegistryServer, images: Callable[[str], Path]
) -> None:
    for kind in ("multi", "docker"):
        source = Memory()
        transfer(Layout(images(kind)), source)
        server.forget()
        transfer(source, at(server, name=f"{kind}:1"))
        for exchange in server.requests:
            if exchange.kind == "manifest.put":
                said = exchange.headers.get("Content-Type")
                digest = server.tags(kind)["1"] if exchange.path.endswith("/1") else exchange.path.rpartition("/")[2]
                raw = server.content(kind, digest)
                assert said == json.loads(raw)["mediaType"]
                assert raw in source.blobs.values()


def test_a_manifest_of_four_megabytes_goes_through(server: RegistryServer) -> None:
    value = json.loads(OLD.raw)
    value["annotations"] = {"padding": "x" * (4 * 1024 * 1024 - len(OLD.raw) - 100)}
    big = Image(json.dumps(value).encode(), OLD.blobs)
    assert 4_000_000 < len(big.raw) < 4 * 1024 * 1024
    transfer(big.memory(), at(server))
    back = Memory()
    transfer(at(server), back)
    assert back.blobs == big.everything


# ----------------------------------------------------------------------------------------------------------- referrers


def tag_of(digest: Digest) -> str:
    return f"{digest.algorithm}-{digest.hex}"


def listed(server: RegistryServer, repository: str = REPOSITORY) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(server.content(repository, tag_of(OLD.digest)))["manifests"]
    return found


ALONG = Selection(referrers="")


def copied(source: RegistryServer, destination: RegistryServer) -> None:
    transfer(at(source), at(destination), selection=ALONG)


def test_the_list_of_referrers_is_kept_where_the_registry_does_not() -> None:
    with RegistryServer() as source, RegistryServer(referrers=False) as server:
        OLD.put(source)
        digests = [referrer(source, OLD, KIND, number) for number in range(5)]
        copied(source, server)
        entries = listed(server)
        assert {entry["digest"] for entry in entries} == set(digests)
        assert all(entry["artifactType"] == KIND for entry in entries)
        assert sorted(entry["annotations"]["number"] for entry in entries) == list("01234")
        copied(source, server)
        assert len(listed(server)) == 5
    with RegistryServer() as source, RegistryServer() as server:  # and not where it does
        OLD.put(source)
        referrer(source, OLD, KIND, 0)
        copied(source, server)
        assert set(server.tags(REPOSITORY)) == {"1"}


def test_a_subject_is_one_however_its_key_is_spelled() -> None:
    with RegistryServer() as source, RegistryServer(referrers=False) as server:
        OLD.put(source)
        raw = source.content(REPOSITORY, referrer(source, OLD, KIND, 0)).replace(b'"subject"', b'"\\u0073ubject"')
        digest = source.put_manifest(REPOSITORY, raw, mediatypes.OCI_MANIFEST, ["odd"])
        transfer(at(source, name=f"{REPOSITORY}:odd"), at(server))
        assert [entry["digest"] for entry in listed(server)] == [digest]


def test_a_list_of_referrers_is_written_before_a_tag_leads_to_what_it_names() -> None:
    with RegistryServer() as source, RegistryServer(referrers=False) as server:
        OLD.put(source)
        digest = referrer(source, OLD, KIND, 0)
        raw = source.content(REPOSITORY, digest)
        source.put_manifest(REPOSITORY, raw, mediatypes.OCI_MANIFEST, ["tagged"])
        server.fault("status", code=403, kind="manifest.put", path=tag_of(OLD.digest))
        with pytest.raises(TranshipError, match="403"):
            transfer(at(source, name=f"{REPOSITORY}:tagged"), at(server, name=f"{REPOSITORY}:tagged"))
        assert server.tags(REPOSITORY) == {}
        transfer(at(source, name=f"{REPOSITORY}:tagged"), at(server, name=f"{REPOSITORY}:tagged"))
        assert [entry["digest"] for entry in listed(server)] == [digest]
        assert server.tags(REPOSITORY)["tagged"] == digest


def test_what_is_named_by_a_long_digest_has_referrers_too() -> None:
    with RegistryServer() as server:
        long = Digest.of(OLD.raw, "sha512")
        plain = Descriptor(media_type=mediatypes.OCI_MANIFEST, digest=long, size=len(OLD.raw))
        images = Memory(blobs={**OLD.blobs, long: OLD.raw}, names={"example.com/acme/app:1": plain})
        transfer(images, at(server))
        value = {**json.loads(OLD.raw), "artifactType": KIND, "subject": plain.to_json()}
        digest = server.put_manifest(REPOSITORY, json.dumps(value).encode(), mediatypes.OCI_MANIFEST)
        summary = transfer(at(server, name=f"{REPOSITORY}@{long}"), Memory(), selection=ALONG)
        assert [root.descriptor.digest for root in summary.roots] == [long, digest]


def test_what_is_no_list_of_referrers_is_not_overwritten() -> None:
    with RegistryServer() as source, RegistryServer(referrers=False) as server:
        OLD.put(source)
        referrer(source, OLD, KIND, 0)
        NEW.put(server, tag=tag_of(OLD.digest))
        with pytest.raises(TranshipError):
            copied(source, server)
        assert server.tags(REPOSITORY)[tag_of(OLD.digest)] == NEW.digest


def test_referrers_are_found_by_the_tag_and_nothing_is_made_of_something_else() -> None:
    with RegistryServer(referrers=False) as server:
        OLD.put(server)
        digest = referrer(server, OLD, KIND, 0)
        summary = transfer(at(server), Memory(), selection=ALONG)
        assert [root.descriptor.digest for root in summary.roots] == [OLD.digest, digest]
    with RegistryServer(referrers=False) as server:
        OLD.put(server)
        NEW.put(server, tag=tag_of(OLD.digest))
        summary = transfer(at(server), Memory(), selection=ALONG)
        assert [root.descriptor.digest for root in summary.roots] == [OLD.digest]


@pytest.mark.parametrize("api", [True, False])
def test_a_deleted_referrer_is_taken_out_of_the_list(api: bool) -> None:
    with RegistryServer(referrers=api) as server:
        OLD.put(server)
        kept, gone = (referrer(server, OLD, KIND, number) for number in range(2))
        reference = at(server, name=f"{REPOSITORY}@{gone}").references[0]
        with at(server).session() as session:
            session.delete(reference)
        assert kept in server.state.repositories[REPOSITORY].manifests
        assert gone not in server.state.repositories[REPOSITORY].manifests
        expected = {kept, gone} if api else {kept}  # with the API it is the registry's own affair
        assert {entry["digest"] for entry in listed(server)} == expected


@pytest.mark.parametrize(("fault", "parameters"), [("silence", {}), ("silence", {"seconds": 0}), ("junk-status", {})])
def test_a_deletion_whose_answer_was_lost_is_done_and_noted(fault: str, parameters: dict[str, Any]) -> None:
    with RegistryServer(referrers=False) as server:
        OLD.put(server)
        kept, gone = (referrer(server, OLD, KIND, number) for number in range(2))
        server.fault(fault, kind="manifest.delete", **parameters)
        reference = at(server, name=f"{REPOSITORY}@{gone}").references[0]
        with at(server).session(Run(limits=Limits(timeout=1.0))) as session:
            session.delete(reference)
            assert [entry["digest"] for entry in listed(server)] == [kept]
            with pytest.raises(NotFound):
                session.delete(reference)


# --------------------------------------------------------------------------------------------------- lists and warnings


def test_pages_are_followed_by_their_links() -> None:
    with RegistryServer(page_size=2) as server:
        for number in range(7):
            OLD.put(server, f"many/{number}", tag="t")
            OLD.put(server, tag=f"t{number}")
        with at(server).session() as session:
            assert session.tags(at(server).references[0]) == [f"t{number}" for number in range(7)]
            assert session.catalog(server.host) == [REPOSITORY, *(f"many/{number}" for number in range(7))]
        assert server.counts == {"tags": 4, "catalog": 4}


def test_a_full_page_without_a_link_is_followed_by_its_last_name() -> None:
    tags = [f"t{number:04}" for number in range(2500)]
    with RegistryServer(links=False) as server:
        OLD.put(server)
        server.put_manifest(REPOSITORY, OLD.raw, mediatypes.OCI_MANIFEST, tags)
        with at(server).session() as session:
            assert session.tags(at(server).references[0]) == ["1", *tags]
        assert server.counts == {"tags": 3}


def test_only_so_many_different_warnings_are_reported() -> None:
    class Nags(RegistryServer):
        def handle(self, request: Any) -> Any:
            response = super().handle(request)
            for number in range(10):
                response.headers.add("Warning", f'299 - "{len(self.requests)}.{number}"')
            return response

    with Nags() as server:
        image(4, *range(10, 30)).put(server)
        heard = Heard()
        transfer(at(server), Memory(), reporter=heard)
        assert len([event for event in heard.events if "warns: " in event]) == 20


def test_warnings_are_reported_once() -> None:
    class Warns(RegistryServer):
        def handle(self, request: Any) -> Any:
            response = super().handle(request)
            response.headers.add("Warning", '299 - "This registry closes on \\"Friday\\"\x1b[2J."')
            response.headers.add("Warning", '199 - "not this one"')
            return response

    with Warns() as server:
        image(4, 10, 20, 30).put(server)
        heard = Heard()
        summary = transfer(at(server), Memory(), reporter=heard)
        assert summary.moved
        notices = [event for event in heard.events if "notice" in event]
        assert len(notices) == 1
        assert 'warns: This registry closes on "Friday"\\\\x1b[2J.' in notices[0]
