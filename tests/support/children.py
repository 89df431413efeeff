"""Running `faults/transfer_child.py`: a transfer in a process of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CHILD = Path(__file__).parent.parent / "faults" / "transfer_child.py"


@dataclass
class Child:
    """A running child. `said` waits for its end; what it says goes through stderr."""

    process: subprocess.Popen[bytes]

    def wait_until_ready(self) -> None:
        """Wait until the first blob is about to move."""
        assert self.process.stderr is not None
        assert json.loads(self.process.stderr.readline())["ready"]

    def said(self) -> dict[str, Any]:
        """The last line that it says of what happened; empty when it was killed before."""
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            text = lines.read().decode()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self.process.wait(60)
        lines_of_json = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        others = [line for line in text.splitlines() if not line.startswith("{")]
        assert not others, text
        return next((line for line in reversed(lines_of_json) if "ready" not in line), {})


@contextlib.contextmanager
def piped(path: Path) -> Iterator[IO[bytes]]:
    """A pipe through which the file comes."""
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as cat:
        assert cat.stdout is not None
        yield cat.stdout


def started(
    source: tuple[str, dict[str, Any]],
    destination: tuple[str, dict[str, Any]],
    *,
    stdin: IO[bytes] | int | None = subprocess.DEVNULL,
    stdout: IO[bytes] | int | None = subprocess.DEVNULL,
    env: dict[str, str] | None = None,
    **more: Any,
) -> Child:
    """Start a transfer from one end to another: ("archive", {"file": path}), …"""
    request = json.dumps({"source": source, "destination": destination, **more}, default=str)
    process = subprocess.Popen(
        [sys.executable, str(CHILD), request], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=env
    )
    return Child(process)


def ran(source: tuple[str, dict[str, Any]], destination: tuple[str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Run a transfer to its end; what it says of it."""
    return started(source, destination, **more).said()
