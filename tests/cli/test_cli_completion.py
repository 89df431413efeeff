"""Completion scripts know every command, option and choice, and ask the program for names of images alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.peers import find
from tranship.cli import shells


def complete(line: str, cwd=None) -> set[str]:
    """What bash would offer at the end of a line."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    script = f"""
tranship() {{ {sys.executable} -m tranship "$@"; }}
source /dev/stdin <<'EOF'
{shells.bash()}
EOF
COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}
_tranship
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=cwd)
    assert done.stderr == ""
    return set(filter(None, done.stdout.splitlines()))


def test_bash_completes_commands_and_their_aliases():
    assert {"copy", "cp", "version", "content"} <= complete("tranship ")
    assert complete("tranship exp") == {"export"}


def test_bash_completes_options_and_the_words_of_families():
    assert {"--platform", "--dry-run", "--keep-going"} <= complete("tranship copy --")
    assert {"--platform", "--dry-run"} <= complete("tranship cp a b --")
    assert complete("tranship content a") == {"active", "abort"}
    assert complete("tranship content ls --js") == {"--json"}
    assert complete("tranship completion z") == {"zsh"}


def test_bash_completes_choices_of_options_and_leaves_other_values_to_files():
    assert complete("tranship copy --progress ") == {"auto", "tty", "plain", "json", "none"}
    assert complete("tranship export -o ") == set()


def test_bash_completes_names_of_the_store(stocked):
    assert "docker.io/library/app:1" in complete("tranship export ")
    assert complete("tranship export docker.io/library/o") == {"docker.io/library/old:1"}
    assert not {name for name in complete("tranship gc ") if "docker.io" in name}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_word_is_in_the_script(tranship, shell):
    script = tranship("completion", shell).out
    for place in shells.places():
        assert place.path[-1] in script
        for option in place.options:
            assert option.words[-1].lstrip("-") in script


def test_bash_itself_can_read_the_script(tranship):
    subprocess.run(["bash", "-n"], input=tranship("completion", "bash").raw, check=True)


@pytest.mark.peer("zsh")
def test_zsh_itself_can_read_the_script(tranship):
    subprocess.run([find("zsh"), "-n"], input=tranship("completion", "zsh").raw, check=True)


@pytest.mark.peer("fish")
def test_fish_completes_commands_options_and_choices(tranship, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))

    def complete(line: str) -> set[str]:
        script = tranship("completion", "fish").out + f"complete -C '{line}'\n"
        done = subprocess.run([find("fish")], input=script, capture_output=True, text=True, check=True)
        return {found.split("\t")[0] for found in done.stdout.splitlines()}

    assert complete("tranship cop") == {"copy"}
    assert complete("tranship content a") == {"active", "abort"}
    assert complete("tranship cp --plat") == {"--platform"}
    assert complete("tranship copy --progress ") >= {"auto", "tty", "plain", "json", "none"}
