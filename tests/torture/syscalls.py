"""Faults of system calls: strace makes the n-th call of a kind fail, or kills the process there, for each n of one import.

The process has imported its modules and made a first import elsewhere before strace takes hold of it, so that the calls counted
are those of the work. Needs strace and the right to trace.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.disks import Impossible
from support.peers import PeerMissing, find
from torture import invariants
from torture.box import part
from torture.content import NAME, environment, run, versions

if TYPE_CHECKING:
    from pathlib import Path

    from torture.box import Box
    from torture.content import Versions

FAULTS = ("error=EIO", "error=ENOSPC", "signal=KILL")
KINDS = (
    "fsync,fdatasync,syncfs",
    "rename,renameat,renameat2",
    "write,pwrite64",
    "ftruncate,fallocate",
    "openat",
    "unlink,unlinkat,rmdir",
    "mkdir,fchmod,chmod",
    "pread64,preadv,read",
    "close",
)
NO_SPACE, DATA_LOSS = 11, 7  # exit codes

WARM = """
import os, socket, sys, time
sys.stderr = socket.socket(fileno=int(sys.argv[4])).makefile("w")  # so that what it says is sent, and no `write` that fails
from tranship.cli import main
main(["--root", sys.argv[1], "-q", "import", sys.argv[3]])
print(flush=True)
while not os.path.exists(sys.argv[1] + ".go"):  # by calls that are not among those that fail
    time.sleep(0.01)
sys.exit(main(["--root", sys.argv[2], "-q", "import", sys.argv[3]]))
"""


@dataclass(frozen=True)
class Traced:
    """What an import under strace came to."""

    code: int
    err: str
    injected: int  # calls that were made to fail


def strace() -> str:
    """The program: the fetched one, or the machine's own."""
    try:
        return str(find("strace"))
    except PeerMissing:
        pass
    found = shutil.which("strace")
    if found is None:
        raise Impossible("there is no strace: `make peers` fetches it")
    return found


def traced(place: Path, root: Path, archive: Path, inject: str) -> Traced:
    """Import an archive into `root` with a fault, as strace writes it: `KINDS:FAULT:when=N`."""
    calls = inject.partition(":")[0]
    log = place / "strace.log"
    heard, said = socket.socketpair()
    with (
        heard,
        subprocess.Popen(
            [sys.executable, "-c", WARM, str(place / "warm"), str(root), str(archive), str(said.fileno())],
            env=environment(),
            pass_fds=[said.fileno()],
            stdout=subprocess.PIPE,
        ) as work,
    ):
        said.close()
        assert work.stdout is not None
        work.stdout.readline()
        while work.stdout.readline().strip():  # the warm import tells its digest, then comes an empty line
            pass
        tracing = [
            strace(),
            "-f",
            "-o",
            str(log),
            "-e",
            f"trace={calls}",
            "-e",
            f"inject={inject}",
            "-p",
            str(work.pid),
        ]
        with subprocess.Popen(tracing, stderr=subprocess.PIPE) as tracer:
            assert tracer.stderr is not None
            if b"attached" not in tracer.stderr.readline():
                work.kill()
                raise Impossible("strace cannot trace a process here")
            (place / "warm.go").touch()
            code = work.wait(60)
            err = heard.makefile("rb").read().decode("utf-8", "replace")
            tracer.wait(60)
    text = log.read_text("utf-8", "replace")
    return Traced(code, err, text.count("(INJECTED)") + text.count("killed by SIGKILL"))


@part("syscalls")
def syscalls(box: Box) -> None:
    """Every kind of call and fault, at n = 1, 2, 3 … until the import makes no n-th call."""
    strace()
    with box.scratch() as folder:
        known = versions(folder)
        assert run(folder / "template", "import", known.old).code == 0
        waiting = [(kinds, fault, 1) for kinds in KINDS for fault in FAULTS]
        box.chance.shuffle(waiting)
        for _ in box.rounds():
            if not waiting:
                box.count("times every n of every call was reached")
                break
            kinds, fault, number = waiting.pop(0)
            inject = f"{kinds}:{fault}:when={number}"
            with box.unbroken(f"an import with {inject}"), box.scratch() as place:
                if _one(box, folder, place, known, inject):
                    waiting.append((kinds, fault, number + 1))


def _one(box: Box, folder: Path, place: Path, known: Versions, inject: str) -> bool:
    """One import with a fault, and the checks after it; was the call reached?"""
    root = place / "store"
    shutil.copytree(folder / "template", root)
    done = traced(place, root, known.new, inject)
    if not done.injected:
        assert done.code == 0, done.err
        return False
    box.count("faults")
    box.count(f"with {inject.split(':')[1]}")
    if "KILL" in inject:
        assert done.code == -signal.SIGKILL, (done.code, done.err)
    else:
        assert done.code != 70, done.err
        assert "Traceback" not in done.err, done.err
        assert done.code == 0 or done.err.startswith("tranship: error: "), done.err
        box.count("of them overcome", done.code == 0)
        box.count("of them said", done.code != 0)
    if "ENOSPC" in inject and inject.startswith(("write", "fsync", "ftruncate", "rename")):
        # SQLite does not pass on why its disk failed; whether it is full is then asked of the disk, which is not.
        failing_disk = done.code == DATA_LOSS and "disk I/O error" in done.err
        assert done.code in (0, NO_SPACE) or failing_disk, (done.code, done.err)
    new, old = known.root("new"), known.root("old")
    invariants.sound(root, {NAME: {new} if done.code == 0 else {old, new}})
    invariants.goes_on(root, known)
    return True
