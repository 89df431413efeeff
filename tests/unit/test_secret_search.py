"""The search for secrets in what all tests print finds them."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from support import secrets
from tranship.model.secret import Credential, Secret

TESTS = Path(__file__).parents[1]
PASSWORD = "Sesame/0pen+" + "now"
TEST = """
import logging, pytest
from tranship.model.secret import Secret

KEPT = Secret("kept by the module")

@pytest.mark.parametrize("text", ["nothing", "kept by the module", "made within"])
def test_something(text):
    Secret("made within")
    {say}(text)
"""


@pytest.mark.parametrize(
    "said", [PASSWORD, quote_plus(PASSWORD), base64.b64encode(f"alice:{PASSWORD}".encode()).decode()]
)
def test_a_secret_is_found_in_each_form(said: str) -> None:
    Credential(username="alice", password=Secret(PASSWORD))
    secrets.search("nothing of the kind", "here")
    with pytest.raises(AssertionError, match="a secret was said here"):
        secrets.search(f"<{said}>", "here")


@pytest.mark.parametrize("say", ["print", "logging.warning"])
def test_a_test_that_says_a_secret_is_an_error(say: str, tmp_path: Path) -> None:
    (tmp_path / "test_saying.py").write_text(TEST.format(say=say))
    # Without the closing list (-rN), which repeats the errors where CI is set.
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rN",
        "-p",
        "conftest",
        "-p",
        "no:cacheprovider",
        "test_saying.py",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(TESTS)}, capture_output=True, text=True
    )
    assert "3 passed, 2 errors" in done.stdout, done.stdout
    assert done.stdout.count("a secret was said by test_saying.py") == 2
