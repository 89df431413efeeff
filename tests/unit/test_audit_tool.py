"""`make audit` tells what a database knows, and never takes silence for safety. The database is a stand-in for pip-audit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOOL = Path(__file__).parents[2] / "tools/audit.py"
STAND_IN = """
import json, pathlib, sys
answers = json.loads(pathlib.Path(__file__).with_name("answers.json").read_text())
answer = answers.get(sys.argv[sys.argv.index("--vulnerability-service") + 1])
if answer is None:
    sys.exit("Failed to resolve the host")
print(json.dumps({"dependencies": answer}))
"""
SOUND = {"name": "rich", "version": "14.0", "vulns": []}
FLAWED = {"name": "urllib3", "version": "2.2", "vulns": [{"id": "CVE-2099-1", "fix_versions": ["2.9"]}]}
UNKNOWN = {"name": "isal", "skip_reason": "not found on PyPI"}


def audit(folder: Path, answers: dict[str, Any], **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "pip_audit.py").write_text(STAND_IN)
    (folder / "answers.json").write_text(json.dumps(answers))
    kept = {name: value for name, value in os.environ.items() if name != "TRANSHIP_REQUIRE_AUDIT"}
    return subprocess.run(
        [sys.executable, TOOL, "a.lock"],
        env={**kept, "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
    )


def test_a_vulnerability_is_told_with_its_mending_and_fails(tmp_path: Path) -> None:
    done = audit(tmp_path, {"pypi": [SOUND, FLAWED, FLAWED]})
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "urllib3 2.2: CVE-2099-1, mended in 2.9",
        "2 dependencies audited by PyPI, 0 unknown to it, 1 vulnerabilities",
    ]


def test_what_a_database_does_not_know_is_counted(tmp_path: Path) -> None:
    done = audit(tmp_path, {"pypi": [SOUND, UNKNOWN]})
    assert (done.returncode, done.stdout) == (
        0,
        "1 dependencies audited by PyPI, 1 unknown to it, 0 vulnerabilities\n",
    )


@pytest.mark.parametrize("pypi", [None, [UNKNOWN]], ids=["not there", "knows nothing"])
def test_the_second_database_is_asked_where_the_first_has_no_answer(pypi: Any, tmp_path: Path) -> None:
    done = audit(tmp_path, {"pypi": pypi, "osv": [FLAWED]})
    assert done.returncode == 1
    assert "audited by OSV" in done.stdout


def test_without_any_database_it_says_that_nothing_was_audited_and_fails_where_that_is_demanded(tmp_path: Path) -> None:
    done = audit(tmp_path, {"pypi": [UNKNOWN]})
    assert done.returncode == 0
    assert done.stdout == ""
    assert done.stderr.startswith("NOTHING WAS AUDITED")
    assert "PyPI: knows none of 1; OSV: Failed to resolve the host" in done.stderr
    assert audit(tmp_path, {}, TRANSHIP_REQUIRE_AUDIT="1").returncode == 1
