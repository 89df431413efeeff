#!/usr/bin/env python3
"""Fetch the real programs that tranship is tested and measured against, without installing anything into the system.

    tools/peers.py                          all of them, into .peers (TRANSHIP_PEERS_DIR names another folder)
    tools/peers.py --only skopeo,crane      some of them
    tools/peers.py --list                   what is there; fetches nothing

They are Debian's packages: of testing, for current releases, and of older ones (`skopeo@bookworm`, `containerd@trixie`) that are still in use.
What is there already is left alone; remove the folder to fetch newer ones. A peer that Debian lacks, or that stands elsewhere, is named by
TRANSHIP_<NAME> (TRANSHIP_REGCTL=/opt/regctl) or found on PATH. The result is written to peers.json in the folder; the tests read it.

Ends with a table. Exits with 1 only if a peer that TRANSHIP_REQUIRE_PEERS names (with commas between) cannot be had.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from debian import Suite, Unavailable

ROOT = Path(__file__).resolve().parent.parent
CURRENT, LAST, OLD = "forky", "trixie", "bookworm"


@dataclass(frozen=True, slots=True)
class Peer:
    suite: str | None  # None: not in Debian
    program: str  # below the suite's root
    packages: tuple[str, ...]  # whose programs must run; what these depend on comes along
    probe: tuple[str, ...] = ("--version",)  # arguments with which the program answers and ends


def _peers() -> Iterator[tuple[str, Peer]]:
    for suite, suffix in ((CURRENT, ""), (OLD, f"@{OLD}")):
        yield f"containerd{suffix}", Peer(suite, "usr/bin/containerd", ("containerd", "runc"))
        yield f"ctr{suffix}", Peer(suite, "usr/bin/ctr", ("containerd",))
        yield f"skopeo{suffix}", Peer(suite, "usr/bin/skopeo", ("skopeo",))
        yield f"dockerd{suffix}", Peer(suite, "usr/sbin/dockerd", ("docker.io", "containerd", "runc"))
        docker_cli = "docker-cli" if suite == CURRENT else "docker.io"
        yield f"docker{suffix}", Peer(suite, "usr/bin/docker", (docker_cli,))
        yield f"podman{suffix}", Peer(suite, "usr/bin/podman", ("podman", "netavark", "conmon", "crun"))
    yield f"containerd@{LAST}", Peer(LAST, "usr/bin/containerd", ("containerd",))
    yield f"ctr@{LAST}", Peer(LAST, "usr/bin/ctr", ("containerd",))
    yield "docker-registry", Peer(CURRENT, "usr/bin/docker-registry", ("docker-registry",))
    yield "crane", Peer(CURRENT, "usr/bin/crane", ("crane",), ("version",))
    yield "oras", Peer(CURRENT, "usr/bin/oras", ("oras",), ("version",))
    yield "umoci", Peer(CURRENT, "usr/bin/umoci", ("umoci",))
    yield "regctl", Peer(None, "", (), ("version",))
    yield "nerdctl", Peer(None, "", ())
    # No peers, but what tests and benchmarks use beside them: shells that complete, a file system that clones ranges, peak memory.
    yield "zsh", Peer(CURRENT, "usr/bin/zsh", ("zsh",))
    yield "fish", Peer(CURRENT, "usr/bin/fish", ("fish",))
    yield "mkfs.xfs", Peer(CURRENT, "usr/sbin/mkfs.xfs", ("xfsprogs",), ("-V",))
    yield "time", Peer(CURRENT, "usr/bin/time", ("time",))
    yield "strace", Peer(CURRENT, "usr/bin/strace", ("strace",), ("-V",))


PEERS = dict(_peers())


class Collection:
    """The folder of the peers, and peers.json in it: for each name its version and its path (relative to the folder), or why it is absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.record = self.folder / "peers.json"
        self.suites = {name: Suite(name, self.folder / name) for name in (CURRENT, LAST, OLD)}
        known = json.loads(self.record.read_text("utf-8")) if self.record.exists() else {}
        self.found: dict[str, dict[str, str]] = known.get("peers", {})
        self.moved = known.get("folder") not in {None, str(self.folder)}

    def settle(self, name: str, *, fetch: bool) -> None:
        """Find out where one peer is, fetching it if need be, and note it."""
        peer = PEERS[name]
        variable = f"TRANSHIP_{re.sub('[^A-Z]', '_', name.upper())}"
        if chosen := os.environ.get(variable):
            self.found[name] = self._elsewhere(name, chosen)
        elif peer.suite and (self._stands(name) or fetch):
            self.found[name] = self._debian(name, peer, fetch=fetch)
        else:
            self.found[name] = {
                "reason": "not fetched yet" if peer.suite else f"not in Debian; {variable} may name one"
            }
        if "reason" in self.found[name] and "@" not in name:  # on PATH stands some current release, never an old one
            beside = self.folder / "bin" / name
            if elsewhere := str(beside) if beside.exists() else shutil.which(name):
                self.found[name] = self._elsewhere(name, elsewhere)

    def save(self) -> None:
        text = json.dumps({"folder": str(self.folder), "peers": self.found}, indent=1, sort_keys=True)
        self.record.with_suffix(".part").write_text(text + "\n", "utf-8")
        self.record.with_suffix(".part").replace(self.record)

    def _stands(self, name: str) -> bool:
        path = self.found.get(name, {}).get("path")
        return path is not None and not self.moved and (self.folder / path).exists()

    def _debian(self, name: str, peer: Peer, *, fetch: bool) -> dict[str, str]:
        if self._stands(name) and not self.found[name]["path"].startswith("/"):
            return self.found[name]
        assert peer.suite
        suite = self.suites[peer.suite]
        try:
            # Newer releases of patchelf break programs of a fixed address (skopeo, podman): the old suite's works on both.
            patchelf = self.suites[OLD]
            packages, tool = suite.packages(), patchelf.packages()
            if not (packages.keys() >= set(peer.packages) and "patchelf" in tool):
                if not fetch:
                    return {"reason": "not fetched yet"}
                patchelf.unpack(["patchelf"])
                packages = suite.unpack(peer.packages)
            for package in peer.packages:
                suite.make_runnable(packages[package], patchelf.command("usr/bin/patchelf"))
        except Unavailable as error:
            return {"reason": str(error)}
        program = suite.root / peer.program
        owner = peer.packages[0]
        answer = _answer(program, peer.probe)
        if isinstance(answer, Unavailable):
            return {"reason": str(answer)}
        return {"version": packages[owner].version, "path": str(program.relative_to(self.folder))}

    def _elsewhere(self, name: str, path: str) -> dict[str, str]:
        answer = _answer(Path(path), PEERS[name].probe)
        if isinstance(answer, Unavailable):
            return {"reason": str(answer)}
        version = re.search(r"v?\d+\.\d+\S*", answer)
        absolute = Path(path).absolute()
        inside = absolute.is_relative_to(self.folder)
        where = absolute.relative_to(self.folder) if inside else absolute
        return {"version": version[0] if version else "unknown", "path": str(where)}


def _answer(program: Path, probe: tuple[str, ...]) -> str | Unavailable:
    """What a program says when asked for its version: proof that it runs here."""
    try:
        done = subprocess.run(
            [str(program), *probe], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Unavailable(f"{program} does not run: {error}")
    if done.returncode:
        return Unavailable(f"{program} does not run: it ended with {done.returncode} {done.stderr.strip()[:200]}")
    return done.stdout


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One fetch at a time into a folder; another one waits."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAMES", help="with commas between: " + " ".join(PEERS))
    parser.add_argument("--list", action="store_true", help="say what is there, and fetch nothing")
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(PEERS)
    if unknown := set(names) - PEERS.keys():
        parser.error("no such peer: " + ", ".join(sorted(unknown)))
    required = {name for name in os.environ.get("TRANSHIP_REQUIRE_PEERS", "").split(",") if name}

    folder = Path(os.environ.get("TRANSHIP_PEERS_DIR") or ROOT / ".peers")
    with _alone(folder):
        peers = Collection(folder)
        # A folder that moved makes every program in it point at the old place, also those not asked for now.
        for name in dict.fromkeys([*names, *(peers.found if peers.moved else ())]):
            if name in PEERS:
                peers.settle(name, fetch=not args.list)
        peers.save()
    for name in names:
        entry = peers.found[name]
        print(f"{name:20} {entry.get('version', '-'):34} {entry.get('path') or 'absent: ' + entry['reason']}")
    missing = sorted(name for name in required if "path" not in peers.found.get(name, {}))
    if missing:
        print("required and absent: " + ", ".join(missing), file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
