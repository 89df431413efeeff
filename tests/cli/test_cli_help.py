"""Help is there for every command, its examples are true, and asking for little costs little."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tranship.cli import catalogue
from tranship.cli.parsing import module_of, parser_of
from tranship.version import __version__

COMMANDS = catalogue.every()


def examples(command: str) -> list[str]:
    text = module_of(COMMANDS[command]).EXAMPLES
    return [re.split(r"\s{2,}", line.strip())[0] for line in text.strip().splitlines()]


@pytest.mark.parametrize(
    "command", [name for name in COMMANDS if name != "daemon"]
)  # which stays: tests/daemon/test_daemon_process.py
def test_the_examples_of_a_command_work_one_after_another(stocked, registry, command, monkeypatch):
    """`registry.example` stands for a registry that has team/app:1; it wants no password."""
    stocked("tag", "app:1", f"{registry.host}/team/app:1")
    if command == "logout":
        stocked("login", "-u", "alice", "--password-stdin", registry.host, stdin=b"secret")
    monkeypatch.setenv("PASSWORD", "secret")
    Path("password").write_text("secret\n")
    assert examples(command)
    for line in (line.replace("registry.example", registry.host) for line in examples(command)):
        if re.search(r"[|<>]|\$\(", line):
            ran = stocked.shell(line)
        else:
            program, *words = shlex.split(line)
            assert program == "tranship"
            ran = stocked.failing(*words)
        assert ran.code == 0, (line, ran)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_on_stdout_and_shows_the_examples(tranship, command):
    ran = tranship(command, "--help")
    assert ran.out.startswith(f"usage: tranship {command}")
    assert all(example in ran.out for example in examples(command))
    assert ran.err == ""
    assert tranship("help", command).out == ran.out


def test_the_overview_names_every_command_and_alias(tranship):
    text = tranship("--help").out
    for command in COMMANDS.values():
        assert f"  {', '.join((command.name, *command.aliases))} " in text
        assert command.summary in text
    assert max(map(len, text.splitlines())) <= 128


def test_no_words_at_all_are_a_mistake_with_the_overview_on_stderr(tranship):
    ran = tranship.failing()
    assert (ran.code, ran.out) == (2, "")
    assert "usage: tranship COMMAND" in ran.err


def test_names_and_aliases_are_unique_and_every_module_is_listed():
    words = [word for c in COMMANDS.values() for word in (c.name, *c.aliases)]
    assert len(words) == len(set(words))
    import pkgutil

    import tranship.cli.commands

    found = {module.name for module in pkgutil.iter_modules(tranship.cli.commands.__path__)}
    assert found == {command.module for command in COMMANDS.values()}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_is_for_or_what_it_takes(command):
    for action in parser_of(COMMANDS[command])._actions:
        assert action.help or action.metavar or action.choices, (command, action)


@pytest.mark.parametrize("words", [["version"], ["--version"], ["-V"]])
def test_the_version_is_one_line(tranship, words):
    assert tranship(*words).out == f"tranship {__version__}\n"


def test_the_version_as_json(tranship):
    assert tranship("version", "--json").json["version"] == __version__


# --- what is imported -------------------------------------------------------------------------------------------------


def imported(*words: str, **settings) -> set[str]:
    """The modules that a command imports beyond those of a bare Python."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tranship", *words], capture_output=True, text=True, **settings
    )
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"^import time:.*\|\s*(\S+)$", done.stderr, re.MULTILINE))


HEAVY = {
    "rich",
    "grpc",
    "google",
    "urllib3",
    "ssl",
    "http.client",
    "email",
    "asyncio",
    "concurrent.futures",
    "isal",
    "ctypes",
}


def test_the_version_imports_next_to_nothing():
    found = imported("version")
    assert {name for name in found if name.split(".")[0] == "tranship"} == {
        "tranship",
        "tranship.cli",
        "tranship.version",
    }
    assert not found & {"argparse", "json", "dataclasses", "sqlite3", "hashlib", "logging", "threading", *HEAVY}


def test_the_overview_needs_neither_parsers_nor_engine():
    found = imported("--help")
    assert not found & {"argparse", "json", "sqlite3", "dataclasses", *HEAVY}
    assert not [name for name in found if name.startswith(("tranship.engine", "tranship.store", "tranship.model"))]


def test_help_of_commands_that_ask_registries_needs_no_client():
    for command in ("pull", "push", "login"):
        found = imported(command, "--help")
        assert not found & {"sqlite3", *HEAVY}
        assert not [name for name in found if name.startswith(("tranship.http", "tranship.store"))]


def test_listing_the_store_and_exporting_from_it_import_nothing_heavy(stocked):
    assert not imported("ls") & HEAVY
    assert not imported("export", "app:1", "-o", "x.tar") & HEAVY
