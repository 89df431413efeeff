"""Real programs beside tranship: where they are, and how a test runs one.

`tools/peers.py` fetches them and records each in peers.json; here they are only looked up. Every program runs with an environment of its
own below a temporary folder: no configuration, credentials or caches of the machine's user, none left behind.

    with temporary_home() as home:                      # in a test: the fixture `peers`, a Peers
        Peers(home).run("skopeo", "inspect", "oci:layout")
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHOSEN = os.environ.get("TRANSHIP_PEERS_DIR")  # as the run began: tests of the command line clear such variables


class PeerMissing(Exception):
    """A peer is not to be had here; the text is the reason."""


def folder() -> Path:
    return Path(CHOSEN or ROOT / ".peers").resolve()


def find(name: str) -> Path:
    """The program of a peer, as `tools/peers.py` recorded it; raises PeerMissing with its reason."""
    if chosen := os.environ.get(f"TRANSHIP_{re.sub('[^A-Z]', '_', name.upper())}"):
        return Path(chosen)
    record = folder() / "peers.json"
    if not record.exists():
        raise PeerMissing(f"{name} is absent: `make peers` fetches it")
    entry = json.loads(record.read_text("utf-8"))["peers"].get(name, {"reason": "`make peers` fetches it"})
    if "path" not in entry or not (folder() / entry["path"]).exists():
        raise PeerMissing(f"{name} is absent: {entry.get('reason', 'its file is gone; `make peers` fetches it')}")
    return folder() / str(entry["path"])


def version(name: str) -> str:
    """The version of a peer that was found, as recorded (Debian's, with its revision)."""
    record = folder() / "peers.json"
    peers = json.loads(record.read_text("utf-8"))["peers"] if record.exists() else {}
    return str(peers.get(name, {}).get("version", "unknown"))


def required() -> set[str]:
    """The peers that must not be absent in this run."""
    return set(filter(None, os.environ.get("TRANSHIP_REQUIRE_PEERS", "").split(",")))


@dataclass(frozen=True)
class Home:
    """A folder that stands for a user's home while peers run: their configuration, caches, sockets and state."""

    path: Path

    def __post_init__(self) -> None:
        config = self.path / ".config/containers"
        config.mkdir(parents=True, exist_ok=True)
        (self.path / "tmp").mkdir(exist_ok=True)
        (self.path / "run").mkdir(mode=0o700, exist_ok=True)
        (config / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}', "utf-8")
        (config / "registries.conf").write_text("unqualified-search-registries = []\n", "utf-8")

    def environment(self, suite: str = "forky") -> dict[str, str]:
        """What a peer's process may see. `suite` tells whose helper programs come first (conmon, runc, netavark)."""
        root = folder() / suite / "root/usr"
        config = self.path / ".config/containers"
        (config / f"{suite}.conf").write_text(
            f'[engine]\nhelper_binaries_dir = ["{root}/lib/podman"]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            f'conmon_path = ["{root}/bin/conmon"]\n'
            f'[engine.runtimes]\ncrun = ["{root}/bin/crun"]\n[network]\nnetwork_config_dir = "{self.path}/networks"\n',
            "utf-8",
        )
        return {
            "PATH": f"{root}/bin:{root}/sbin:{os.defpath}:/usr/sbin:/sbin",
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.path),
            "TMPDIR": str(self.path / "tmp"),
            "XDG_RUNTIME_DIR": str(self.path / "run"),
            "XDG_DATA_HOME": str(self.path / "data"),
            "DOCKER_CONFIG": str(self.path / ".docker"),
            "REGISTRY_AUTH_FILE": str(self.path / "auth.json"),
            "CONTAINERS_CONF": str(config / f"{suite}.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(config / "registries.conf"),
        }


@dataclass(frozen=True)
class Peers:
    """Runs peers, each by its name, in one home."""

    home: Home

    def command(self, name: str, *args: str | os.PathLike[str]) -> list[str]:
        return [str(find(name)), *(os.fspath(arg) for arg in args)]

    def environment(self, name: str) -> dict[str, str]:
        environment = self.home.environment("bookworm" if name.endswith("@bookworm") else "forky")
        if name.startswith("skopeo"):
            # As root it would remember in /var/lib/containers which registry holds which blob, and mount instead of pushing next time.
            environment["_CONTAINERS_ROOTLESS_UID"] = "1"
        return environment

    def run(
        self,
        name: str,
        *args: str | os.PathLike[str],
        check: bool = True,
        env: Mapping[str, str] = {},
        cwd: Path | None = None,
        timeout: float = 100,
    ) -> subprocess.CompletedProcess[str]:
        """Run a peer to its end. With `check`, a failure raises AssertionError with what the peer said."""
        done = subprocess.run(
            self.command(name, *args),
            env={**self.environment(name), **env},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
        )
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(done.args)} ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        return done


@contextlib.contextmanager
def temporary_home() -> Iterator[Home]:
    """A home with a short path, since that of a unix socket holds 107 bytes at most; removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="peer-")).resolve()  # below a link, dockerd leaves a mount behind
    try:
        yield Home(path)
    finally:
        shutil.rmtree(path)
