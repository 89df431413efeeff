"""The unmodified ctr, run twice: against our daemon and against a real containerd, to compare what it prints and how it ends.

What cannot be alike is evened out: times, ages, widths of columns, the progress that ctr draws, and what only a daemon that
unpacks images can say. Of an error the end of its text is compared, by which clients tell the classes apart.
"""

from __future__ import annotations

import contextlib
import difflib
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.peers import Peers

_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( \+0000 UTC|Z)?")
_AGE = re.compile(r"\b(Less than a second|About a minute|\d+ (second|minute)s?)( ago)?\b")
_UNPACKED = re.compile(
    r"(containerd\.io/(uncompressed|gc\.ref\.snapshot\.overlayfs)=\S+?(,|(?=\s|$)))"
    r'|(.*"containerd\.io/(uncompressed|gc\.ref\.snapshot\.overlayfs)".*\n)'
)
_CLASSES = ("not found", "already exists", "invalid argument", "failed precondition", "not implemented", "out of range")
TRANSFERS = {("images", verb) for verb in ("import", "export", "pull", "push")}


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The class of the error by the end of its text; "" when there is none."""
        last = self.err.strip().splitlines()[-1] if self.code and self.err.strip() else ""
        return next((name for name in _CLASSES if last.endswith(name)), "")

    def evened(self) -> tuple[str, ...]:
        """The lines of what it printed, without what cannot be alike."""
        text = _UNPACKED.sub("", self.out)
        text = _AGE.sub("AGE", _TIME.sub("TIME", text))
        lines = [" ".join(map(_sorted, line.split())) for line in text.splitlines()]
        return tuple(line.removesuffix(" true").removesuffix(" false") for line in _blocks_sorted(lines))


def _sorted(word: str) -> str:
    """Labels come in no order."""
    return ",".join(sorted(filter(None, word.split(",")))) if "=" in word else word


def _blocks_sorted(lines: list[str]) -> list[str]:
    """… nor do they where an image is inspected, between the lines of a frame."""
    frames = [n for n, line in enumerate(lines) if "──Labels──" in line]
    for start in frames:
        end = next(n for n in range(start, len(lines)) if "└──" in lines[n])
        lines[start + 1 : end] = sorted(lines[start + 1 : end])
    return lines


class World:
    """One daemon, and the version of ctr that talks to it."""

    def __init__(
        self, peers: Peers, program: str, address: str | os.PathLike[str], namespace: str, folder: Path
    ) -> None:
        self._peers = peers
        self.program = program
        self._address = address
        self.namespace = namespace
        self.folder = folder  # for files, called alike in both worlds
        folder.mkdir(parents=True, exist_ok=True)

    def ctr(self, *args: str, stdin: bytes = b"") -> Done:
        """Run a command in the world's folder."""
        done = self._run(args, stdin)
        return Done(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))

    def raw(self, *args: str) -> bytes:
        """Run a command that ends well, for the bytes that it prints."""
        done = self._run(args, b"")
        assert not done.returncode, done.stderr
        return done.stdout

    @contextlib.contextmanager
    def listening(self, *args: str) -> Iterator[Callable[[], list[str]]]:
        """Within it a command runs; what it has printed so far."""
        path = self.folder / "heard"
        with path.open("wb") as file:
            command = [*self._command(), *args]
            process = subprocess.Popen(command, env=self._peers.environment(self.program), stdout=file)
        try:
            yield lambda: path.read_text().splitlines()
        finally:
            process.terminate()
            process.wait()

    def _command(self) -> list[str]:
        return self._peers.command(self.program, "--address", str(self._address), "--namespace", self.namespace)

    def _run(self, args: tuple[str, ...], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*self._command(), *args],
            env=self._peers.environment(self.program),
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            timeout=100,
        )


@dataclass(frozen=True)
class Both:
    """Our daemon, and the real one."""

    ours: World
    real: World

    def same(self, *args: str, stdin: bytes = b"", fails: bool = False) -> str:
        """Run a command in both worlds, hold the results together, and give what it printed in ours."""
        ours, real = (world.ctr(*args, stdin=stdin) for world in (self.ours, self.real))
        assert ours.code == real.code, f"{args}\nours: {ours}\nreal: {real}"
        assert ours.error == real.error, f"{args}\nours: {ours.err}\nreal: {real.err}"
        if args[:2] not in TRANSFERS:
            lines = difflib.unified_diff(real.evened(), ours.evened(), "real", "ours", lineterm="", n=0)
            assert ours.evened() == real.evened(), "\n".join((f"{args}", *lines))
        assert bool(ours.code) == fails, f"{args}\nours: {ours}\nreal: {real}"
        return ours.out if not fails else ours.err

    def each(self, *args: str) -> tuple[Done, Done]:
        """Run a command in both worlds without comparing."""
        return self.ours.ctr(*args), self.real.ctr(*args)

    def collect(self) -> None:
        """Let both worlds collect garbage, now."""
        self.same("leases", "create", "--id", "to-collect")
        self.same("leases", "delete", "--sync", "to-collect")

    def file(self, name: str, data: bytes) -> None:
        """Put a file into both folders."""
        for world in (self.ours, self.real):
            (world.folder / name).write_bytes(data)
