"""The machine's own Debian source is found however it is written, and serves another suite with the same mirror and keys."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "tools"))

from debian import Unavailable, machine_source  # needs the path above


@pytest.fixture(autouse=True)
def no_chosen_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRANSHIP_DEBIAN_MIRROR", raising=False)


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def test_a_stanza_keeps_its_mirror_and_keys(etc: Path) -> None:
    (etc / "sources.list.d/debian.sources").write_text(
        "# how it came\nTypes: deb\nURIs: http://mirror.example/security\nSuites: bookworm-security\nComponents: main\n\n"
        "Types: deb deb-src\n# a remark\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n"
        "Components: main contrib\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"
    )
    stanza = machine_source("forky", etc)
    assert "URIs: http://mirror.example/debian\nSuites: forky\nComponents: main\n" in stanza
    assert "Types: deb\n" in stanza
    assert stanza.count("Suites:") == 1
    assert "Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n" in stanza


def test_a_line_keeps_its_mirror_and_keys(etc: Path) -> None:
    (etc / "sources.list").write_text(
        "# deb http://old.example/debian bookworm main\n"
        "deb-src http://mirror.example/debian bookworm main\n"
        "deb http://mirror.example/security bookworm-security main\n"
        "deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] http://mirror.example/debian bookworm main contrib\n"
    )
    assert machine_source("forky", etc) == (
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: forky\nComponents: main\nSigned-By: /usr/share/keyrings/a.gpg\n"
    )


def test_a_chosen_mirror_comes_first(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (etc / "sources.list").write_text("deb http://mirror.example/debian bookworm main\n")
    monkeypatch.setenv("TRANSHIP_DEBIAN_MIRROR", "http://chosen.example/debian")
    assert "URIs: http://chosen.example/debian\n" in machine_source("forky", etc)


def test_a_machine_without_a_source_is_told_so(etc: Path) -> None:
    with pytest.raises(Unavailable, match="no Debian source"):
        machine_source("forky", etc)
