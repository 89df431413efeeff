"""Ranges: one large layer pulled into a store by one connection, and by several, each of which fetches a stretch at a time (`--ranges N`).

From Docker's registry on loopback, where nothing holds a connection back; and from a registry that gives each connection about 50 MB/s, as some
content networks do. The first 16 MiB tell: where they come at less than 100 MB/s, the rest comes in ranges, and is read once more to be hashed.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness import Bench, Case, Table, bench, measure, ready, render
from verify import check_blobs

from support import daemons
from support.registry_runs import REPOSITORY, at, image
from tranship import transfer
from tranship.testing.registry import RegistryServer

SIZE = 128 << 20  # bytes of the layer
PIECE = 1 << 18  # bytes that a throttled connection sends at once
RATE = 50e6  # bytes a second of it
LARGE = image(50, SIZE)


def cases(here: Bench, host: str) -> Iterator[Case]:
    out = here.work / "store"
    for ranges in (1, 2, 4):
        options = ["--ranges", str(ranges)] if ranges > 1 else []
        job = here.tranship("pull", "--plain-http", *options, f"{host}/{REPOSITORY}:1", root=out, output=out)
        tool = f"tranship pull --ranges {ranges}" if ranges > 1 else "tranship pull"
        yield Case(tool, lambda job=job: ready(job), lambda _: check_blobs(out, [str(d) for d in LARGE.everything]))  # type: ignore[misc]  # binds the loop's value


def main() -> None:
    with bench(__doc__) as here:
        tables = []
        with daemons.docker_registry() as registry:
            transfer(LARGE.memory(), at(registry.host))
            title = f"{SIZE / 1e6:.0f} MB, nothing held back"
            tables.append(Table(title, measure(list(cases(here, registry.host)), here.rounds), SIZE))
        with RegistryServer() as server:
            LARGE.put(server)
            server.fault("slow-body", size=PIECE, pause=PIECE / RATE, times=None)
            title = f"{SIZE / 1e6:.0f} MB, {RATE / 1e6:.0f} MB/s a connection"
            tables.append(Table(title, measure(list(cases(here, server.host)), here.rounds), SIZE))
        here.record("ranges", "\n\n".join(map(render, tables)), tables)


if __name__ == "__main__":
    main()
