"""Memory: the peak of each command and its daemons, from an image of next to no bytes to one of a gigabyte, and one of a thousand layers."""

from __future__ import annotations

import contextlib

from cases import exports, imports
from harness import Row, Table, bench, measure, pivot

KINDS = ("tiny-10", "tiny-1000", "python", "ml")


def megabytes(_: Table, row: Row) -> str:
    daemons = row.median("daemon_rss")
    return f"{row.median('rss') / 1e6:.0f}" + (f" + {daemons / 1e6:.0f}" if daemons else "")


def main() -> None:
    with bench(__doc__) as here:
        tables, texts = [], []
        for operation in ("export", "import"):
            columns = []
            for kind in KINDS:
                size = here.warm(here.layout(kind))
                with contextlib.ExitStack() as stack:
                    cases = exports(here, kind, stack) if operation == "export" else imports(here, kind)
                    columns.append(Table(f"{kind} ({size / 1e6:.1f} MB)", measure(list(cases), min(here.rounds, 2))))
            texts.append(pivot(f"{operation}, peak MB, command + daemons", columns, megabytes))
            tables += columns
        here.record("memory", "\n\n".join(texts), tables)


if __name__ == "__main__":
    main()
