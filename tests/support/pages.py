"""Runs the examples of a page of docs/, block by block, as a reader would who types them into one terminal.

Every block of `sh` and `python` is run, in the order of the page, in one folder and one Python; one line of `sh` must end well
before the next. A block of `text` right behind one of them is what it prints, where … stands for what differs from time to
time. A comment of HTML before a block says what is different about it:

    <!-- not run: REASON -->      it is shown alone
    <!-- exit 3 -->               its last line ends with this code
    <!-- before: … -->            lines of sh that are run and not shown; `before python:` likewise
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest import mock

from tranship.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\s*$")
_HIDDEN = re.compile(r"before(?: (python))?:")
_SHELL = re.compile(r"[|<>;&`*?]|\$\(")  # what only a shell understands
_FED = re.compile(
    r'echo "([^"]*)" \| (.*)'
)  # as good as a shell's, and the registries that pages name are known here alone
_SETTING = re.compile(r"(?:export )?([A-Z_]+)=(\S*)")


@dataclass(slots=True)
class Block:
    page: str
    line: int
    language: str  # sh or python
    text: str
    note: str = ""  # the comment before it
    output: str | None = None  # what it must print, where the page says

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that are run, each with its note and its output."""
    found: list[Block] = []
    note = ""
    adjacent = False  # nothing but empty lines since the last block
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        if fence := _FENCE.match(line):
            text = "\n".join(_until_fence(lines))
            if fence[1] == "text" and adjacent:
                found[-1].output = text
            adjacent = fence[1] in ("sh", "python") and not note.startswith("not run: ")
            if adjacent:
                found.append(Block(page.name, number, fence[1], text, note))
            note = ""
        elif line.startswith("<!--"):
            note = _comment(line, lines)
            if hidden := _HIDDEN.match(note):
                found.append(Block(page.name, number, hidden[1] or "sh", note[hidden.end() :].strip()))
                note = ""
            adjacent = False
        elif line.strip():
            adjacent, note = False, ""
    return found


def _comment(first: str, lines: Iterator[tuple[int, str]]) -> str:
    text = first
    while "-->" not in text:
        text += "\n" + next(lines)[1]
    return text.removeprefix("<!--").partition("-->")[0].strip()


def _until_fence(lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    for _, line in lines:
        if line.startswith("```"):
            return
        yield line
    raise AssertionError("a block that does not end")


class Reader:
    """Somebody who types a page's examples; a context manager that ends what they leave running."""

    def __init__(self) -> None:
        self._module = types.ModuleType("__page__")
        self._environment = contextlib.ExitStack()

    def __enter__(self) -> Reader:
        self._environment.enter_context(mock.patch.dict(os.environ))
        self._environment.enter_context(
            mock.patch.dict(sys.modules, {"__page__": self._module})
        )  # dataclasses look there
        _change(".")
        return self

    def __exit__(self, *_: object) -> None:
        self._environment.close()
        for value in reversed([*vars(self._module).values()]):
            for end in ("stop", "cleanup"):  # a registry, a folder
                if hasattr(value, end) and not isinstance(value, type):
                    getattr(value, end)()

    def run(self, block: Block) -> None:
        printed = self._python(block) if block.language == "python" else self._lines(block)
        if block.output is not None:
            assert matches(block.output, printed), f"{block.where} prints\n{printed}\nand the page says\n{block.output}"

    def _python(self, block: Block) -> str:
        with capturing() as out:
            code = compile("\n" * block.line + block.text, block.page, "exec")
            exec(code, vars(self._module))
        return out.getvalue()

    def _lines(self, block: Block) -> str:
        printed, code = [], 0
        wanted = int(block.note.removeprefix("exit ")) if block.note.startswith("exit ") else 0
        lines = list(_logical(block.text))
        for n, line in enumerate(lines, 1):
            text, code = self._line(line)
            printed.append(text)
            expected = wanted if n == len(lines) else 0
            assert code == expected, f"{block.where}: {line!r} ends with {code}, not with {expected}:\n{text}"
        return "".join(printed)

    def _line(self, line: str) -> tuple[str, int]:
        if setting := _SETTING.fullmatch(line):
            os.environ[setting[1]] = os.path.expandvars(setting[2])
            return "", 0
        if line.startswith("cd "):
            _change(line.removeprefix("cd "))
            return "", 0
        fed = _FED.fullmatch(line)
        command = fed[2] if fed else line
        words = shlex.split(os.path.expandvars(command), comments=True)
        if words[0] != "tranship" or _SHELL.search(_unquoted(command)):
            return _shell(line)
        said = f"{os.path.expandvars(fed[1])}\n" if fed else ""
        with capturing() as out, mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(said.encode()))):
            code = main(words[1:])
        return out.getvalue(), code


def _change(folder: str) -> None:
    os.chdir(folder)
    os.environ["PWD"] = os.getcwd()


def _shell(line: str) -> tuple[str, int]:
    program = f'tranship() {{ {sys.executable} -m tranship "$@"; }}\nset -eo pipefail\n{line}'
    done = subprocess.run(
        ["bash", "-c", program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.stdout, done.returncode


def _logical(text: str) -> Iterator[str]:
    """The lines of a block: continued ones as one, without comments and empty ones. One with a here-document is all of it."""
    if "<<" in text:
        yield text
        return
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def _unquoted(line: str) -> str:
    return re.sub(r"'[^']*'|\"[^\"]*\"|\s#.*", "", line)


@contextlib.contextmanager
def capturing() -> Iterator[Terminal]:
    """What is printed, on either stream, as a terminal shows it."""
    out = Terminal()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        yield out


class Terminal(io.TextIOWrapper):
    def __init__(self) -> None:
        self.printed = io.BytesIO()
        super().__init__(self.printed, "utf-8", write_through=True)

    def getvalue(self) -> str:
        return self.printed.getvalue().decode()


def matches(expected: str, printed: str) -> bool:
    """Is it what the page says? … stands for anything in a line; alone on one, for any lines. Columns may be of any width."""
    wanted = ""
    for line in _narrow(expected):
        wanted += r"(?:.*\n)*" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + "\n"
    return re.fullmatch(wanted, "".join(f"{line}\n" for line in _narrow(printed))) is not None


def _narrow(text: str) -> list[str]:
    return [re.sub(r"\s+", " ", line).strip() for line in text.rstrip().splitlines()]
