"""Memory: the peak of each command and its daemons, from an image of next to no bytes to one of a gigabyte, and one of a thousand layers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from cases import exports, imports
from harness import Bench, Case, Row, Table, bench, measure, pivot
from registry import pulls, pushes

from support import daemons

KINDS = ("tiny-10", "tiny-1000", "python", "ml")
Cases = Callable[[Bench, str, contextlib.ExitStack], Iterator[Case]]
OPERATIONS: dict[str, Cases] = {
    "export": exports,
    "import": lambda here, kind, _: imports(here, kind),
    "push": lambda here, kind, _: pushes(here, kind),
    "pull": lambda here, kind, stack: pulls(here, kind, stack.enter_context(daemons.docker_registry())),
}


def megabytes(_: Table, row: Row) -> str:
    below = row.median("daemon_rss")
    return f"{row.median('rss') / 1e6:.0f}" + (f" + {below / 1e6:.0f}" if below else "")


def main() -> None:
    with bench(__doc__) as here:
        tables, texts = [], []
        for operation, cases in OPERATIONS.items():
            columns = []
            for kind in KINDS:
                size = here.warm(here.layout(kind))
                with contextlib.ExitStack() as stack:
                    measured = measure(list(cases(here, kind, stack)), here.rounds)
                    columns.append(Table(f"{kind} ({size / 1e6:.1f} MB)", measured))
            texts.append(pivot(f"{operation}, peak MB, command + daemons", columns, megabytes))
            tables += columns
        here.record("memory", "\n\n".join(texts), tables)


if __name__ == "__main__":
    main()
