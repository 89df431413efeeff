"""One archive, three readers: ours, Python's tarfile and GNU tar. What we accept must mean the same to the others."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

from torture.box import part
from torture.inputs import mutated
from tranship import TranshipError
from tranship.formats.tar import clean, read_index

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from torture.box import Box

Files = list[tuple[str, str]]  # (name, SHA-256) of each regular file, in order
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


def archive(chance: random.Random) -> bytes:
    """A small archive as some writer makes it, of files, folders and links, with names short and long."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=chance.choice(FORMATS)) as tar:
        names = ["file", "a/b/file", "é/ü", "long/" * 30 + "x", "./dot"]
        if tar.format != tarfile.USTAR_FORMAT:
            names.append("n" * 130)
        for number in range(chance.randint(1, 5)):
            name = chance.choice(names) + str(number)
            info = tarfile.TarInfo(name)
            kind = chance.random()
            if kind < 0.7:
                data = chance.randbytes(chance.choice((0, 1, 511, 512, 513, 3000)))
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            elif kind < 0.85:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            else:
                info.type, info.linkname = tarfile.SYMTYPE, "file0"
                tar.addfile(info)
    return out.getvalue()


def ours(data: bytes) -> tuple[Files, set[str]] | None:
    """By our reader, with the names of folders; None: refused."""
    try:
        members = read_index(lambda at, count: data[at : at + count], len(data))
    except TranshipError:
        return None
    files = [
        (one.name, _hash(data[one.data_offset : one.data_offset + one.size])) for one in members if one.kind == "file"
    ]
    return files, {one.name for one in members if one.kind == "directory"}


def pythons(data: bytes) -> Files | None:
    """By tarfile."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            found = []
            for one in tar:
                if one.isreg():
                    file = tar.extractfile(one)
                    assert file is not None
                    found.append((_relative(clean(one.name)), _hash(file.read(1 << 20))))
            return found
    except (tarfile.TarError, ValueError, OverflowError, OSError, EOFError):
        return None


def gnus(data: bytes, folder: Path) -> Files | None:
    """By GNU tar, which hands each file to a program, and then makes nothing itself. What it complains of counts as refused."""
    done = subprocess.run(
        ["tar", "-xf", "-", "--to-command", "printf '%s\\0' \"$TAR_REALNAME\"; sha256sum | head -c 64; printf '\\0'"],
        input=data,
        capture_output=True,
        cwd=folder,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
        check=False,
        timeout=30,
    )
    told = [line for line in done.stderr.splitlines() if b"Removing leading" not in line]
    if done.returncode or told:
        return None
    parts = done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]
    return [(_relative(clean(name)), digest) for name, digest in zip(parts[::2], parts[1::2], strict=True)]


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _relative(name: str) -> str:
    """GNU tar takes the slashes from the beginning of a name."""
    return name.lstrip("/")


EMPTY = _hash(b"")


@part("differential")
def differential(box: Box) -> None:
    """Mutated archives, of which every reader that accepts one must see the same files."""
    gnu = shutil.which("tar") is not None and b"GNU" in subprocess.run(["tar", "--version"], capture_output=True).stdout
    with box.scratch() as folder:
        readers: dict[str, Callable[[bytes], Files | None]] = {"tarfile": pythons}
        if gnu:
            readers["GNU tar"] = lambda data: gnus(data, folder)
        for _ in box.rounds():
            data = archive(box.chance)
            if box.chance.random() < 0.9:
                data = mutated(data, box.chance)
            box.count("archives")
            found = ours(data)
            if found is None:
                box.count("refused by us")
                continue
            mine, folders = found
            for name, read in readers.items():
                with box.unbroken(f"{name} reads another content; the archive is {data.hex()[:4096]}"):
                    theirs = read(data)
                    if theirs is None:
                        box.count(f"refused by {name}")
                    else:
                        # A file whose name ends with a slash is a folder to Go, GNU tar and us, and an empty file to Python.
                        theirs = [one for one in theirs if one != (one[0], EMPTY) or one[0] not in folders]
                        assert theirs == [(_relative(name), digest) for name, digest in mine], (theirs, mine)
                        box.count(f"agreed with {name}")
