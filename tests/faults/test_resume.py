"""A transfer that is cut goes on where it was: within one run, and in the next."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tranship import Limits, Outcome, Registry, Store, transfer
from tranship.errors import DigestMismatch, TranshipError
from tranship.model import mediatypes, strict_json
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.testing.memory import Memory
from tranship.testing.registry import RegistryServer

SIZE = 40 << 20


def nobody(_host: str, _repository: str) -> None:
    """No credentials."""


@pytest.fixture(scope="module")
def image() -> Memory:
    images = Memory()

    def put(raw: bytes, media_type: str) -> Descriptor:
        digest = Digest.of(raw)
        images.blobs[digest] = raw
        return Descriptor(media_type=media_type, digest=digest, size=len(raw))

    layer = put(random.Random(1).randbytes(SIZE), mediatypes.OCI_LAYER)
    config = put(b"{}", mediatypes.OCI_CONFIG)
    value = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json()],
    }
    images.names["example.com/app:1"] = put(strict_json.dumps(value), mediatypes.OCI_MANIFEST)
    return images


@pytest.fixture
def server(image: Memory) -> Iterator[RegistryServer]:
    with RegistryServer() as running:
        transfer(image, at(running))
        yield running


def at(server: RegistryServer, **options: Any) -> Registry:
    return Registry(f"{server.host}/app:1", plain_http=True, credential=nobody, environment={}, **options)


def sent(server: RegistryServer, since: int) -> int:
    return sum(exchange.sent for exchange in list(server.requests)[since:] if exchange.kind == "blob.get")


def content(store: Store) -> dict[str, bytes]:
    with store.open() as opened:
        space = opened.namespace("default")
        return {info.digest: space.content.read_bytes(info.digest, SIZE) for info in space.content.walk()}


def test_a_pull_that_is_cut_goes_on_within_the_run(server: RegistryServer, image: Memory, tmp_path: Path) -> None:
    before = len(server.requests)
    server.fault("drop", after=10 << 20, times=3, kind="blob.get")
    transfer(at(server), Store(root=tmp_path))
    assert content(Store(root=tmp_path)) == image.blobs
    assert sent(server, before) <= 1.2 * SIZE


def test_a_pull_that_fails_is_taken_up_by_the_next_run(server: RegistryServer, image: Memory, tmp_path: Path) -> None:
    before = len(server.requests)
    with server.fault("drop", after=25 << 20, times=100, kind="blob.get"), pytest.raises(TranshipError):
        transfer(at(server), Store(root=tmp_path), limits=Limits(retries=0))
    transfer(at(server), Store(root=tmp_path))
    assert content(Store(root=tmp_path)) == image.blobs
    assert sent(server, before) <= 1.2 * SIZE


def test_what_was_kept_of_wrong_bytes_is_dropped(server: RegistryServer, image: Memory, tmp_path: Path) -> None:
    server.fault("wrong-bytes", times=1, kind="blob.get")
    with pytest.raises(DigestMismatch):
        transfer(at(server), Store(root=tmp_path), limits=Limits(retries=0))
    transfer(at(server), Store(root=tmp_path))
    assert content(Store(root=tmp_path)) == image.blobs


@pytest.mark.parametrize("slow", [True, False])
def test_several_ranges_of_one_blob_give_the_same_blob_and_are_asked_for_where_one_is_slow(
    slow: bool, server: RegistryServer, image: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tranship.endpoints.receiving._ENOUGH", float("inf") if slow else 0.0)
    before = len(server.requests)
    summary = transfer(at(server), Store(root=tmp_path), limits=Limits(ranges=3))
    assert content(Store(root=tmp_path)) == image.blobs
    assert summary.counts[Outcome.COPIED] == 3
    ranges = [e.headers.get("Range") for e in list(server.requests)[before:] if e.kind == "blob.get"]
    first, second = 16 << 20, 32 << 20  # stretches of 16 MiB
    expected = [None, None, f"bytes={first}-{second - 1}", f"bytes={second}-"] if slow else [None, None]
    assert sorted(ranges, key=str) == sorted(expected, key=str)


def test_two_transfers_at_once_both_succeed(server: RegistryServer, image: Memory, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(transfer, at(server), Store(root=tmp_path)) for _ in range(2)]
        assert [one.result().bytes for one in both] == [sum(map(len, image.blobs.values()))] * 2
    assert content(Store(root=tmp_path)) == image.blobs
