"""The daemon: what `ctr` does with tranship's beside what it does with containerd; many clients at once, and the first answer.

`ctr images` goes by the Transfer service, with `--local` by Content and Images; `ctr content fetch` is a pull that unpacks nothing, which
containerd's own pull does as well. Peak memory is `ctr`'s (of the largest, where there are several), plus the daemon's. Many at once have three
rounds.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from cases import archive_of, names
from harness import (
    TRANSHIP,
    Bench,
    Case,
    Column,
    Job,
    Row,
    Sample,
    Table,
    WrongResult,
    bench,
    called,
    cpu_of,
    have,
    measure,
    peak_of,
    ready,
    render,
)
from limits import limits
from verify import check_archive, check_blobs, check_registry

from support import daemons
from support.images import blobs
from support.peers import Peers, temporary_home

CLIENTS = (16, 64)


@dataclass(frozen=True)
class Daemon:
    address: Path
    blobs: Path  # the folder of its content
    pid: int


@contextlib.contextmanager
def tranship() -> Iterator[Daemon]:
    """Ours, with a store of its own."""
    with temporary_home() as home:
        peers, root, address = Peers(home), home.path / "store", home.path / "run/t.sock"
        command = [str(TRANSHIP), "--root", str(root), "daemon", "--address", str(address)]

        def ready(_: str) -> bool:  # as containerd's is
            return address.exists() and not peers.run("ctr", "--address", address, "version", check=False).returncode

        with daemons.running(command, ready=ready, log=home.path / "log", env=home.environment()) as pid:
            yield Daemon(address, root / "blobs", pid)


@contextlib.contextmanager
def containerd() -> Iterator[Daemon]:
    with daemons.containerd() as running:
        yield Daemon(running.address, running.blobs, running.pid)


DAEMONS: dict[str, Callable[[], AbstractContextManager[Daemon]]] = {
    "tranship daemon": tranship,
    called("containerd"): containerd,
}


@dataclass(frozen=True)
class Client:
    """ctr, and the image that it moves."""

    here: Bench
    kind: str

    @property
    def name(self) -> str:
        return names(self.kind)[0]

    @property
    def wanted(self) -> set[str]:
        return set(blobs(self.here.layout(self.kind)))

    @property
    def archive(self) -> Path:
        return archive_of(self.here, self.kind)

    def job(self, daemon: Daemon, *args: str | Path, output: Path | None = None) -> Job:
        return self.here.peer("ctr", "--address", daemon.address, *args, output=output, daemons=[daemon.pid])

    def load(self, daemon: Daemon) -> None:
        self.here.prepare(self.job(daemon, "images", "import", "--no-unpack", self.archive))

    # ------------------------------------------------------------------------------------------------- one client's work

    def exports(self, stack: contextlib.ExitStack) -> Iterator[Case]:
        out = self.here.work / "out.tar"
        for mode in ([], ["--local"]):
            for tool, start in DAEMONS.items():
                daemon = stack.enter_context(start())
                self.load(daemon)
                job = self.job(daemon, "images", "export", *mode, out, self.name, output=out)
                yield Case(_row(tool, mode), lambda job=job: ready(job), lambda _: check_archive(out, self.wanted))  # type: ignore[misc]

    def imports(self) -> Iterator[Case]:
        yield from (
            self._filling(_row(tool, mode), start, "images", "import", "--no-unpack", *mode, self.archive)
            for mode in ([], ["--local"])
            for tool, start in DAEMONS.items()
        )

    def pulls(self, registry: daemons.DockerRegistry) -> Iterator[Case]:
        ref = f"{registry.host}/{self.kind}:v1"
        self.here.prepare(
            self.here.tranship("copy", "--plain-http", f"oci:{self.here.layout(self.kind)}:v1", f"docker://{ref}")
        )
        for verb in ("images pull", "content fetch"):
            for tool, start in DAEMONS.items():
                yield self._filling(_row(tool, [verb]), start, *verb.split(), "--plain-http", ref)

    def _filling(self, tool: str, start: Callable[[], AbstractContextManager[Daemon]], *words: str | Path) -> Case:
        """One that begins with an empty daemon each time."""

        @contextlib.contextmanager
        def begin() -> Iterator[Job]:
            with start() as daemon:
                yield replace(self.job(daemon, *words, output=daemon.blobs), fresh=True)

        def check(job: Job) -> None:
            assert job.output
            check_blobs(job.output.parent, self.wanted)

        return Case(tool, begin, check)

    def pushes(self, stack: contextlib.ExitStack) -> Iterator[Case]:
        for mode in ([], ["--local"]):
            for tool, start in DAEMONS.items():
                daemon = stack.enter_context(start())
                self.load(daemon)

                @contextlib.contextmanager
                def begin(daemon: Daemon = daemon, mode: list[str] = mode) -> Iterator[Job]:
                    with daemons.docker_registry() as registry:
                        ref = f"{registry.host}/{self.kind}:v1"
                        yield self.job(
                            daemon, "images", "push", "--plain-http", *mode, ref, self.name, output=registry.root
                        )

                yield Case(_row(tool, mode), begin, lambda job: check_registry(job.output, self.wanted))

    # ------------------------------------------------------------------------------------------------------ many at once

    def many(self, count: int, stack: contextlib.ExitStack) -> Iterator[Case]:
        """All export at once, each through a checksum of its own. What the first one wrote was verified."""
        out, first = self.here.work / "sums", self.here.work / "first.tar"
        for tool, start in DAEMONS.items():
            daemon = stack.enter_context(start())
            self.load(daemon)
            self.here.prepare(self.job(daemon, "images", "export", first, self.name))
            check_archive(first, self.wanted)
            one = shlex.join(map(str, self.job(daemon, "images", "export", "-", self.name).command))
            script = (
                "set -o pipefail; mkdir $1; for i in $(seq $2); do { "
                + one
                + ' | tar -t > "$1/$i"; } & p="$p $!"; done; '
                "for i in $p; do wait $i || exit 1; done"
            )
            job = self.job(daemon, "version")
            job = Job(["bash", "-c", script, "-", out, str(count)], out, job.daemons, job.env)

            def check(_: Job) -> None:
                sums = {path.read_bytes() for path in out.iterdir()}
                if len(sums) != 1 or len(list(out.iterdir())) != count or not sums.pop():
                    raise WrongResult("not all archives are whole")

            yield Case(tool, lambda job=job: ready(job), check)  # type: ignore[misc]
        first.unlink(missing_ok=True)


def _row(tool: str, words: list[str]) -> str:
    return " ".join([tool, *words])


def first_answers(rounds: int) -> Table:
    """From the start of the process until `ctr version` has an answer; the memory is the daemon's at that moment."""
    rows = [Row(tool) for tool in DAEMONS]
    for _ in range(rounds):
        for row, start in zip(rows, DAEMONS.values(), strict=True):
            started = time.perf_counter()
            with start() as daemon:
                wall = time.perf_counter() - started
                row.samples.append(Sample(wall, wall, 0, cpu_of(daemon.pid), 0, peak_of(daemon.pid)))
    return Table("first answer to `ctr version`", rows)


STARTED: list[Column] = [
    ("ms (best)", lambda _, row: f"{row.median('wall') * 1e3:.0f} ({row.best('wall') * 1e3:.0f})"),
    ("CPU ms (best)", lambda _, row: f"{row.median('daemon_cpu') * 1e3:.0f} ({row.best('daemon_cpu') * 1e3:.0f})"),
    ("resident MB", lambda _, row: f"{row.median('daemon_rss') / 1e6:.0f}"),
]


def main() -> None:
    with bench(__doc__) as here:
        if not have("containerd", "ctr", "docker-registry"):
            raise SystemExit("these figures are ctr's")
        tables = []

        def told(client: Client, size: int, verb: str, cases: Iterator[Case]) -> None:
            rows = measure(list(cases), here.rounds, size)
            tables.append(Table(f"{client.kind}, {size / 1e6:.0f} MB, {verb}", rows, size))

        client = Client(here, "ml")
        size = here.warm(here.layout(client.kind))
        with contextlib.ExitStack() as stack:
            told(client, size, "export", client.exports(stack))
        told(client, size, "import", client.imports())
        with daemons.docker_registry() as registry:
            told(client, size, "pull", client.pulls(registry))
        with contextlib.ExitStack() as stack:
            told(client, size, "push", client.pushes(stack))
        client.archive.unlink()
        most = limits(list(blobs(here.layout(client.kind)).values()), here.work)
        for table in tables:
            table.rows.extend(most)
        client = Client(here, "small")
        size = here.warm(here.layout(client.kind))
        for count in CLIENTS:
            with contextlib.ExitStack() as stack:
                told(client, size * count, f"{count} exports at once", client.many(count, stack))
        started = first_answers(here.rounds)
        texts = [*map(render, tables), render(started, STARTED)]
        here.record("daemon", "\n\n".join(texts), [*tables, started])


if __name__ == "__main__":
    main()
