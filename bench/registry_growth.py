"""Registries and growth: a push to and a pull from Docker's registry on loopback, as an image has more layers, and as there are more images, when
there are hardly any bytes to move.

From one column to the next there are ten times as many: a tool that is linear takes at most ten times as long. Medians, with the output
fsynced; in brackets the milliseconds for each blob, or image, with all that starting the program costs. Several images go in one call, which
the peers do not know. The registry makes thousands of folders, so the layers are also moved with its files, and what is pulled, in memory.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from harness import Bench, Case, Job, Row, Table, bench, measure, pivot, ready
from registry import pulls, pushes
from verify import check_blobs, check_registry

from support import daemons
from support.images import Layout, add_many, blobs, standard_library

SIZES = (10, 100, 1000)
MEMORY = Path("/dev/shm")  # a figure's own folder below it


def many(here: Bench, kind: str) -> Path:
    """A layout of images, which have a layer in common."""
    path = here.work / kind
    if not path.exists():
        layout = Layout(path)
        add_many(layout, kind, int(kind.removeprefix("many-")), layout.layer(standard_library("json")))
        layout.close()
    return path


def several(here: Bench, kind: str) -> Iterator[Case]:
    """Images into one empty registry, by one command."""
    layout = many(here, kind)
    wanted = blobs(layout).keys()

    @contextlib.contextmanager
    def start() -> Iterator[Job]:
        with daemons.docker_registry() as registry:
            made = here.tranship("copy", "--plain-http", f"oci:{layout}", f"docker://{registry.host}/all/")
            yield Job(made.command, registry.root, [registry.pid], made.env, fresh=True)

    yield Case("tranship copy (layout)", start, lambda job: check_registry(job.output, wanted))


def several_back(here: Bench, kind: str, registry: daemons.DockerRegistry) -> Iterator[Case]:
    """Images out of a registry, by one command."""
    layout, out = many(here, kind), here.work / "out"
    wanted = blobs(layout).keys()
    here.prepare(here.tranship("copy", "--plain-http", f"oci:{layout}", f"docker://{registry.host}/all/"))
    there = [f"{registry.host}/all/{kind}:v{number}" for number in range(int(kind.removeprefix("many-")))]
    commands = {
        "tranship pull (store)": here.tranship("pull", "--plain-http", *there, root=out),
        "tranship copy (layout)": here.tranship(
            "copy", "--plain-http", *(f"docker://{name}" for name in there), f"oci:{out}"
        ),
    }
    for tool, made in commands.items():
        job = Job(made.command, out, [registry.pid], made.env)
        yield Case(tool, lambda job=job: ready(job), lambda _: check_blobs(out, wanted))  # type: ignore[misc]  # defaults bind the loop's values


def cell(counted: Callable[[int], int]) -> Callable[[Table, Row], str]:
    """Seconds, and milliseconds a piece; `counted` makes the number of pieces of a column's title."""

    def shown(table: Table, row: Row) -> str:
        seconds = row.median("durable")
        return f"{seconds:.3f} ({seconds / counted(int(table.title)) * 1000:.2f})"

    return shown


@contextlib.contextmanager
def in_memory(here: Bench) -> Iterator[Bench]:
    """The same bench with its folder, and what daemons keep, on a file system in memory."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="tranship-bench-", dir=MEMORY) as work:
        tempfile.tempdir = work
        try:
            yield replace(here, work=Path(work))
        finally:
            tempfile.tempdir = before


def main() -> None:
    with bench(__doc__) as here:
        tables: list[Table] = []
        texts: list[str] = []

        def add(title: str, kind: str, cases: Callable[[str], Iterator[Case]], counted: Callable[[int], int]) -> None:
            columns = [Table(str(size), measure(list(cases(f"{kind}-{size}")), here.rounds)) for size in SIZES]
            texts.append(pivot(title, columns, cell(counted)))
            tables.extend(columns)

        def layers(here: Bench, title: str) -> None:
            title = f"{title}, s durable (ms a blob)"
            add(f"push, {title}", "tiny", lambda kind: pushes(here, kind), lambda size: size + 1)
            with daemons.docker_registry() as registry:
                add(f"pull, {title}", "tiny", lambda kind: pulls(here, kind, registry), lambda size: size + 1)

        layers(here, "layers of one image")
        if MEMORY.is_dir():
            with in_memory(here) as swift:
                layers(swift, "layers of one image, files in memory")
        title = "images in one call, s durable (ms an image)"
        add(f"push, {title}", "many", lambda kind: several(here, kind), lambda size: size)
        with daemons.docker_registry() as registry:
            add(f"pull, {title}", "many", lambda kind: several_back(here, kind, registry), lambda size: size)
        here.record("registry_growth", "\n\n".join(texts), tables)


if __name__ == "__main__":
    main()
