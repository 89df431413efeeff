"""Running tranship's commands: in this process, for speed, or as a process of its own, for signals, pipes and terminals."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tranship.cli import main


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did: its exit code, and what it printed."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Commands:
    """`tranship(…)` runs a command in this process and demands that it ends well; `failing` returns whatever comes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, *words: object, stdin: bytes = b"") -> Ran:
        ran = self.failing(*words, stdin=stdin)
        assert ran.code == 0, (words, ran)
        return ran

    def failing(self, *words: object, stdin: bytes = b"") -> Ran:
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        before = sys.stdin
        sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main([os.fspath(w) if isinstance(w, Path) else str(w) for w in words])
        finally:
            sys.stdin = before
        return Ran(code, out.buffer.getvalue(), err.buffer.getvalue().decode())

    def process(self, *words: object, **settings: Any) -> subprocess.Popen[bytes]:
        """Start a command as a process; its stdin, stdout and stderr are pipes unless said otherwise."""
        settings = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
        return subprocess.Popen([sys.executable, "-m", "tranship", *map(str, words)], **settings)

    def shell(self, line: str) -> Ran:
        """Run a line of bash, with `tranship` among its programs."""
        program = f'tranship() {{ {sys.executable} -m tranship "$@"; }}\nset -eo pipefail\n{line}'
        done = subprocess.run(["bash", "-c", program], capture_output=True, stdin=subprocess.DEVNULL)
        return Ran(done.returncode, done.stdout, done.stderr.decode())
