"""The folders of a store, and the checks of its root.

root/                 0700, owned by the user who runs us
  blobs/ALG/HEX       0400, whole and verified; a name appears and vanishes only under the database's write lock
  ingest/ID/          one for each ingest: `data`, and `offset`, the length of its contiguous part
  run/ID/             one for each process that has the store open: `alive` is locked by it, the rest is its scratch
  quarantine/         blobs that were found to be corrupt; never removed by us
  state.db            SQLite: what the store knows
  lock                shared by every process that has the store open, exclusive for `fsck --repair`
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tranship.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, printable
from tranship.model.digest import ALGORITHMS

if TYPE_CHECKING:
    from tranship.model.digest import Digest

FOLDERS = ("blobs", *(f"blobs/{algorithm}" for algorithm in ALGORITHMS), "ingest", "run", "quarantine")
# The journal is there for a moment, while another process makes the database.
_OURS = frozenset(
    {"blobs", "ingest", "run", "quarantine", "lock", "state.db", "state.db-wal", "state.db-shm", "state.db-journal"}
)

# SQLite's write-ahead log is shared memory: it works between processes of one machine only.
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "lustre", "afs", "gfs2", "ocfs2", "9p"})
_NETWORK_FUSE = frozenset({"fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.ceph-fuse"})
_NO_STORE = (
    "nothing is stored yet: `tranship pull`, `import` or `pack` makes a store; --root names one that is elsewhere"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are below a root."""

    root: str

    @property
    def database(self) -> str:
        """The SQLite file."""
        return f"{self.root}/state.db"

    @property
    def lock(self) -> str:
        """The file that `fsck --repair` locks against everyone else."""
        return f"{self.root}/lock"

    @property
    def run(self) -> str:
        """The folder of the processes' own folders."""
        return f"{self.root}/run"

    def blob(self, digest: Digest) -> str:
        """The path of a blob."""
        return f"{self.root}/blobs/{digest.algorithm}/{digest.hex}"

    def ingest(self, namespace: str, ref: str) -> str:
        """The folder of an ingest."""
        return f"{self.root}/ingest/{hashlib.sha256(f'{namespace}/{ref}'.encode()).hexdigest()}"


def prepare(path: str, *, create: bool) -> Layout:
    """Check the root, make its folders where they are missing, and return its layout.

    NotFound when there is no store and none is to be made; PermissionDenied when others could write to it;
    InvalidArgument when the folder holds something else; FailedPrecondition on a network file system.
    """
    root = os.path.realpath(path)
    shown = printable(root)
    if create:
        with contextlib.suppress(FileExistsError):  # a file: it is refused below
            os.makedirs(root, mode=0o700, exist_ok=True)
    try:
        status = os.stat(root)
    except FileNotFoundError:
        raise NotFound(f"there is no store at {shown}", hint=_NO_STORE) from None
    if not stat.S_ISDIR(status.st_mode):
        raise InvalidArgument(f"{shown} is not a folder")
    if status.st_uid != os.geteuid():
        raise PermissionDenied(
            f"store {shown} belongs to user {status.st_uid}, not to {os.geteuid()}",
            hint="use a store of your own with --root, or run as its owner",
        )
    if status.st_mode & 0o022:
        raise PermissionDenied(
            f"store {shown} can be written by others (mode {stat.S_IMODE(status.st_mode):04o}): nothing in it can be trusted",
            hint="if you trust those who could: chmod 700 it",
        )
    layout = Layout(root)
    if not os.path.exists(layout.database):
        _check_empty(root, shown, create=create)
    if stat.S_IMODE(status.st_mode) != 0o700:
        os.chmod(root, 0o700)
    kind = filesystem(root)
    if kind in _NETWORK or kind in _NETWORK_FUSE:
        raise FailedPrecondition(
            f"store {shown} is on a network file system ({kind}), where its database would not be safe",
            hint="choose a folder on a local disk with --root",
        )
    for folder in FOLDERS:
        if not os.path.isdir(f"{root}/{folder}"):
            with contextlib.suppress(FileExistsError):
                os.mkdir(f"{root}/{folder}")
            os.chmod(f"{root}/{folder}", 0o700)  # whatever the umask
    return layout


def _check_empty(root: str, shown: str, *, create: bool) -> None:
    found = set(os.listdir(root))
    if not create:
        raise NotFound(f"there is no store at {shown}", hint=_NO_STORE)
    if not found <= _OURS:
        raise InvalidArgument(
            f"{shown} is not a store and is not empty: it holds {printable(min(found - _OURS))}",
            hint="choose an empty or new folder with --root",
        )


def filesystem(path: str) -> str | None:
    """The kind of file system that a real path is on, as Linux names it; None where that cannot be told."""
    if not sys.platform.startswith("linux"):
        return None
    best, kind = "", None
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                before, _, after = line.partition(" - ")
                point = before.split(" ")[4].replace("\\040", " ")
                inside = path == point or path.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):  # later mounts cover earlier ones
                    best, kind = point, after.split(" ", 1)[0]
    except OSError:
        return None
    return kind
