"""Growth: how time grows with the layers of an image, and with the images of an archive, when there are hardly any bytes to move.

From one column to the next there are ten times as many: a tool that is linear takes at most ten times as long. Medians; the
CPU time of command and daemons in brackets.
"""

from __future__ import annotations

import contextlib

from cases import exports, imports
from harness import Row, Table, bench, measure, pivot

SIZES = {"tiny": (10, 100, 1000), "many": (1, 10, 100)}
COUNTED = {"tiny": "layers of one image", "many": "images in one archive"}


def seconds(_: Table, row: Row) -> str:
    return f"{row.median('durable'):.3f} ({row.median('cpu') + row.median('daemon_cpu'):.2f})"


def main() -> None:
    with bench(__doc__) as here:
        tables, texts = [], []
        for operation in ("export", "import"):
            for name, sizes in SIZES.items():
                columns = []
                for size in sizes:
                    kind = f"{name}-{size}"
                    here.warm(here.layout(kind))
                    with contextlib.ExitStack() as stack:
                        cases = exports(here, kind, stack) if operation == "export" else imports(here, kind)
                        columns.append(Table(str(size), measure(list(cases), here.rounds)))
                texts.append(pivot(f"{operation}, {COUNTED[name]}, s durable (CPU s)", columns, seconds))
                tables += columns
        here.record("growth", "\n\n".join(texts), tables)


if __name__ == "__main__":
    main()
