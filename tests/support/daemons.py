"""Daemons that tests and benchmarks run: containerd, docker's registry, docker, podman.

Each is a context manager, with state of its own in a temporary folder; it listens on a unix socket or a loopback port, answers when the
block begins, and is ended by its process id.

    with containerd() as daemon:                        # in a test: the fixture `containerd`, one for the session
        daemon.ctr("images", "import", "a.tar")
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from support.peers import PeerMissing, Peers, find, temporary_home

DEADLINE = 30.0  # seconds for a daemon to answer, and again for it to end


@contextlib.contextmanager
def running(command: list[str], *, ready: Callable[[str], bool], log: Path, env: Mapping[str, str]) -> Iterator[int]:
    """A daemon's process while the block runs; gives its id. `ready` is asked with the log so far until it says yes.

    A daemon that ends early, or does not answer within DEADLINE, raises AssertionError with the end of its log.
    """
    # Where the kernel can, a daemon ends with the test process, even one that is killed.
    leash = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*leash, *command], env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ) as process,
    ):
        try:
            deadline = time.monotonic() + DEADLINE
            while not ready(log.read_text("utf-8", "replace")):
                if process.poll() is not None or time.monotonic() > deadline:
                    state = "is still not ready" if process.returncode is None else f"ended with {process.returncode}"
                    raise AssertionError(f"{' '.join(command)} {state}:\n{log.read_text('utf-8', 'replace')[-4000:]}")
                time.sleep(0.02)
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()


@dataclass(frozen=True)
class Containerd:
    peers: Peers
    address: Path  # its socket
    root: Path
    pid: int
    suite: str = ""  # "" or "@bookworm"

    def ctr(
        self, *args: str | os.PathLike[str], namespace: str = "default", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        return self.peers.run(
            f"ctr{self.suite}", "--address", self.address, "--namespace", namespace, *args, check=check
        )

    @property
    def blobs(self) -> Path:
        """The folder of its content, all namespaces' together."""
        return self.root / "io.containerd.content.v1.content/blobs"

    def blob(self, digest: str) -> Path:
        return self.blobs / digest.replace(":", "/")


@contextlib.contextmanager
def containerd(suite: str = "", *, collects: bool = False) -> Iterator[Containerd]:
    """A containerd without plugins that need a cluster, a network or a system bus.

    It collects garbage when a client waits for that, and never amid a test's commands, by itself, unless it `collects`.
    """
    program = find(f"containerd{suite}")
    find(f"ctr{suite}")
    with temporary_home() as home:
        peers, address, config = Peers(home), home.path / "ctd.sock", home.path / "ctd.toml"
        disabled = [
            "grpc.v1.cri",
            "cri.v1.images",
            "cri.v1.runtime",
            "nri.v1.nri",
            "internal.v1.opt",
            "internal.v1.tracing",
        ]
        config.write_text(
            f"version = 2\nroot = '{home.path}/root'\nstate = '{home.path}/state'\n"
            f"disabled_plugins = {[f'io.containerd.{name}' for name in disabled]}\n"
            f"[grpc]\naddress = '{address}'\n[ttrpc]\naddress = '{address}.ttrpc'\n"
            + (
                ""
                if collects
                else "[plugins.'io.containerd.gc.v1.scheduler']\nstartup_delay = '24h'\nmutation_threshold = 0\n"
            ),
            "utf-8",
        )

        def ready(_: str) -> bool:
            return address.exists() and not daemon.ctr("version", check=False).returncode

        daemon = Containerd(peers, address, home.path / "root", 0, suite)
        environment = peers.environment(f"containerd{suite}")
        with running(
            [str(program), "-c", str(config)], ready=ready, log=home.path / "containerd.log", env=environment
        ) as pid:
            yield Containerd(peers, address, home.path / "root", pid, suite)


@dataclass(frozen=True)
class DockerRegistry:
    host: str  # address:port; plain HTTP
    root: Path
    pid: int

    @property
    def url(self) -> str:
        return f"http://{self.host}"


@contextlib.contextmanager
def docker_registry() -> Iterator[DockerRegistry]:
    """Docker's own registry on loopback, with deletion allowed. It knows no referrers API."""
    program = find("docker-registry")
    with temporary_home() as home:
        config, root, log = home.path / "registry.yml", home.path / "registry", home.path / "registry.log"
        config.write_text(
            f"version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}\n"
            "http: {addr: '127.0.0.1:0', secret: any}\n",
            "utf-8",
        )

        def listening(text: str) -> re.Match[str] | None:
            return re.search(r"listening on (127\.0\.0\.1:\d+)", text)

        command = [str(program), "serve", str(config)]
        # It takes REGISTRY_* for parts of its configuration; what skopeo and podman read as their credentials file is one.
        environment = {name: value for name, value in home.environment().items() if not name.startswith("REGISTRY_")}
        with running(command, ready=lambda text: bool(listening(text)), log=log, env=environment) as pid:
            address = listening(log.read_text("utf-8", "replace"))
            assert address
            yield DockerRegistry(address[1], root, pid)


@dataclass(frozen=True)
class Docker:
    peers: Peers
    host: str  # what DOCKER_HOST takes
    pid: int
    containerd: Containerd
    suite: str = ""

    def docker(self, *args: str | os.PathLike[str], check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.peers.run(f"docker{self.suite}", "--host", self.host, *args, check=check)


@contextlib.contextmanager
def dockerd(suite: str = "", *, containerd_store: bool = False) -> Iterator[Docker]:
    """A docker engine, with overlay2 or with the containerd image store, over a containerd of its own; it sets up no network."""
    program = find(f"dockerd{suite}")
    find(f"docker{suite}")
    if os.geteuid():
        raise PeerMissing("dockerd needs root")
    with containerd(suite) as below, temporary_home() as home:
        path, peers = home.path, Peers(home)
        config = path / "daemon.json"
        config.write_text(
            json.dumps({"features": {"containerd-snapshotter": True}} if containerd_store else {}), "utf-8"
        )
        address = f"unix://{path}/docker.sock"
        options = {
            "--config-file": config,
            "--host": address,
            "--data-root": path / "data-root",
            "--exec-root": path / "exec",
            "--pidfile": path / "docker.pid",
            "--containerd": below.address,
            **({} if containerd_store else {"--storage-driver": "overlay2"}),
            "--bridge": "none",
        }
        switches = [
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
            "--userland-proxy=false",
        ]
        command = [str(program), *switches, *(str(part) for pair in options.items() for part in pair)]

        def ready(_: str) -> bool:
            return (path / "docker.sock").exists() and not engine.docker("version", check=False).returncode

        engine = Docker(peers, address, 0, below, suite)
        with running(command, ready=ready, log=path / "dockerd.log", env=peers.environment(f"dockerd{suite}")) as pid:
            yield Docker(peers, address, pid, below, suite)


@dataclass(frozen=True)
class Podman:
    peers: Peers
    suite: str = ""
    host: str = ""  # of the service, if one runs: what CONTAINER_HOST takes
    options: tuple[str, ...] = ()

    def podman(self, *args: str | os.PathLike[str], check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.peers.run(f"podman{self.suite}", *self.options, *args, check=check)


@contextlib.contextmanager
def podman(suite: str = "", *, service: bool = False) -> Iterator[Podman]:
    """Podman over a store of its own; with `service`, also its API on a unix socket."""
    find(f"podman{suite}")
    if os.geteuid():
        raise PeerMissing("podman needs root here: a user's namespace takes more setting up than a test may do")
    with temporary_home() as home:
        options = ("--root", f"{home.path}/root", "--runroot", f"{home.path}/runroot", "--storage-driver", "overlay")
        engine = Podman(Peers(home), suite, options=(*options, "--cgroup-manager", "cgroupfs", "--log-level", "error"))
        if not service:
            yield engine
            return
        socket = home.path / "podman.sock"
        command = engine.peers.command(
            f"podman{suite}", *engine.options, "system", "service", "--time", "0", f"unix://{socket}"
        )
        environment = engine.peers.environment(f"podman{suite}")
        with running(command, ready=lambda _: socket.exists(), log=home.path / "podman.log", env=environment):
            yield Podman(engine.peers, suite, f"unix://{socket}", engine.options)
