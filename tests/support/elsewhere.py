"""tranship as macOS would run it: without Linux's calls, files and constants. Usage: python elsewhere.py WORDS…

No Mac is needed: what Python has on Linux alone is taken away before anything of tranship is imported. What is left is not a Mac (its file
systems fold case, its fsync is another), but a call without its fallback ends here with a traceback.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import sys
import types

LINUX = {
    os: "copy_file_range eventfd fdatasync getrandom getxattr listxattr memfd_create pidfd_open pipe2 posix_fadvise posix_fallocate "
    "preadv pwritev removexattr sched_getaffinity sched_setaffinity sendfile setxattr splice "
    "O_DIRECT O_LARGEFILE O_NOATIME O_PATH O_TMPFILE POSIX_FADV_DONTNEED POSIX_FADV_SEQUENTIAL POSIX_FADV_WILLNEED",
    socket: "SO_PEERCRED SOCK_CLOEXEC SOCK_NONBLOCK TCP_CORK TCP_QUICKACK",
    signal: "sigtimedwait sigwaitinfo",
}


def refuse_proc(event: str, args: tuple[object, ...]) -> None:
    """An audit hook: there is no /proc."""
    if event in ("open", "os.listdir", "os.scandir") and str(args[0]).startswith("/proc/"):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), args[0])


def main() -> None:
    for module, names in LINUX.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    fcntl.F_FULLFSYNC = 51  # type: ignore[attr-defined]  # this kernel refuses it, as some of a Mac's file systems do
    settings = types.ModuleType("_scproxy")  # urllib asks it for the system's proxies
    settings._get_proxy_settings = settings._get_proxies = dict  # type: ignore[attr-defined]
    sys.modules["_scproxy"] = settings
    sys.platform = "darwin"
    sys.addaudithook(refuse_proc)

    from tranship.cli import program

    program()


if __name__ == "__main__":
    main()
