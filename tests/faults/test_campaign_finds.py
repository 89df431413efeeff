"""What the campaign has broken once (`make torture`, docs/campaign.md), so that it stays mended."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.raw_tar import END, header, member, padded, pax, record
from torture.content import in_memory
from tranship import Store, transfer
from tranship.errors import DataLoss, InvalidArgument, Unavailable
from tranship.formats.tar import read_index

if TYPE_CHECKING:
    from pathlib import Path

FULL = os.path.exists("/dev/full")  # Linux has it


def with_device(data: bytes, major: bytes) -> bytes:
    """The same member with another device number, and the right checksum."""
    changed = bytearray(data)
    changed[329:337] = major
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed[:512])
    return bytes(changed)


@pytest.mark.parametrize("kind", [b"L", b"K"])
def test_a_long_name_that_goes_on_behind_its_length_is_refused(kind: bytes) -> None:
    """GNU tar and Python read such a name to its zero byte, Go and we to its length; found by the differential test."""
    name = b"n" * 120 + b"scanned"
    data = (
        header(b"././@LongLink", 120, kind)
        + padded(name)
        + member(b"short", b"x", b"2" if kind == b"K" else b"0")
        + END
    )
    with pytest.raises(InvalidArgument, match="goes on where its header says it ends"):
        read_index(lambda at, count: data[at : at + count], len(data))


def test_a_long_name_without_a_zero_byte_is_taken_when_nothing_follows() -> None:
    data = header(b"././@LongLink", 120, b"L") + padded(b"n" * 120) + member(b"short", b"x") + END
    assert [one.name for one in read_index(lambda at, count: data[at : at + count], len(data))] == ["n" * 120]


def test_an_extension_header_with_a_malformed_number_is_refused() -> None:
    """Python's reader ends there without a word, and others read on; found by the property test."""
    odd = header(b"x", 0, b"x", uid=b"\x01\0\0\0\0\0\0\0")
    data = member(b"first", b"1") + odd + member(b"last", b"2") + END
    with pytest.raises(DataLoss, match="malformed number"):
        read_index(lambda at, count: data[at : at + count], len(data))


@pytest.mark.parametrize(
    ("odd", "error"),
    [
        (pax(record(b"path", b"file")) + member(b"folder/", b"x", b"\0"), InvalidArgument),
        (member(b"file", b"x", magic=b"ustar\xb200", prefix=b"folder"), InvalidArgument),
        (with_device(member(b"file", b"x"), b"\x01\0\0\0\0\0\0\0"), DataLoss),
    ],
    ids=["a folder and a file", "a prefix of no format", "a malformed device"],
)
def test_what_pythons_reader_understands_differently_is_refused(odd: bytes, error: type[Exception]) -> None:
    """Found by the differential test, in one of three thousand mutated archives."""
    data = member(b"first", b"1") + odd + member(b"last", b"2") + END
    with pytest.raises(error):
        read_index(lambda at, count: data[at : at + count], len(data))


@pytest.mark.parametrize(
    ("words", "redirection", "code"),
    [
        ("ls --nonsense", ">&-", 2),
        ("ls --nonsense", "2>&-", 2),
        ("ls --nonsense", ">&- 2>&- <&-", 2),
        ("completion bash", ">&-", 0),
        ("version", ">&-", 0),
        ("version", "| true", 141),
        *(
            (("version", ">/dev/full", 11), ("completion bash", ">/dev/full", 11), ("ls --nonsense", "2>/dev/full", 2))
            if FULL
            else ()
        ),
    ],
)
def test_a_standard_stream_that_is_closed_or_full_changes_no_exit_code(
    words: str, redirection: str, code: int, tmp_path: Path
) -> None:
    """Found by failing the write of an error message."""
    program = f"set -o pipefail; {sys.executable} -m tranship {words} {redirection}"
    environment = {**os.environ, "TRANSHIP_ROOT": str(tmp_path / "store")}
    done = subprocess.run(["bash", "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_a_disk_that_fails_under_the_database_is_told_as_a_failing_disk(tmp_path: Path) -> None:
    """Found by failing system calls: it was told as a store in the wrong state."""
    words = [sys.executable, "-m", "tranship", "--root", str(tmp_path / "store")]
    transfer(in_memory("example.com/app:1"), Store(root=tmp_path / "store", durability="process"))

    def no_large_files() -> None:  # what the database writes beyond that fails, for another reason than a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    tag = [*words, "tag", "example.com/app:1", "example.com/app:2"]
    done = subprocess.run(tag, preexec_fn=no_large_files, capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
    assert "state.db" in done.stderr
    assert "disk I/O error" in done.stderr
    assert "hint: " in done.stderr
    assert subprocess.run(tag, capture_output=True).returncode == 0


def test_a_socket_that_goes_away_while_it_is_looked_at_is_nobodys_to_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by killing a daemon amid clients: one that starts again takes its old socket away."""
    pytest.importorskip("grpc")
    from tranship._api.wellknown import Empty
    from tranship.containerd.channel import Channel
    from tranship.containerd.methods import Version

    place = tmp_path / "t.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
    allowed = os.access

    def gone(path: str, mode: int) -> bool:
        place.unlink(missing_ok=True)
        return allowed(path, mode)

    monkeypatch.setattr(os, "access", gone)
    with Channel(place) as channel, pytest.raises(Unavailable):
        channel.unary(Version.VERSION, Empty())
