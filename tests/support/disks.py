"""Small disks of the tests' own, that fill up or lose their power. Linux, and root, for mounting."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN of ext4 and XFS:
NO_LOG_FLUSH = 2  # as a power cut does it, what is not on the disk is lost


class Impossible(Exception):
    """This cannot be done here; the text says why (no root, no strace, …). A test that raises it is skipped."""


def tool(*words: object) -> None:
    """Run a program that needs root."""
    if os.geteuid() != 0:
        raise Impossible("mounting needs root")
    try:
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    except FileNotFoundError:
        raise Impossible(f"there is no {words[0]}") from None
    if done.returncode:
        raise Impossible(f"{words[0]} is not possible here: {done.stderr.strip()}")


@contextlib.contextmanager
def mounted(folder: Path, *options: object) -> Iterator[Path]:
    """A file system on `folder` for the block."""
    folder.mkdir(exist_ok=True)
    tool("mount", *options, folder)
    try:
        yield folder
    finally:
        for _ in range(100):  # a killed process may take a moment to let go
            if subprocess.run(["umount", str(folder)], capture_output=True).returncode == 0:
                break
            time.sleep(0.05)


def cut_power(disk: Path) -> None:
    """Shut the file system down as it is; it can be unmounted, and mounted again."""
    fd = os.open(disk, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    finally:
        os.close(fd)
