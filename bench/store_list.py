"""Listing: what it costs to list the images of a store, from ten to ten thousand of them, the last without the peers, which would take half
a minute to be given as many. Best of the rounds; CPU time in brackets.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from harness import Bench, Case, Job, Row, Table, bench, called, have, measure, pivot, ready

from support import daemons
from support.images import Layout, add_many, standard_library, tar_layout

SIZES = (10, 100, 1000, 10_000)
PEERS_UP_TO = 1000


def archive_of(here: Bench, count: int) -> Path:
    layout = Layout(here.work / f"many-{count}")
    add_many(layout, f"many-{count}", count, layout.layer(standard_library("json")))
    layout.close()
    return tar_layout(layout.path, here.work / f"many-{count}.tar")


def cases(here: Bench, count: int, stack: contextlib.ExitStack) -> list[Case]:
    archive, root = archive_of(here, count), here.work / f"store-{count}"
    here.prepare(here.tranship("import", archive, root=root))
    jobs = {"tranship ls": here.tranship("ls", root=root)}
    if count <= PEERS_UP_TO and have("containerd", "ctr"):
        containerd = stack.enter_context(daemons.containerd())
        containerd.ctr("images", "import", "--no-unpack", archive)
        arguments: list[str | Path] = ["--address", containerd.address, "images", "ls"]
        jobs[f"{called('ctr')} images ls"] = here.peer("ctr", *arguments, daemons=[containerd.pid])
        if have("dockerd", "docker"):
            docker = stack.enter_context(daemons.dockerd(containerd_store=True))
            docker.docker("load", "--input", archive)
            processes = [docker.pid, docker.containerd.pid]
            jobs[f"{called('docker')} image ls"] = here.peer(
                "docker", "--host", docker.host, "image", "ls", daemons=processes
            )

    def case(tool: str, job: Job) -> Case:
        return Case(tool, lambda: ready(job))

    return [case(tool, job) for tool, job in jobs.items()]


def milliseconds(_: Table, row: Row) -> str:
    return f"{row.best('wall') * 1e3:.0f} ({(row.best('cpu') + row.best('daemon_cpu')) * 1e3:.0f})"


def main() -> None:
    with bench(__doc__) as here:
        tables = []
        for count in SIZES:
            with contextlib.ExitStack() as stack:
                tables.append(Table(f"{count} images", measure(cases(here, count, stack), here.rounds * 2)))
        here.record("store_list", pivot("ms (CPU ms)", tables, milliseconds), tables)


if __name__ == "__main__":
    main()
