"""The lock files fit pyproject.toml, pin everything by hash, and name no index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement  # pytest brings it
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
GROUPS = {"tranship": (), "daemon": (), "development": ("test", "check", "proto"), "docs": ("docs",)}


def declared(lock: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    found = list(project["project"]["dependencies"])
    if lock != "tranship":
        found += project["project"]["optional-dependencies"]["daemon"]
    for group in GROUPS[lock]:
        found += project["dependency-groups"][group]
    return [Requirement(one) for one in found]


@pytest.mark.parametrize("lock", GROUPS)
def test_everything_that_is_declared_is_locked_at_a_version_that_it_allows(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.lock").read_text("utf-8")
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", text, re.MULTILINE))
    for one in declared(lock):
        name = canonicalize_name(one.name)
        assert name in locked, f"{one} is not locked: run `make lock`"
        assert one.specifier.contains(locked[name], prereleases=True), f"{one}, not {locked[name]}: run `make lock`"


@pytest.mark.parametrize("lock", GROUPS)
def test_every_version_is_pinned_by_hashes_and_no_index_is_named(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.lock").read_text("utf-8")
    assert "://" not in text
    assert "--index" not in text
    for entry in re.split(r"\n(?=[a-z])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip()):
        assert re.match(r"[a-z0-9-]+==[^ ]+( ; .+)? \\\n    --hash=sha256:[0-9a-f]{64}", entry), entry[:200]
