"""Running tranship's commands: in this process, for speed, or as a process of its own, for signals, pipes and terminals."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import secrets
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

    def largest_blob(self, name: str) -> Path:
        """The file of the largest blob of an image in the store."""
        index = self("digest", "-q", name).out.strip()
        files = {f"{path.parent.name}:{path.name}": path for path in self.root.glob("blobs/sha*/*")}
        found, waiting = set[str](), {index}
        while waiting:
            digest = waiting.pop()
            found.add(digest)
            with contextlib.suppress(ValueError):  # a layer is no document
                waiting |= (
                    set(re.findall(r"sha256:[0-9a-f]{64}", files[digest].read_text("utf-8"))) & files.keys() - found
                )
        return max((files[digest] for digest in found), key=lambda path: path.stat().st_size)

    def failing(self, *words: object, stdin: bytes = b"") -> Ran:
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        before = sys.stdin
        sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main([os.fspath(w) if isinstance(w, Path) else str(w) for w in words])
        finally:
            sys.stdin = before
        ran = Ran(code, out.buffer.getvalue(), err.buffer.getvalue().decode())
        secrets.search(ran.raw.decode("latin-1") + ran.err, f"by {words}")
        return ran

    def process(self, *words: object, **settings: Any) -> subprocess.Popen[bytes]:
        """Start a command as a process; its stdin, stdout and stderr are pipes unless said otherwise."""
        settings = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
        return subprocess.Popen([sys.executable, "-m", "tranship", *map(str, words)], **settings)

    def shell(self, line: str) -> Ran:
        """Run a line of bash, with `tranship` among its programs."""
        program = f'tranship() {{ {sys.executable} -m tranship "$@"; }}\nset -eo pipefail\n{line}'
        done = subprocess.run(["bash", "-c", program], capture_output=True, stdin=subprocess.DEVNULL)
        ran = Ran(done.returncode, done.stdout, done.stderr.decode())
        secrets.search(ran.raw.decode("latin-1") + ran.err, f"by {line}")
        return ran
