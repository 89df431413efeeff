"""Debian packages without installing them: resolved, downloaded and unpacked below one folder.

The system stays as it is and root is not needed: apt-get works on package lists, a cache and an empty package status of its own. Packages
come from the machine's own Debian source, whichever mirror that is; only the suite is chosen here (TRANSHIP_DEBIAN_MIRROR names another one).

    suite = Suite("forky", Path(".peers/forky"))
    packages = suite.unpack(["skopeo"])                     # skopeo and all it depends on, below suite.root
    suite.make_runnable(packages["skopeo"], patchelf)       # its programs use the suite's own loader and libraries, whatever the host has
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ATTEMPTS = 3  # of each apt-get call that talks to the mirror, beside apt's own retries of each file


class Unavailable(Exception):
    """A package cannot be had here; the text says why."""


@dataclass(frozen=True, slots=True)
class Package:
    name: str
    version: str  # Debian's, with its revision
    files: tuple[str, ...]  # relative to the suite's root


class Suite:
    """One Debian suite, with everything that was taken from it below `folder`: `root` holds the unpacked files, `apt` the private state."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder.resolve()
        self.root, self.apt, self.taken = self.folder / "root", self.folder / "apt", self.folder / "taken"
        self._updated = False

    def packages(self) -> dict[str, Package]:
        """What was unpacked so far, by name."""
        found = {}
        for listing in sorted(self.taken.glob("*.deb")):
            name, version, _ = listing.name.removesuffix(".deb").replace("%3a", ":").split("_")
            found[name] = Package(name, version, tuple(listing.read_text("utf-8").splitlines()))
        return found

    def unpack(self, names: Iterable[str]) -> dict[str, Package]:
        """Unpack packages and what they depend on (not what they recommend) below `root`; those already there are left alone.

        Returns every package of the closure by name. Raises Unavailable, with apt's own words, when the mirror lacks one or cannot be reached.
        """
        self._update()
        closure = self._resolve(names)
        missing = {file: spec for file, spec in closure.items() if not (self.taken / file).exists()}
        if missing:
            archives = self.apt / "cache/archives"
            self._retrying("download", *missing.values(), cwd=archives)
            for file in missing:
                self._extract(archives / file)
        wanted = {file.split("_")[0] for file in closure}
        return {name: package for name, package in self.packages().items() if name in wanted}

    @property
    def loader(self) -> Path:
        """The dynamic loader below `root`; the libraries lie beside it."""
        found = next(self.root.glob("usr/lib/*-linux-gnu*/ld-linux*.so*"), None)
        if found is None:
            raise Unavailable(f"{self.name} has no loader below {self.root}")
        return found

    def command(self, program: str) -> list[str]:
        """The beginning of a command line that runs a program of the closure with the suite's own libraries, changing no file."""
        return [str(self.loader), "--library-path", str(self.loader.parent), str(self.root / program)]

    def make_runnable(self, package: Package, patchelf: Sequence[str]) -> None:
        """Point a package's programs at the loader and libraries below `root`, so that they run on a host with an older libc.

        Naming the loader on the command line is not enough for programs that start themselves again through /proc/self/exe. RPATH rather
        than RUNPATH: only it is searched for the libraries that a library needs. Both paths are absolute, since the kernel takes no other
        loader; so this is to be done again when the folder has moved, and may be done any number of times.
        """
        loader, libraries = str(self.loader), str(self.loader.parent)
        for path in filter(_is_program, (self.root / file for file in package.files)):
            if _run([*patchelf, "--print-interpreter", str(path)]).returncode:
                continue  # linked statically
            done = _run([*patchelf, "--set-interpreter", loader, "--force-rpath", "--set-rpath", libraries, str(path)])
            if done.returncode:
                raise Unavailable(f"patchelf failed on {path.name}: {done.stderr.strip()}")

    def _update(self) -> None:
        """Write the private source list and fetch the suite's package list, once in a process."""
        if self._updated:
            return
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            raise Unavailable("this machine has no apt-get")
        for folder in ("lists/partial", "cache/archives/partial", "etc"):
            (self.apt / folder).mkdir(parents=True, exist_ok=True)
        self.taken.mkdir(exist_ok=True)
        # Merged /usr, as in any installed system: else older packages leave their libraries in a second place.
        for name in ("bin", "sbin", "lib", "lib64"):
            (self.root / "usr" / name).mkdir(parents=True, exist_ok=True)
            if not (self.root / name).is_symlink():
                (self.root / name).symlink_to(f"usr/{name}")
        (self.apt / "status").touch()
        stanza = machine_source(self.name)
        (self.apt / "etc/suite.sources").write_text(stanza, "utf-8")
        self._retrying("update")
        self._updated = True

    def _resolve(self, names: Iterable[str]) -> dict[str, str]:
        """The file name of each package of the closure, and how to ask apt-get for it."""
        done = self._apt("install", "--simulate", "--no-install-recommends", *names)
        if done.returncode:
            raise Unavailable(f"{self.name}: {_last_line(done)}")
        found = re.findall(r"^Inst (\S+) \((\S+) .*\[(\w+)\]\)", done.stdout, re.MULTILINE)
        return {
            f"{name}_{version.replace(':', '%3a')}_{arch}.deb": f"{name}={version}" for name, version, arch in found
        }

    def _extract(self, deb: Path) -> None:
        # Not `dpkg-deb -x`: it would put a folder in the place of the link `lib -> usr/lib`.
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as archive:
            done = _run(
                ["tar", "-xvf", "-", "--keep-directory-symlink", "--no-same-owner"], cwd=self.root, stdin=archive.stdout
            )
        if archive.returncode or done.returncode:
            raise Unavailable(f"{deb.name} does not unpack: {done.stderr.strip()}")
        for older in self.taken.glob(f"{deb.name.split('_')[0]}_*.deb"):
            older.unlink()
        (self.taken / deb.name).write_text(done.stdout, "utf-8")
        deb.unlink()

    def _apt(self, *args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        options = {
            "Dir::Etc::SourceList": "/dev/null",
            "Dir::Etc::SourceParts": self.apt / "etc",
            "Dir::State::Lists": self.apt / "lists",
            "Dir::State::Status": self.apt / "status",
            "Dir::Cache": self.apt / "cache",
            "APT::Sandbox::User": "root",  # the folders belong to whoever runs this, not to apt's own user
            "Acquire::Retries": 5,
            "Acquire::Languages": "none",
        }
        flags = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
        return _run(["apt-get", "-qy", *flags, *args], cwd=cwd)

    def _retrying(self, *args: str, cwd: Path | None = None) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            done = self._apt(*args, cwd=cwd)
            # `update` exits with 0 even when the list could not be fetched; then it says so in a line of its own.
            if done.returncode == 0 and not re.search(r"^(W: Failed|E:|Err:)", done.stdout + done.stderr, re.MULTILINE):
                return
            if attempt < ATTEMPTS:
                time.sleep(2 * attempt)
        raise Unavailable(f"apt-get {args[0]} for {self.name}: {_last_line(done)}")


def machine_source(suite: str, etc: Path = Path("/etc/apt")) -> str:
    """The machine's own Debian source as a deb822 stanza for another suite: same mirror, same keys."""
    if mirror := os.environ.get("TRANSHIP_DEBIAN_MIRROR"):
        return f"Types: deb\nURIs: {mirror}\nSuites: {suite}\nComponents: main\n"
    for path in sorted((etc / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text("utf-8")):
            # Fields continue on lines that begin with a blank; keys may stand there in full.
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*((?:.*)(?:\n[ \t].*)*)", stanza, re.MULTILINE))
            if "deb" in fields.get("Types", "").split() and "-security" not in fields.get("Suites", ""):
                fields |= {"Types": "deb", "Suites": suite, "Components": "main", "Enabled": "yes"}
                return "".join(f"{key}: {value}\n" for key, value in fields.items())
    for path in (etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))):
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            found = re.match(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)", line)
            if found and "-security" not in found[3]:
                signed = re.search(r"signed-by=(\S+)", found[1] or "", re.IGNORECASE)
                return f"Types: deb\nURIs: {found[2]}\nSuites: {suite}\nComponents: main\n" + (
                    f"Signed-By: {signed[1]}\n" if signed else ""
                )
    raise Unavailable(f"this machine has no Debian source in {etc}")


def _is_program(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or not os.access(path, os.X_OK) or ".so" in path.name:
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _run(
    argv: list[str], cwd: Path | None = None, stdin: IO[bytes] | int | None = subprocess.DEVNULL
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, cwd=cwd, stdin=stdin, text=True, capture_output=True, env={**os.environ, "LC_ALL": "C.UTF-8"}, check=False
    )


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("E:", "W:", "Err:"))]
    return lines[0] if lines else f"apt-get ended with {done.returncode}"
