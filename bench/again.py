"""Again: the same transfer once more, when everything is there already. What is told is the second run, and all that follow.

Tool after tool here, not in turn, since what the first run brought must stay. A tool that moves the bytes again takes as long as before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cases import imports
from harness import TIMES, Case, Row, Table, WrongResult, bench, measure, ready, remove, render, run
from mirror import mirrors
from registry import pulls, pushes

from support import daemons


def again(case: Case, rounds: int) -> Row:
    with case.start() as job:
        row = Row(case.tool)
        try:
            run(job)
            kept = replace(job, output=None)
            row = measure([Case(case.tool, lambda: ready(kept))], rounds)[0]
            case.check(job)
        except WrongResult as error:
            row = Row(case.tool, wrong=[str(error)])
        if not job.fresh:
            remove(job.output)
    return row


def main() -> None:
    with bench(__doc__) as here:
        kind = "ml"
        size = here.warm(here.layout(kind))
        tables = []

        def told(verb: str, cases: Iterator[Case]) -> None:
            rows = [again(case, here.rounds) for case in cases if not case.tool.startswith("tar ")]  # it knows no again
            tables.append(Table(f"{kind}, {size / 1e6:.0f} MB, {verb} again", rows))

        told("import", imports(here, kind))
        told("push", pushes(here, kind))
        with daemons.docker_registry() as registry:
            told("pull", pulls(here, kind, registry))
            told("registry to registry", mirrors(here, kind, registry))
        here.record("again", "\n\n".join(render(table, TIMES) for table in tables), tables)


if __name__ == "__main__":
    main()
