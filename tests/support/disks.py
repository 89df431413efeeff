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
FICLONE = 0x40049409
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


def clone(image: Path, copy: Path) -> None:
    """What is on a disk at one moment, where its image lies on a file system with reflinks: a power cut for those that know no shutdown.

    FICLONE takes the file as a whole; what the file system upon the image has not written to it by then is not in the copy.
    """
    with image.open("rb") as given, copy.open("wb") as made:
        fcntl.ioctl(made, FICLONE, given.fileno())


def cut_power(disk: Path) -> None:
    """Shut the file system down as it is; it can be unmounted, and mounted again."""
    fd = os.open(disk, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    finally:
        os.close(fd)
