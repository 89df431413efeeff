"""The lock files fit pyproject.toml, pin everything by hash, and name no index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GROUPS = {"tranship": (), "daemon": (), "development": ("test", "check", "proto"), "docs": ("docs",)}


def name_of(requirement: str) -> str:
    return re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0].lower().replace(".", "-").replace("_", "-")


@pytest.mark.parametrize("lock", GROUPS)
def test_everything_that_is_declared_is_locked(lock: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    declared = list(project["project"]["dependencies"])
    if lock != "tranship":
        declared += project["project"]["optional-dependencies"]["daemon"]
    for group in GROUPS[lock]:
        declared += project["dependency-groups"][group]
    text = (ROOT / "requirements" / f"{lock}.lock").read_text("utf-8")
    locked = set(re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE))
    assert {name_of(one) for one in declared} <= locked, "run `make lock`"


@pytest.mark.parametrize("lock", GROUPS)
def test_every_version_is_pinned_by_hashes_and_no_index_is_named(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.lock").read_text("utf-8")
    assert "://" not in text
    assert "--index" not in text
    for entry in re.split(r"\n(?=[a-z])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip()):
        assert re.match(r"[a-z0-9-]+==[^ ]+( ; .+)? \\\n    --hash=sha256:[0-9a-f]{64}", entry), entry[:200]
