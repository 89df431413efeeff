"""What an operation costs, counted and never timed: calls of the system by name, bytes, transactions, requests, modules.

    with counting() as cost: transfer(…)
    assert cost.syncs <= 2

Counted are the functions of `os` that our code calls, in this process and all its threads, and SQLite's transactions. What SQLite
itself asks of the system is seen by strace alone (`traced`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tranship.store import placing
from tranship.store.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS = (
    *("open", "close", "read", "pread", "preadv", "write", "pwrite", "sendfile", "copy_file_range"),
    *("fsync", "fdatasync", "ftruncate", "posix_fallocate", "posix_fadvise"),
    *("rename", "replace", "unlink", "link", "mkdir", "makedirs", "rmdir"),
    *("stat", "lstat", "fstat", "statvfs", "chmod", "fchmod", "listdir", "scandir"),
)
IN = frozenset({"read", "pread", "preadv"})
OUT = frozenset({"write", "pwrite"})


@dataclass
class Cost:
    """What was counted."""

    calls: Counter[str] = field(default_factory=Counter)  # by the function's name
    statements: Counter[str] = field(default_factory=Counter)  # of SQLite, by their first word
    read: int = 0  # bytes
    written: int = 0

    @property
    def syncs(self) -> int:
        """Waits for the disk, SQLite's own apart."""
        return self.calls["fsync"] + self.calls["fdatasync"] + self.calls["syncfs"]

    @property
    def commits(self) -> int:
        """Transactions of SQLite."""
        return self.statements["COMMIT"]

    @property
    def total(self) -> int:
        """All calls."""
        return self.calls.total()


@contextlib.contextmanager
def counting() -> Iterator[Cost]:
    """Count what the block does."""
    cost, lock = Cost(), threading.Lock()

    def counted(name: str, function: Any) -> Any:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            with lock:
                cost.calls[name] += 1
                if name in IN:
                    cost.read += result if isinstance(result, int) else len(result)
                elif name in OUT:
                    cost.written += result
            return result

        return call

    connect = Database._connect

    def connected(self: Database) -> Any:
        connection = connect(self)

        def note(statement: str) -> None:
            with lock:
                cost.statements[statement.split(None, 1)[0].upper()] += 1

        connection.set_trace_callback(note)
        return connection

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            if hasattr(os, name):
                patch.setattr(os, name, counted(name, getattr(os, name)))
        for name in ("ioctl", "flock"):
            patch.setattr(fcntl, name, counted(name, getattr(fcntl, name)))
        patch.setattr(placing, "_sync_filesystem", counted("syncfs", placing._sync_filesystem))
        patch.setattr(Database, "_connect", connected)
        yield cost


def moved_by_kernel() -> tuple[int, int] | None:
    """Bytes that this process has read and written so far by any call, as Linux counts them; None elsewhere."""
    try:
        text = Path("/proc/self/io").read_text("ascii")
    except OSError:
        return None
    found = dict(re.findall(r"(\w+): (\d+)", text))
    return int(found["rchar"]), int(found["wchar"])


def traced(strace: Path, folder: Path, *words: object) -> Counter[str]:
    """Run a command of tranship under strace; the number of its calls of the system, by name."""
    log = folder / "strace.txt"
    command = [sys.executable, "-m", "tranship", *map(str, words)]
    done = subprocess.run(
        [str(strace), "-f", "-c", "-U", "name,calls", "-o", str(log), *command],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"^\s*(\w+)\s+(\d+)\s*$", log.read_text(), re.MULTILINE)
    # What threads ask for when they wait for each other is no cost of the work, and differs from run to run.
    return Counter({name: int(calls) for name, calls in lines if name not in ("total", "futex")})


def modules(*words: str) -> set[str]:
    """What a command imports, beside what a bare Python does."""
    code = (
        "import sys; before = set(sys.modules); from tranship.cli import main; code = main(sys.argv[1:]);"
        "print('\\n', *sorted(set(sys.modules) - before), sep='\\n', file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.rpartition("\n\n")[2].split())
