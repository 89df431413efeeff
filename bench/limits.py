"""What this machine can do at most, measured in the minutes of the figure: no tool that does the same work can be faster.

The one that an export or import is held against is `read, hash, write`: every blob read once, hashed, and written to its place in one file,
on all cores, and the file fsynced.
"""

from __future__ import annotations

import hashlib
import os
import socket
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHUNK = 1 << 20


def limits(files: Sequence[Path], work: Path, rounds: int = 3) -> dict[str, float]:
    """Rates in GB/s (of 1e9 bytes), each the best of some rounds, moving these files; and milliseconds of a small file's fsync."""
    size = sum(path.stat().st_size for path in files)
    target = work / "limit"

    def rate(amount: int, action: Callable[[], None]) -> float:
        best = min(_seconds(action) for _ in range(rounds))
        target.unlink(missing_ok=True)
        return round(amount / best / 1e9, 2)

    return {
        "hash, one core (GB/s)": rate(256 * CHUNK, _hash),
        "read and write, one core (GB/s)": rate(
            size, lambda: _move(files, target, workers=1, hashing=False, durable=False)
        ),
        "read, hash, write, fsync, all cores (GB/s)": rate(size, lambda: _move(files, target)),
        "loopback (GB/s)": rate(1024 * CHUNK, _loopback),
        "fsync of a small file (ms)": round(
            statistics.median(_seconds(lambda: _small(target)) for _ in range(50)) * 1000, 2
        ),
    }


def _seconds(action: Callable[[], None]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _hash() -> None:
    hasher, buffer = hashlib.sha256(), bytes(CHUNK)
    for _ in range(256):
        hasher.update(buffer)


def _move(
    files: Sequence[Path],
    target: Path,
    *,
    workers: int = os.cpu_count() or 1,
    hashing: bool = True,
    durable: bool = True,
) -> None:
    """Each file to its own place in one; the largest first, since one file's hash cannot be shared out."""
    places, offset = [], 0
    for path in sorted(files, key=lambda path: -path.stat().st_size):
        places.append((path, offset))
        offset += path.stat().st_size
    target.unlink(missing_ok=True)
    out = os.open(target, os.O_RDWR | os.O_CREAT)
    try:
        os.posix_fallocate(out, 0, offset)

        def copy(path: Path, offset: int) -> None:
            buffer, hasher = memoryview(bytearray(CHUNK)), hashlib.sha256()
            with path.open("rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    if hashing:
                        hasher.update(buffer[:count])
                    offset += os.pwrite(out, buffer[:count], offset)

        with ThreadPoolExecutor(workers) as pool:
            for job in [pool.submit(copy, *place) for place in places]:
                job.result()
        if durable:
            os.fsync(out)
    finally:
        os.close(out)


def _loopback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sender:
        receiver = server.accept()[0]

        def send() -> None:
            buffer = bytes(CHUNK)
            for _ in range(1024):
                sender.sendall(buffer)
            sender.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        with receiver:
            buffer = bytearray(CHUNK)
            while receiver.recv_into(buffer):
                pass
        thread.join()


def _small(path: Path) -> None:
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.write(bytes(4096))
        file.flush()
        os.fsync(file.fileno())
