"""What this machine can do at most, measured in the minutes of the figure: no tool that does the same work can be faster.

The one that an export or import is held against is `read, hash, write, fsync`: every blob read once, hashed, and written to its place in
one file, on all cores, and the file fsynced. As a command, all of them with the bytes of a folder's files:

    bench/limits.py .cache/images/ml
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import RATES, Row, Sample, Table, render, touch_memory

CHUNK = 1 << 20
SMALL = 4096


def limits(files: Sequence[Path], work: Path, rounds: int = 5) -> list[Row]:
    """Rows for a table: so many bytes as these files have, hashed, copied, sent; and one small file fsynced."""
    size = sum(path.stat().st_size for path in files)
    target = work / "limit"
    actions: dict[str, Callable[[], None]] = {
        "hash, one core": lambda: _hash(size),
        "read and write, one core": lambda: _move(files, target, workers=1, hashing=False, durable=False),
        "read, hash, write, fsync, all cores": lambda: _move(files, target),
        "loopback": lambda: _loopback(size),
    }

    def samples(action: Callable[[], None], count: int) -> Iterator[Sample]:
        for _ in range(count):
            target.unlink(missing_ok=True)
            before, started = time.process_time(), time.perf_counter()
            action()
            wall = time.perf_counter() - started
            yield Sample(wall, wall, time.process_time() - before, 0, 0, 0)

    touch_memory(2 * size)
    rows = [Row(f"limit: {name}", list(samples(action, rounds))) for name, action in actions.items()]
    small = list(samples(lambda: _small(target), 10 * rounds))
    target.unlink()
    return [*rows, Row("limit: fsync of 4 KiB", small, size=SMALL)]


def _hash(size: int) -> None:
    hasher, buffer = hashlib.sha256(), memoryview(bytes(CHUNK))
    for at in range(0, size, CHUNK):
        hasher.update(buffer[: size - at])


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


def _loopback(size: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sender:
        receiver = server.accept()[0]

        def send() -> None:
            buffer = memoryview(bytes(CHUNK))
            for at in range(0, size, CHUNK):
                sender.sendall(buffer[: size - at])
            sender.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        with receiver:
            buffer = bytearray(CHUNK)
            while receiver.recv_into(buffer):
                pass
        thread.join()


def _small(path: Path) -> None:
    with path.open("wb") as file:
        file.write(bytes(SMALL))
        file.flush()
        os.fsync(file.fileno())


def main(folder: str) -> None:
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    with tempfile.TemporaryDirectory(dir=folder) as work:
        size = sum(path.stat().st_size for path in files)
        print(render(Table(f"{size / 1e6:.0f} MB", limits(files, Path(work)), size), RATES))


if __name__ == "__main__":
    main(*sys.argv[1:])
