"""What a user vouches for comes in unhashed, is marked, and is hashed before it leaves or when somebody doubts it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support import graphs
from tranship import Archive, Layout, Outcome, Store, transfer
from tranship.errors import DigestMismatch
from tranship.store import Store as OpenStore


@pytest.fixture
def archive(images: Callable[[str], Path], tmp_path: Path) -> Path:
    transfer(Layout(images("large")), Archive(tmp_path / "a.tar"))
    return tmp_path / "a.tar"


def corrupt(archive: Path) -> None:
    """Change a byte in the middle of the largest member."""
    data = bytearray(archive.read_bytes())
    data[len(data) - 100_000] ^= 1
    archive.write_bytes(data)


def vouched(root: Path) -> int:
    with Store(root=root).open() as store:
        content = store.namespace("default").content
        return len(content.vouched([info.digest for info in content.walk()]))


def test_trusted_content_is_marked_until_it_is_verified(archive: Path, tmp_path: Path) -> None:
    transfer(Archive(archive), Store(root=tmp_path / "store"), verification="trusted")
    assert vouched(tmp_path / "store") == 2
    with Store(root=tmp_path / "store").open() as store:
        assert store.verify().corrupt == ()
    assert vouched(tmp_path / "store") == 0


def test_content_that_is_not_trusted_bears_no_mark(archive: Path, tmp_path: Path) -> None:
    transfer(Archive(archive), Store(root=tmp_path / "store"))
    assert vouched(tmp_path / "store") == 0


@pytest.mark.parametrize("verification", ["trusted", "parallel"])
def test_wrong_bytes_at_a_users_word_do_not_leave_again(archive: Path, tmp_path: Path, verification: str) -> None:
    corrupt(archive)
    transfer(Archive(archive), Store(root=tmp_path / "store"), verification="trusted")
    with pytest.raises(DigestMismatch):
        transfer(Store(root=tmp_path / "store"), Layout(tmp_path / "out"), verification=verification)  # type: ignore[arg-type]
    assert not (tmp_path / "out" / "index.json").exists()


def test_a_later_transfer_hashes_what_came_at_a_users_word(
    archive: Path, images: Callable[[str], Path], tmp_path: Path
) -> None:
    corrupt(archive)
    transfer(Archive(archive), Store(root=tmp_path / "store"), verification="trusted")
    summary = transfer(Layout(images("large")), Store(root=tmp_path / "store"))
    assert summary.counts[Outcome.ADOPTED] == 1  # the corrupt one, again
    transfer(Store(root=tmp_path / "store"), Layout(tmp_path / "out"))
    assert graphs.images(tmp_path / "out") == graphs.images(images("large"))
    assert vouched(tmp_path / "store") == 0


def test_what_another_process_puts_aside_first_comes_again(
    archive: Path, images: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corrupt(archive)
    transfer(Archive(archive), Store(root=tmp_path / "store"), verification="trusted")
    verify = OpenStore.verify
    monkeypatch.setattr(OpenStore, "verify", lambda store, digests: [verify(store, digests) for _ in range(2)][1])
    summary = transfer(Layout(images("large")), Store(root=tmp_path / "store"))
    assert summary.counts[Outcome.ADOPTED] == 1
    transfer(Store(root=tmp_path / "store"), Layout(tmp_path / "out"))
    assert graphs.images(tmp_path / "out") == graphs.images(images("large"))


def test_without_trust_wrong_bytes_do_not_come_in(archive: Path, tmp_path: Path) -> None:
    corrupt(archive)
    with pytest.raises(DigestMismatch):
        transfer(Archive(archive), Store(root=tmp_path / "store"))
