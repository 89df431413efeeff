"""The folders that configure hosts, on a disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tranship.errors import InvalidArgument
from tranship.formats.hosts import default_host
from tranship.http.hosts_folder import load

if TYPE_CHECKING:
    from pathlib import Path


def place(root: Path, registry: str, **files: str) -> str:
    folder = root / registry
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return str(root)


def test_the_first_folder_that_exists_counts(tmp_path: Path) -> None:
    root = place(tmp_path / "one", "_default", hosts__toml='[host."https://default.example"]')
    assert load("reg:5000", [root])[0].url == "https://default.example/v2"
    place(tmp_path / "one", "reg:5000", hosts__toml='[host."https://colon.example"]')
    assert load("reg:5000", [root])[0].url == "https://colon.example/v2"
    place(tmp_path / "one", "reg_5000_", hosts__toml='[host."https://under.example"]')
    assert load("reg:5000", [root])[0].url == "https://under.example/v2"
    other = place(tmp_path / "two", "reg:5000", hosts__toml='[host."https://two.example"]')
    assert load("reg:5000", [str(tmp_path / "absent"), other, root])[0].url == "https://two.example/v2"


def test_nothing_configured_is_the_registry_itself(tmp_path: Path) -> None:
    assert load("ghcr.io", [str(tmp_path)]) == (default_host("ghcr.io"),)
    assert load("ghcr.io", [], "http")[0].url == "http://ghcr.io/v2"


def test_dockers_files_are_read_by_name(tmp_path: Path) -> None:
    root = place(tmp_path, "reg:5000", ca__crt="", client__cert="", client__key="")
    host = load("reg:5000", [root])[0]
    assert host.ca == (f"{root}/reg:5000/ca.crt",)
    assert host.client == ((f"{root}/reg:5000/client.cert", f"{root}/reg:5000/client.key"),)


def test_a_file_that_makes_no_sense_is_named(tmp_path: Path) -> None:
    root = place(tmp_path, "reg", hosts__toml="capabilities = [")
    with pytest.raises(InvalidArgument, match=f"{root}/reg/hosts.toml is not TOML"):
        load("reg", [root])
    (tmp_path / "reg/hosts.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidArgument, match="not UTF-8"):
        load("reg", [root])
    (tmp_path / "reg/hosts.toml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(InvalidArgument, match="more than 1048576 bytes"):
        load("reg", [root])


def test_a_host_that_is_a_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        load("../../etc", [str(tmp_path)])
