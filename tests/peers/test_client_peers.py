"""The client against docker's own registry: what it really answers, as far as our flows depend on it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from support.client import client, layer, payload, plain
from tranship.errors import Unavailable
from tranship.formats import pages, referrers, upload
from tranship.formats.distribution import body_offset, claims, expect, read_document
from tranship.formats.refusals import codes, missing_blobs
from tranship.http.payload import BodyFailed
from tranship.model import mediatypes, strict_json
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.daemons import DockerRegistry
    from tranship.http.client import Client

NAME = "acme/app"


def content(seed: int, size: int = 1_500_000) -> bytes:
    return random.Random(seed).randbytes(size)


def push(made: Client, registry: DockerRegistry, data: bytes, **options: int) -> Descriptor:
    host = plain(registry)
    made.run(host, upload.upload(host.repository(NAME), layer(data), **options), payload(data))  # type: ignore[arg-type]
    return layer(data)


def there(made: Client, registry: DockerRegistry, blob: Descriptor, name: str = NAME) -> bool:
    host = plain(registry)
    response = made.send(host, host.repository(name).head_blob(blob.digest))
    return response.status == 200 and claims(response.headers).size == blob.size


def manifest(config: Descriptor, *layers: Descriptor, **fields: object) -> bytes:
    value = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "config": {**config.to_json(), "mediaType": mediatypes.OCI_CONFIG},
        "layers": [item.to_json() for item in layers],
        **fields,
    }
    return strict_json.dumps(value)


def test_blobs_go_up_whole_and_in_chunks_and_come_down_from_anywhere(docker_registry: DockerRegistry) -> None:
    host = plain(docker_registry)
    with client() as made:
        for seed, options in ((1, {}), (2, {"chunk": 400_000})):
            data = content(seed)
            blob = push(made, docker_registry, data, **options)
            assert there(made, docker_registry, blob)
            request = host.repository(NAME).get_blob(blob.digest, 1_000_000)
            with made.open(host, request) as answer:
                assert body_offset(request, answer.head, 1_000_000, blob.size) == (1_000_000, 500_000)
                assert answer.read(1 << 20) == data[1_000_000:]


class BreaksOnce:
    """A payload whose source fails at a place, the first time."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at
        self.whole = False

    def pieces(self, offset: int, count: int) -> Iterator[memoryview]:
        if self.whole or not offset <= self.at < offset + count:
            yield memoryview(self.data)[offset : offset + count]
            return
        self.whole = True
        yield memoryview(self.data)[offset : self.at]
        raise BodyFailed(Unavailable("the source broke"))


@pytest.mark.parametrize("chunk", [None, 500_000])
def test_an_upload_that_breaks_is_brought_to_its_end(docker_registry: DockerRegistry, chunk: int | None) -> None:
    """This registry drops a session that broke in the middle of a request, so it costs a second one."""
    host, data, seen = plain(docker_registry), content(3 if chunk else 7), []
    flow = upload.upload(host.repository(NAME), layer(data), chunk=chunk, opened=seen.append)
    with client() as made:
        made.run(host, flow, BreaksOnce(data, 700_000))
        assert there(made, docker_registry, layer(data))
    assert len({session.url.partition("?")[0] for session in seen}) <= 2


def test_a_session_is_taken_up_by_a_later_client(docker_registry: DockerRegistry) -> None:
    host, data = plain(docker_registry), content(4)
    seen: list[upload.Session] = []
    flow = upload.upload(host.repository(NAME), layer(data), chunk=600_000, opened=seen.append)
    with client() as made:
        request = next(flow)
        for _ in range(2):
            request = flow.send(made.send(host, request, payload(data) if request.span is not None else None))
        flow.close()
    assert seen[-1].offset == 600_000
    with client() as made:
        made.run(host, upload.upload(host.repository(NAME), layer(data), session=seen[-1]), payload(data))
        assert there(made, docker_registry, layer(data))


def test_an_empty_blob_and_a_lost_session(docker_registry: DockerRegistry) -> None:
    host, data = plain(docker_registry), content(5, 1000)
    with client() as made:
        assert there(made, docker_registry, push(made, docker_registry, b""))
        lost = upload.Session(f"{host.url}/{NAME}/blobs/uploads/00000000-0000-4000-8000-000000000000?_state=x")
        made.run(host, upload.upload(host.repository(NAME), layer(data), session=lost), payload(data))
        assert there(made, docker_registry, layer(data))


def test_mounts(docker_registry: DockerRegistry) -> None:
    host, data = plain(docker_registry), content(6, 5000)
    other = host.repository("other/app")
    with client() as made:
        blob = push(made, docker_registry, data)
        assert made.run(host, upload.mount(other, blob, NAME)) is True
        assert there(made, docker_registry, blob, "other/app")
        session = made.run(host, upload.mount(other, layer(b"unknown"), NAME))
        assert isinstance(session, upload.Session)
        made.run(host, upload.cancel(other, session))


def test_documents_tags_and_deletion(docker_registry: DockerRegistry) -> None:
    host = plain(docker_registry)
    repository = host.repository("docs/app")
    with client() as made:
        config = layer(b"{}")
        made.run(host, upload.upload(repository, config), payload(b"{}"))
        raw = manifest(config)
        tags = [f"v{number:03}" for number in range(25)]
        for tag in tags:
            request = repository.put_manifest(tag, raw, mediatypes.OCI_MANIFEST)
            expect(request, made.send(host, request), 201)
        request = repository.get_manifest("v007")
        descriptor, body = read_document(request, made.send(host, request))
        assert body == raw
        assert claims(made.send(host, repository.head_manifest("v007")).headers).digest == descriptor.digest
        paged = pages.all_pages(repository.tags(10), lambda asked, answer: pages.names(asked, answer, "tags"))
        assert sorted(made.run(host, paged)) == tags
        assert "docs/app" in made.run(host, pages.catalog(repository))
        request = repository.delete_manifest(descriptor.digest)
        expect(request, made.send(host, request), 202)
        assert made.send(host, repository.head_manifest("v007")).status == 404


def test_a_manifest_without_its_blobs_names_them(docker_registry: DockerRegistry) -> None:
    host = plain(docker_registry)
    repository = host.repository("docs/missing")
    with client() as made:
        raw = manifest(layer(b"absent config"), layer(b"absent layer"))
        response = made.send(host, repository.put_manifest("1", raw, mediatypes.OCI_MANIFEST))
    assert "MANIFEST_BLOB_UNKNOWN" in codes(response)
    assert set(missing_blobs(response)) == {Digest.of(b"absent config"), Digest.of(b"absent layer")}


def test_referrers_are_kept_under_the_fallback_tag(docker_registry: DockerRegistry) -> None:
    host = plain(docker_registry)
    repository = host.repository("docs/signed")
    with client() as made:
        config = layer(b"{}")
        made.run(host, upload.upload(repository, config), payload(b"{}"))
        image = manifest(config)
        subject = Descriptor(media_type=mediatypes.OCI_MANIFEST, digest=Digest.of(image), size=len(image))
        signature = manifest(config, subject=subject.to_json(), artifactType="application/x.signature")
        for raw in (image, signature):
            request = repository.put_manifest(Digest.of(raw), raw, mediatypes.OCI_MANIFEST)
            response = made.send(host, request)
            expect(request, response, 201)
        assert not referrers.keeps_referrers(response)
        entry = Descriptor(
            media_type=mediatypes.OCI_MANIFEST,
            digest=Digest.of(signature),
            size=len(signature),
            extra={"artifactType": "application/x.signature"},
        )
        assert made.run(host, referrers.referrers(repository, subject.digest)) == ()
        assert made.run(host, referrers.note_referrer(repository, subject.digest, entry))
        assert made.run(host, referrers.referrers(repository, subject.digest, "application/x.signature")) == (entry,)
        assert made.run(host, referrers.referrers(repository, subject.digest, "application/other")) == ()
