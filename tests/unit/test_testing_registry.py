"""The test registry keeps the distribution specification's word: pull, push, discovery, management, and HTTP itself."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING

import pytest

from support.raw_http import OCI_INDEX, OCI_MANIFEST, Client, describe, digest, exchange, image
from tranship.testing.registry import KINDS, Refusal, RegistryServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOB = b"some layer, not long" * 1000
CONFIG = b'{"architecture":"amd64","os":"linux"}'
ABSENT = digest(b"nowhere")


@pytest.fixture(params=["memory", "folder"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RegistryServer]:
    with RegistryServer("memory" if request.param == "memory" else tmp_path / "registry") as server:
        yield server


@pytest.fixture
def client(registry: RegistryServer) -> Iterator[Client]:
    with Client(registry.port) as made:
        yield made


def upload(client: Client, repository: str = "a/b", query: str = "") -> str:
    answer = client.ask("POST", f"/v2/{repository}/blobs/uploads/{query}")
    assert answer.status == 202
    return str(answer["Location"])


# Pull ------------------------------------------------------------------------------------------------------------------


def test_the_version_check_answers_200(client: Client) -> None:
    answer = client.ask("GET", "/v2/")
    assert (answer.status, answer["Docker-Distribution-API-Version"]) == (200, "registry/2.0")


def test_a_blob_is_read_whole_with_its_digest_and_length(registry: RegistryServer, client: Client) -> None:
    name = registry.put_blob("a/b", BLOB)
    answer = client.ask("GET", f"/v2/a/b/blobs/{name}")
    assert (answer.status, answer.body, answer["Docker-Content-Digest"]) == (200, BLOB, name)
    head = client.ask("HEAD", f"/v2/a/b/blobs/{name}")
    assert (head.status, head.body, head["Content-Length"], head["Docker-Content-Digest"]) == (200, b"", "20000", name)


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=100-199", 100, 200), ("bytes=19999-", 19999, 20000), ("bytes=-5", 19995, 20000)],
)
def test_a_range_of_a_blob_is_read(registry: RegistryServer, client: Client, asked: str, start: int, stop: int) -> None:
    name = registry.put_blob("a/b", BLOB)
    answer = client.ask("GET", f"/v2/a/b/blobs/{name}", headers={"Range": asked})
    assert (answer.status, answer.body) == (206, BLOB[start:stop])
    assert answer["Content-Range"] == f"bytes {start}-{stop - 1}/20000"


def test_a_range_beyond_the_end_is_cut_off_there(registry: RegistryServer, client: Client) -> None:
    name = registry.put_blob("a/b", BLOB)
    answer = client.ask("GET", f"/v2/a/b/blobs/{name}", headers={"Range": "bytes=19000-99999"})
    assert (answer.status, answer.body, answer["Content-Range"]) == (206, BLOB[19000:], "bytes 19000-19999/20000")


@pytest.mark.parametrize("asked", ["bytes=20000-", "bytes=30000-40000", "bytes=-0"])
def test_a_range_outside_of_the_blob_is_416(registry: RegistryServer, client: Client, asked: str) -> None:
    name = registry.put_blob("a/b", BLOB)
    answer = client.ask("GET", f"/v2/a/b/blobs/{name}", headers={"Range": asked})
    assert (answer.status, answer["Content-Range"]) == (416, "bytes */20000")


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "bytes=a-b", "bytes=-", "lines=1-2"])
def test_a_range_that_cannot_be_read_gives_the_whole(registry: RegistryServer, client: Client, asked: str) -> None:
    name = registry.put_blob("a/b", BLOB)
    answer = client.ask("GET", f"/v2/a/b/blobs/{name}", headers={"Range": asked})
    assert (answer.status, answer.body) == (200, BLOB)


def test_if_range_with_another_tag_gives_the_whole(registry: RegistryServer, client: Client) -> None:
    name = registry.put_blob("a/b", BLOB)
    same = {"Range": "bytes=5-9", "If-Range": f'"{name}"'}
    assert client.ask("GET", f"/v2/a/b/blobs/{name}", headers=same).body == BLOB[5:10]
    other = {"Range": "bytes=5-9", "If-Range": '"something"'}
    assert client.ask("GET", f"/v2/a/b/blobs/{name}", headers=other).body == BLOB


def test_a_repository_does_not_show_the_blobs_of_another(registry: RegistryServer, client: Client) -> None:
    name = registry.put_blob("a/b", BLOB)
    assert client.ask("GET", f"/v2/a/c/blobs/{name}").codes == ["BLOB_UNKNOWN"]
    assert client.ask("HEAD", f"/v2/a/c/blobs/{name}").status == 404


def test_a_manifest_is_read_by_tag_and_by_digest_as_the_bytes_that_came(client: Client) -> None:
    client.push_blob("a/b", CONFIG)
    raw = json.dumps(image(CONFIG), indent=3).encode() + b"\n"
    assert client.push_manifest("a/b", raw, "v1").status == 201
    for reference in ("v1", digest(raw)):
        answer = client.ask("GET", f"/v2/a/b/manifests/{reference}")
        assert (answer.status, answer.body, answer["Content-Type"]) == (200, raw, OCI_MANIFEST)
        assert answer["Docker-Content-Digest"] == digest(raw)
        head = client.ask("HEAD", f"/v2/a/b/manifests/{reference}")
        assert (head.status, head.body, head["Content-Length"]) == (200, b"", str(len(raw)))
        assert (head["Content-Type"], head["Docker-Content-Digest"]) == (OCI_MANIFEST, digest(raw))


def test_a_manifest_may_be_pushed_under_its_sha512(client: Client) -> None:
    client.push_blob("a/b", CONFIG)
    raw = json.dumps(image(CONFIG)).encode()
    name = digest(raw, "sha512")
    assert client.push_manifest("a/b", raw, name)["Docker-Content-Digest"] == name
    assert client.ask("GET", f"/v2/a/b/manifests/{name}").body == raw


def test_absent_manifests_and_repositories_are_404(registry: RegistryServer, client: Client) -> None:
    registry.put_blob("a/b", BLOB)
    for target in ("/v2/a/b/manifests/v1", f"/v2/a/b/manifests/{ABSENT}", "/v2/no/such/manifests/v1"):
        assert client.ask("HEAD", target).status == 404
        assert client.ask("GET", target).codes == ["MANIFEST_UNKNOWN"]
    assert client.ask("GET", f"/v2/no/such/blobs/{ABSENT}").codes == ["BLOB_UNKNOWN"]
    assert client.ask("GET", "/v2/no/such/tags/list").codes == ["NAME_UNKNOWN"]


def test_a_manifest_that_accept_does_not_name_is_not_found(client: Client) -> None:
    client.push_blob("a/b", CONFIG)
    client.push_manifest("a/b", image(CONFIG), "v1")
    answers = {
        accept: client.ask("GET", "/v2/a/b/manifests/v1", headers={"Accept": accept}).status
        for accept in (OCI_MANIFEST, f"text/html, {OCI_MANIFEST};q=0.5", "*/*", OCI_INDEX)
    }
    assert list(answers.values()) == [200, 200, 200, 404]


def test_a_manifest_that_the_client_has_is_not_sent_again(client: Client) -> None:
    client.push_blob("a/b", CONFIG)
    client.push_manifest("a/b", image(CONFIG), "v1")
    tag = str(client.ask("HEAD", "/v2/a/b/manifests/v1")["ETag"])
    answer = client.ask("GET", "/v2/a/b/manifests/v1", headers={"If-None-Match": tag})
    assert (answer.status, answer.body) == (304, b"")


# Push ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_blob_is_pushed_by_post_then_put(registry: RegistryServer, client: Client, algorithm: str) -> None:
    name = client.push_blob("a/b", BLOB, algorithm)
    assert registry.content("a/b", name) == BLOB
    assert registry.state.uploads == {}


def test_a_blob_is_pushed_by_one_post(registry: RegistryServer, client: Client) -> None:
    answer = client.ask("POST", f"/v2/a/b/blobs/uploads/?digest={digest(BLOB)}", BLOB)
    assert (answer.status, answer["Location"]) == (201, f"/v2/a/b/blobs/{digest(BLOB)}")
    assert registry.content("a/b", digest(BLOB)) == BLOB


def test_one_post_opens_a_session_where_it_is_not_supported() -> None:
    with RegistryServer(single_post=False) as registry, Client(registry.port) as client:
        answer = client.ask("POST", f"/v2/a/b/blobs/uploads/?digest={digest(BLOB)}", BLOB)
        assert answer.status == 202
        assert client.ask("PUT", f"{answer['Location']}?digest={digest(BLOB)}", BLOB).status == 201


def test_an_empty_blob_is_pushed(registry: RegistryServer, client: Client) -> None:
    name = client.push_blob("a/b", b"")
    answer = client.ask("GET", f"/v2/a/b/blobs/{name}")
    assert (answer.status, answer.body, answer["Content-Length"]) == (200, b"", "0")


def test_a_blob_is_pushed_in_chunks(registry: RegistryServer, client: Client) -> None:
    location = upload(client)
    for start, stop in ((0, 7000), (7000, 14000)):
        chunk = {"Content-Range": f"{start}-{stop - 1}"}
        answer = client.ask("PATCH", location, BLOB[start:stop], chunk)
        assert (answer.status, answer["Range"]) == (202, f"0-{stop - 1}")
        location = str(answer["Location"])
        status = client.ask("GET", location)
        assert (status.status, status["Range"], status["Location"]) == (204, f"0-{stop - 1}", location)
    last = {"Content-Range": "14000-19999"}
    assert client.ask("PUT", f"{location}?digest={digest(BLOB)}", BLOB[14000:], last).status == 201
    assert registry.content("a/b", digest(BLOB)) == BLOB


def test_a_session_may_be_closed_without_a_last_chunk(registry: RegistryServer, client: Client) -> None:
    location = upload(client, query="?digest-algorithm=sha512")
    client.ask("PATCH", location, BLOB, {"Content-Range": f"0-{len(BLOB) - 1}"})
    name = digest(BLOB, "sha512")
    assert client.ask("PUT", f"{location}?digest={name}").status == 201
    assert registry.content("a/b", name) == BLOB


def test_a_streamed_upload_without_a_range_or_a_length_is_taken(registry: RegistryServer, client: Client) -> None:
    location = upload(client)
    parts = iter([BLOB[:3], BLOB[3:10000], BLOB[10000:]])  # http.client sends iterators chunked
    assert client.ask("PATCH", location, parts)["Range"] == "0-19999"
    assert client.ask("PUT", f"{location}?digest={digest(BLOB)}").status == 201


@pytest.mark.parametrize("span", ["5-9", "0-4", "11-15"])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_chunk_out_of_order_is_416_and_the_session_goes_on(client: Client, span: str, method: str) -> None:
    location = upload(client)
    client.ask("PATCH", location, b"0123456789", {"Content-Range": "0-9"})
    query = f"?digest={digest(b'0123456789abcde')}" if method == "PUT" else ""
    answer = client.ask(method, location + query, b"abcde", {"Content-Range": span})
    assert (answer.status, answer["Range"], answer["Location"]) == (416, "0-9", location)
    done = client.ask("PUT", f"{location}?digest={digest(b'0123456789abcde')}", b"abcde", {"Content-Range": "10-14"})
    assert done.status == 201


@pytest.mark.parametrize(
    ("span", "code"), [("0-8", "SIZE_INVALID"), ("bytes 0-9/10", "BLOB_UPLOAD_INVALID"), ("x", "BLOB_UPLOAD_INVALID")]
)
def test_a_content_range_that_does_not_fit_is_400(client: Client, span: str, code: str) -> None:
    answer = client.ask("PATCH", upload(client), b"0123456789", {"Content-Range": span})
    assert (answer.status, answer.codes) == (400, [code])


def test_other_bytes_than_the_digest_says_are_refused_and_forgotten(registry: RegistryServer, client: Client) -> None:
    answer = client.ask("PUT", f"{upload(client)}?digest={digest(b'other')}", BLOB)
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])
    answer = client.ask("POST", f"/v2/a/b/blobs/uploads/?digest={digest(b'other')}", BLOB)
    assert answer.codes == ["DIGEST_INVALID"]
    assert registry.state.uploads == {}
    assert client.ask("HEAD", f"/v2/a/b/blobs/{digest(b'other')}").status == 404


@pytest.mark.parametrize("text", ["sha256:abc", "md5:" + "0" * 32, "sha256:" + "A" * 64, "", "..%2F..%2Fetc"])
def test_a_digest_that_is_none_is_refused(client: Client, text: str) -> None:
    assert client.ask("PUT", f"{upload(client)}?digest={text}", BLOB).codes == ["DIGEST_INVALID"]
    if text:
        assert client.ask("GET", f"/v2/a/b/blobs/{text}").codes == ["DIGEST_INVALID"]


def test_an_unknown_session_is_404(client: Client) -> None:
    location = upload(client)
    for target in ("/v2/a/b/blobs/uploads/none", location.replace("/a/b/", "/a/other/")):
        assert client.ask("PATCH", target, b"x").codes == ["BLOB_UPLOAD_UNKNOWN"]
        assert client.ask("GET", target).codes == ["BLOB_UPLOAD_UNKNOWN"]
        assert client.ask("PUT", f"{target}?digest={digest(b'x')}", b"x").codes == ["BLOB_UPLOAD_UNKNOWN"]


def test_a_cancelled_session_is_gone(client: Client) -> None:
    location = upload(client)
    assert client.ask("DELETE", location).status == 204
    assert client.ask("GET", location).status == 404


def test_what_a_broken_request_delivered_stays_in_its_session(registry: RegistryServer, client: Client) -> None:
    location = upload(client)
    host = registry.host.encode()
    head = b"PATCH %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 20000\r\n\r\n" % (location.encode(), host)
    with pytest.raises(TimeoutError):
        exchange(registry.port, head + BLOB[:5000], timeout=0.2)  # closes in the middle
    assert client.ask("GET", location)["Range"] == "0-4999"
    rest = {"Content-Range": "5000-19999"}
    assert client.ask("PUT", f"{location}?digest={digest(BLOB)}", BLOB[5000:], rest).status == 201


def test_a_blob_is_mounted_from_another_repository(registry: RegistryServer, client: Client) -> None:
    name = registry.put_blob("a/b", BLOB)
    answer = client.ask("POST", f"/v2/c/d/blobs/uploads/?mount={name}&from=a/b")
    assert (answer.status, answer["Location"]) == (201, f"/v2/c/d/blobs/{name}")
    assert client.ask("GET", f"/v2/c/d/blobs/{name}").body == BLOB
    assert client.ask("POST", f"/v2/e/f/blobs/uploads/?mount={name}").status == 201  # it is found without `from`


def test_a_mount_of_what_is_not_there_opens_a_session(registry: RegistryServer, client: Client) -> None:
    name = registry.put_blob("a/b", BLOB)
    for query in (f"mount={name}&from=no/such", f"mount={ABSENT}&from=a/b", f"mount={ABSENT}"):
        answer = client.ask("POST", f"/v2/c/d/blobs/uploads/?{query}")
        assert answer.status == 202
        assert client.ask("GET", str(answer["Location"])).status == 204


def test_a_manifest_is_refused_while_its_blobs_are_absent_and_each_is_named(client: Client) -> None:
    client.push_blob("a/b", CONFIG)
    document = image(CONFIG, b"one", b"two")
    answer = client.push_manifest("a/b", document, "v1")
    assert (answer.status, answer.codes) == (400, ["MANIFEST_BLOB_UNKNOWN"] * 2)
    assert [error["detail"]["digest"] for error in answer.json()["errors"]] == [digest(b"one"), digest(b"two")]
    client.push_blob("a/b", b"one")
    client.push_blob("a/b", b"two")
    assert client.push_manifest("a/b", document, "v1").status == 201


def test_an_index_is_refused_while_its_manifests_are_absent(client: Client) -> None:
    client.push_blob("a/b", CONFIG)
    child = image(CONFIG)
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [describe(child)]}
    assert client.push_manifest("a/b", index, "v1").codes == ["MANIFEST_BLOB_UNKNOWN"]
    client.push_manifest("a/b", child)
    assert client.push_manifest("a/b", index, "v1").status == 201


def test_a_sparse_index_and_a_lax_registry_take_what_is_incomplete() -> None:
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [describe(image(CONFIG))]}
    with RegistryServer(sparse_indexes=True) as registry, Client(registry.port) as client:
        assert client.push_manifest("a/b", index, "v1").status == 201
        assert client.push_manifest("a/b", image(CONFIG), "v2").status == 400
    with RegistryServer(strict=False) as registry, Client(registry.port) as client:
        assert client.push_manifest("a/b", image(CONFIG), "v2").status == 201


def test_a_manifest_that_gives_a_blob_another_size_is_refused(client: Client) -> None:
    client.push_blob("a/b", CONFIG)
    document = image(CONFIG)
    document["config"]["size"] += 1
    assert client.push_manifest("a/b", document, "v1").codes == ["SIZE_INVALID"]


def test_layers_that_are_not_distributed_may_be_absent_when_they_say_where_they_are(client: Client) -> None:
    client.push_blob("a/b", CONFIG)
    foreign = {
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "digest": ABSENT,
        "size": 7,
    }
    assert client.push_manifest("a/b", {**image(CONFIG), "layers": [foreign]}, "v1").status == 400
    there = {**foreign, "urls": ["https://layers.example/base.tar"]}
    assert client.push_manifest("a/b", {**image(CONFIG), "layers": [there]}, "v1").status == 201


@pytest.mark.parametrize(
    ("media_type", "code"),
    [("", "MANIFEST_INVALID"), (OCI_INDEX, "MANIFEST_INVALID"), ("text/plain", "MANIFEST_INVALID")],
)
def test_a_manifest_needs_its_own_content_type(client: Client, media_type: str, code: str) -> None:
    client.push_blob("a/b", CONFIG)
    headers = {"Content-Type": media_type} if media_type else {}
    answer = client.ask("PUT", "/v2/a/b/manifests/v1", json.dumps(image(CONFIG)).encode(), headers)
    assert (answer.status, answer.codes) == (400, [code])


def test_parameters_of_a_content_type_are_ignored(client: Client) -> None:
    client.push_blob("a/b", CONFIG)
    headers = {"Content-Type": f"{OCI_MANIFEST}; charset=utf-8"}
    assert client.ask("PUT", "/v2/a/b/manifests/v1", json.dumps(image(CONFIG)), headers).status == 201
    assert client.ask("HEAD", "/v2/a/b/manifests/v1")["Content-Type"] == OCI_MANIFEST


def test_a_manifest_pushed_under_another_digest_is_refused(client: Client) -> None:
    client.push_blob("a/b", CONFIG)
    assert client.push_manifest("a/b", image(CONFIG), ABSENT).codes == ["DIGEST_INVALID"]


def test_a_manifest_pushed_by_digest_may_bring_its_tags(registry: RegistryServer, client: Client) -> None:
    client.push_blob("a/b", CONFIG)
    name = describe(image(CONFIG))["digest"]
    answer = client.push_manifest("a/b", image(CONFIG), f"{name}?tag=v1&tag=latest")
    assert (answer.status, answer["OCI-Tag"]) == (201, "v1, latest")
    assert registry.tags("a/b") == {"v1": name, "latest": name}
    assert client.push_manifest("a/b", image(CONFIG), f"{name}?tag=a/b").status == 400


@pytest.mark.parametrize("tag", [".hidden", "a" * 129, "caf%C3%A9", "a b".replace(" ", "%20")])
def test_a_tag_that_is_none_is_refused(client: Client, tag: str) -> None:
    assert client.push_manifest("a/b", image(CONFIG), tag).codes == ["MANIFEST_INVALID"]


@pytest.mark.parametrize("name", ["A/b", "a//b", "-a", "a/_b", "a..b", "a%2Fb", "caf%C3%A9", "a" * 256])
def test_a_repository_name_that_is_none_is_refused(client: Client, name: str) -> None:
    assert client.ask("POST", f"/v2/{name}/blobs/uploads/").codes == ["NAME_INVALID"]


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b'{"layers":[],"layers":[]}', b'{"schemaVersion":2,"config":{},"manifests":[]}']
)
def test_a_document_that_is_not_sound_is_refused(client: Client, raw: bytes) -> None:
    answer = client.ask("PUT", "/v2/a/b/manifests/v1", raw, {"Content-Type": OCI_MANIFEST})
    assert (answer.status, answer.codes) == (400, ["MANIFEST_INVALID"])


@pytest.mark.parametrize("chunked", [False, True])
def test_a_manifest_beyond_the_limit_is_413(client: Client, chunked: bool) -> None:
    raw = b" " * (4 * 1024 * 1024 + 1)
    answer = client.ask("PUT", "/v2/a/b/manifests/v1", iter([raw]) if chunked else raw, {"Content-Type": OCI_MANIFEST})
    assert answer.status == 413


def test_a_tag_moves_to_what_is_pushed_last(registry: RegistryServer, client: Client) -> None:
    client.push_blob("a/b", CONFIG)
    first, second = image(CONFIG), image(CONFIG, annotations={"n": "2"})
    client.push_manifest("a/b", first, "v1")
    client.push_manifest("a/b", second, "v1")
    assert registry.tags("a/b") == {"v1": describe(second)["digest"]}
    assert client.ask("GET", f"/v2/a/b/manifests/{describe(first)['digest']}").status == 200


def test_a_conditional_push_fails_when_the_tag_has_moved(client: Client) -> None:
    client.push_blob("a/b", CONFIG)
    client.push_manifest("a/b", image(CONFIG), "v1")
    raw = json.dumps(image(CONFIG, annotations={"n": "2"})).encode()
    headers = {"Content-Type": OCI_MANIFEST}
    assert client.ask("PUT", "/v2/a/b/manifests/v1", raw, {**headers, "If-Match": '"other"'}).status == 412
    assert client.ask("PUT", "/v2/a/b/manifests/v1", raw, {**headers, "If-None-Match": "*"}).status == 412
    current = f'"{describe(image(CONFIG))["digest"]}"'
    assert client.ask("PUT", "/v2/a/b/manifests/v1", raw, {**headers, "If-Match": current}).status == 201


# Discovery -------------------------------------------------------------------------------------------------------------


def seed_tags(registry: RegistryServer, *tags: str) -> None:
    registry.put_blob("a/b", CONFIG)
    registry.put_manifest("a/b", json.dumps(image(CONFIG)).encode(), OCI_MANIFEST, tags)


def test_tags_are_listed_in_ascii_order(registry: RegistryServer, client: Client) -> None:
    seed_tags(registry, "v2", "V1", "a", "_", "v10")
    answer = client.ask("GET", "/v2/a/b/tags/list")
    assert answer.json() == {"name": "a/b", "tags": ["V1", "_", "a", "v10", "v2"]}
    assert answer["Link"] is None


def test_tags_come_page_by_page(registry: RegistryServer, client: Client) -> None:
    seed_tags(registry, *(f"t{n}" for n in range(5)))
    pages, target = [], "/v2/a/b/tags/list?n=2"
    while target:
        answer = client.ask("GET", target)
        pages.append(answer.json()["tags"])
        target = (answer["Link"] or "").partition("<")[2].partition(">")[0]
    assert pages == [["t0", "t1"], ["t2", "t3"], ["t4"]]
    assert client.ask("GET", "/v2/a/b/tags/list?last=t3").json()["tags"] == ["t4"]
    assert client.ask("GET", "/v2/a/b/tags/list?last=t25&n=9").json()["tags"] == ["t3", "t4"]


def test_no_tags_are_asked_for_and_none_come(registry: RegistryServer, client: Client) -> None:
    seed_tags(registry, "v1")
    answer = client.ask("GET", "/v2/a/b/tags/list?n=0")
    assert (answer.json()["tags"], answer["Link"]) == ([], None)
    assert client.ask("GET", "/v2/a/b/tags/list?n=-1").status == 400


def test_the_registry_may_give_smaller_pages_than_asked_for() -> None:
    with RegistryServer(page_size=2) as registry, Client(registry.port) as client:
        seed_tags(registry, "a", "b", "c")
        answer = client.ask("GET", "/v2/a/b/tags/list?n=100")
        assert answer.json()["tags"] == ["a", "b"]
        assert answer["Link"] == '</v2/a/b/tags/list?n=2&last=b>; rel="next"'


def test_a_registry_without_links_gives_all_names_or_as_many_as_asked_for() -> None:
    with RegistryServer(page_size=2, links=False) as registry, Client(registry.port) as client:
        seed_tags(registry, "a", "b", "c", "d", "e")
        assert client.ask("GET", "/v2/a/b/tags/list").json()["tags"] == ["a", "b", "c", "d", "e"]
        answer = client.ask("GET", "/v2/a/b/tags/list?n=3&last=a")
        assert (answer.json()["tags"], answer["Link"]) == (["b", "c", "d"], None)


def test_an_upload_is_opened_by_a_request_that_says_it_has_no_body(client: Client) -> None:
    client.connection.putrequest("POST", "/v2/a/b/blobs/uploads/")
    client.connection.endheaders()
    assert client.connection.getresponse().status == 411


def test_the_catalog_names_the_repositories(registry: RegistryServer, client: Client) -> None:
    for name in ("c", "a/b", "a/a"):
        registry.put_blob(name, BLOB)
    assert client.ask("GET", "/v2/_catalog").json() == {"repositories": ["a/a", "a/b", "c"]}
    page = client.ask("GET", "/v2/_catalog?n=1&last=a/a")
    assert (page.json(), page["Link"]) == ({"repositories": ["a/b"]}, '</v2/_catalog?n=1&last=a%2Fb>; rel="next"')


def referrer(number: int, subject: object, **fields: object) -> dict[str, object]:
    return image(CONFIG, subject=subject, annotations={"n": str(number)}, **fields)


def test_referrers_are_listed_with_their_types_and_annotations(client: Client) -> None:
    client.push_blob("a/b", CONFIG)
    subject = describe(image(CONFIG))
    first = referrer(1, subject, artifactType="application/vnd.example.one")
    second = referrer(2, subject)
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "subject": subject}
    for document in (first, second, index):
        answer = client.push_manifest("a/b", document)
        assert (answer.status, answer["OCI-Subject"]) == (201, subject["digest"])  # though it is not there yet
    answer = client.ask("GET", f"/v2/a/b/referrers/{subject['digest']}")
    assert answer["Content-Type"] == OCI_INDEX
    assert answer.json()["manifests"] == [
        describe(first, artifactType="application/vnd.example.one", annotations={"n": "1"}),
        describe(second, artifactType="application/vnd.oci.image.config.v1+json", annotations={"n": "2"}),
        describe(index),
    ]


def test_referrers_are_filtered_by_artifact_type(client: Client) -> None:
    client.push_blob("a/b", CONFIG)
    subject = describe(image(CONFIG))
    kind = "application/vnd.example.one+json"
    client.push_manifest("a/b", referrer(1, subject, artifactType=kind))
    client.push_manifest("a/b", referrer(2, subject, artifactType="application/vnd.example.two"))
    answer = client.ask("GET", f"/v2/a/b/referrers/{subject['digest']}?artifactType={kind.replace('+', '%2B')}")
    assert [item["annotations"]["n"] for item in answer.json()["manifests"]] == ["1"]
    assert answer["OCI-Filters-Applied"] == "artifactType"


def test_referrers_of_what_nobody_refers_to_are_an_empty_index(client: Client) -> None:
    answer = client.ask("GET", f"/v2/a/b/referrers/{ABSENT}")
    assert (answer.status, answer.json()["manifests"], answer["OCI-Filters-Applied"]) == (200, [], None)
    assert client.ask("GET", "/v2/a/b/referrers/sha256:abc").status == 400


def test_referrers_come_page_by_page() -> None:
    with RegistryServer(page_size=2) as registry, Client(registry.port) as client:
        client.push_blob("a/b", CONFIG)
        subject = describe(image(CONFIG))
        for number in range(5):
            client.push_manifest("a/b", referrer(number, subject, artifactType="application/x"))
        found, target = [], f"/v2/a/b/referrers/{subject['digest']}?artifactType=application/x"
        while target:
            answer = client.ask("GET", target)
            found += [item["annotations"]["n"] for item in answer.json()["manifests"]]
            target = (answer["Link"] or "").partition("<")[2].partition(">")[0]
        assert found == ["0", "1", "2", "3", "4"]
        assert registry.count("referrers") == 3


def test_without_the_referrers_api_it_is_404_and_no_subject_is_confirmed() -> None:
    with RegistryServer(referrers=False) as registry, Client(registry.port) as client:
        client.push_blob("a/b", CONFIG)
        answer = client.push_manifest("a/b", referrer(1, describe(image(CONFIG))))
        assert (answer.status, answer["OCI-Subject"]) == (201, None)
        assert client.ask("GET", f"/v2/a/b/referrers/{ABSENT}").status == 404


# Management --------------------------------------------------------------------------------------------------------------


def test_a_deleted_tag_is_gone_and_its_manifest_stays(registry: RegistryServer, client: Client) -> None:
    seed_tags(registry, "v1", "v2")
    assert client.ask("DELETE", "/v2/a/b/manifests/v1").status == 202
    assert client.ask("GET", "/v2/a/b/manifests/v1").status == 404
    assert client.ask("GET", "/v2/a/b/manifests/v2").status == 200
    assert client.ask("DELETE", "/v2/a/b/manifests/v1").status == 404


def test_a_deleted_manifest_takes_its_tags_along(registry: RegistryServer, client: Client) -> None:
    seed_tags(registry, "v1", "v2")
    name = registry.tags("a/b")["v1"]
    assert client.ask("DELETE", f"/v2/a/b/manifests/{name}").status == 202
    assert client.ask("GET", f"/v2/a/b/manifests/{name}").status == 404
    assert client.ask("GET", "/v2/a/b/tags/list").json()["tags"] == []


def test_a_deleted_blob_is_gone_here_and_stays_elsewhere(registry: RegistryServer, client: Client) -> None:
    name = registry.put_blob("a/b", BLOB)
    registry.put_blob("c/d", BLOB)
    assert client.ask("DELETE", f"/v2/a/b/blobs/{name}").status == 202
    assert client.ask("GET", f"/v2/a/b/blobs/{name}").status == 404
    assert client.ask("GET", f"/v2/c/d/blobs/{name}").body == BLOB
    assert client.ask("DELETE", f"/v2/a/b/blobs/{name}").status == 404


def test_a_registry_may_forbid_deleting_or_every_change() -> None:
    with RegistryServer(deletes=False) as registry, Client(registry.port) as client:
        name = client.push_blob("a/b", BLOB)
        assert client.ask("DELETE", f"/v2/a/b/blobs/{name}").codes == ["UNSUPPORTED"]
    with RegistryServer(writes=False) as registry, Client(registry.port) as client:
        seed_tags(registry, "v1")
        assert client.ask("POST", "/v2/a/b/blobs/uploads/").status == 405
        assert client.push_manifest("a/b", image(CONFIG), "v2").status == 405
        assert client.ask("DELETE", "/v2/a/b/manifests/v1").status == 405
        assert client.ask("GET", "/v2/a/b/manifests/v1").status == 200


@pytest.mark.parametrize("target", ["/", "/v2", "/v1/", "/v2/a/b", "/v2/a/b/blobs/", "/token", "/v2/a/b/tags/list/"])
def test_other_paths_are_404(client: Client, target: str) -> None:
    assert client.ask("GET", target).status == 404


def test_a_method_that_a_path_does_not_have_is_405(client: Client) -> None:
    answer = client.ask("POST", "/v2/a/b/tags/list")
    assert (answer.status, answer["Allow"]) == (405, "GET")


# The server --------------------------------------------------------------------------------------------------------------


def test_a_folder_is_there_again_for_the_next_registry(tmp_path: Path) -> None:
    with RegistryServer(tmp_path) as registry, Client(registry.port) as client:
        client.push_blob("a/b", CONFIG)
        client.push_manifest("a/b", image(CONFIG), "v1")
        client.push_manifest("a/b", referrer(1, describe(image(CONFIG))))
    with RegistryServer(tmp_path) as registry, Client(registry.port) as client:
        assert client.ask("GET", "/v2/a/b/manifests/v1").json() == image(CONFIG)
        assert client.ask("GET", f"/v2/a/b/blobs/{digest(CONFIG)}").body == CONFIG
        assert len(client.ask("GET", f"/v2/a/b/referrers/{describe(image(CONFIG))['digest']}").json()["manifests"]) == 1


def test_large_blobs_pass_whole(registry: RegistryServer, client: Client) -> None:
    data = os.urandom(5_000_001)
    name = client.push_blob("a/b", data)
    assert client.ask("GET", f"/v2/a/b/blobs/{name}").body == data
    assert client.ask("GET", f"/v2/a/b/blobs/{name}", headers={"Range": "bytes=3000000-"}).body == data[3_000_000:]


def test_every_request_is_recorded_with_its_kind_and_bytes(registry: RegistryServer, client: Client) -> None:
    name = client.push_blob("a/b", BLOB)
    client.ask("GET", f"/v2/a/b/blobs/{name}", headers={"Authorization": "Bearer secret-token"})
    client.ask("GET", f"/v2/a/b/blobs/{ABSENT}")
    client.ask("POST", f"/v2/a/c/blobs/uploads/?mount={name}&from=a/b")
    assert dict(registry.counts) == {"upload.start": 1, "upload.finish": 1, "blob.get": 2, "upload.mount": 1}
    assert (registry.count("upload"), registry.count("blob.get", status=404), registry.count()) == (3, 1, 5)
    assert set(registry.counts) <= set(KINDS)
    assert (registry.sent("blob"), registry.received("upload")) == (len(BLOB) + registry.requests[3].sent, len(BLOB))
    put, got = registry.requests[1], registry.requests[2]
    assert (put.method, put.received, put.query) == ("PUT", len(BLOB), {"digest": name})
    assert (got.path, got.status, got.sent) == (f"/v2/a/b/blobs/{name}", 200, len(BLOB))
    assert {exchange.connection for exchange in registry.requests} == {1}
    registry.forget()
    assert registry.count() == 0


def test_a_secret_is_kept_for_assertions_and_shown_to_nobody(registry: RegistryServer, client: Client) -> None:
    client.ask("GET", "/v2/", headers={"Authorization": "Bearer secret-token"})
    assert registry.requests[0].authorization == "Bearer secret-token"
    assert "secret-token" not in repr(registry.requests)
    assert "Authorization" in repr(registry.requests)


def test_nothing_is_left_running(registry: RegistryServer) -> None:
    with Client(registry.port) as idle:
        idle.ask("GET", "/v2/")
        registry.stop()
        assert not [thread for thread in threading.enumerate() if registry.host in thread.name]
    with pytest.raises(ConnectionRefusedError):
        exchange(registry.port, b"")


def test_many_clients_are_served_at_once(registry: RegistryServer) -> None:
    blobs = [os.urandom(100_000) for _ in range(8)]

    def work(data: bytes) -> None:
        with Client(registry.port) as client:
            client.push_blob("a/b", data)
            assert client.ask("GET", f"/v2/a/b/blobs/{digest(data)}").body == data

    threads = [threading.Thread(target=work, args=(data,)) for data in blobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.count("blob.get", status=200) == 8


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v2/ HTTP/1.1\r\n\r\n",  # no Host
        b"GET /v2/ HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n",
        b"GET http://{host}/v2/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        b"GET /v2/ HTTP/2.0\r\nHost: {host}\r\n\r\n",
        b"GET /v2/a b HTTP/1.1\r\nHost: {host}\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: {host}\r\n folded: yes\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost : {host}\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: {host}\nX: y\r\n\r\n",
        b"PUT /v2/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"PUT /v2/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: -1\r\n\r\n",
        b"PUT /v2/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"PUT /v2/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    ],
)
def test_malformed_requests_are_400_and_end_the_connection(registry: RegistryServer, head: bytes) -> None:
    answer = exchange(registry.port, head.replace(b"{host}", registry.host.encode()))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert registry.count("malformed") == 1


def test_a_client_that_tries_tls_first_is_told_at_once(registry: RegistryServer) -> None:
    assert exchange(registry.port, b"\x16\x03\x01\x02\x00\x01").startswith(b"HTTP/1.1 400 ")


def test_a_header_without_end_is_431(registry: RegistryServer) -> None:
    answer = exchange(registry.port, b"GET /v2/ HTTP/1.1\r\nX: " + b"x" * 70_000)
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_another_host_than_ours_is_421(registry: RegistryServer, client: Client) -> None:
    assert client.ask("GET", "/v2/", headers={"Host": "registry.example"}).status == 421
    assert client.ask("GET", "/v2/", headers={"Host": f"localhost:{registry.port}"}).status == 200


def test_an_early_refusal_of_a_large_body_reaches_the_client(registry: RegistryServer, client: Client) -> None:
    body = bytes(400_000)  # more than the server reads on for
    answer = client.ask("PUT", f"/v2/a/b/blobs/uploads/none?digest={digest(body)}", body)
    assert (answer.status, answer["Connection"]) == (404, "close")
    small = client.ask("PUT", f"/v2/a/b/blobs/uploads/none?digest={digest(body)}", b"little")
    assert (small.status, small["Connection"]) == (404, None)


def test_a_client_that_asks_first_is_told_to_go_on(registry: RegistryServer, client: Client) -> None:
    location = upload(client).encode()
    head = b"PATCH %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nab"
    answer = exchange(registry.port, head % (location, registry.host.encode()))
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 ")


def test_an_old_client_is_answered_and_let_go(registry: RegistryServer) -> None:
    answer = exchange(registry.port, b"GET /v2/ HTTP/1.0\r\nHost: %s\r\n\r\n" % registry.host.encode())
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close" in answer


def test_a_document_that_no_registry_should_take_can_be_placed_for_a_test(
    registry: RegistryServer, client: Client
) -> None:
    raw = json.dumps(image(CONFIG)).encode()
    with pytest.raises(Refusal):
        registry.put_manifest("a/b", raw, OCI_MANIFEST, ["v1"])
    registry.put_manifest("a/b", raw, OCI_MANIFEST, ["v1"], check=False)
    assert client.ask("GET", "/v2/a/b/manifests/v1").body == raw
    assert registry.content("a/b", "v1") == raw
    with pytest.raises(KeyError):
        registry.content("a/b", ABSENT)


def test_a_bug_of_the_registry_is_not_taken_for_one_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = RegistryServer()
    with pytest.raises(ZeroDivisionError), registry, Client(registry.port) as client:
        monkeypatch.setattr(registry.state, "begin", lambda *_: 1 / 0)
        assert client.ask("POST", "/v2/a/b/blobs/uploads/").status == 500
