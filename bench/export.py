"""Export: an image out of a store or layout into an archive; tranship's beside the peers'.

docker and podman are measured on the smaller image alone: most of them make layers anew, which takes a minute for the large one.
"""

from __future__ import annotations

import contextlib

from cases import engine_exports, exports
from harness import Table, bench, measure, render
from limits import limits

from support.images import blobs


def main() -> None:
    with bench(__doc__) as here:
        tables = []
        for kind in ("ml", "python"):
            size = here.warm(here.layout(kind))
            with contextlib.ExitStack() as stack:
                cases = list(exports(here, kind, stack))
                if kind != "ml":
                    cases += engine_exports(here, kind, stack)
                rows = measure(cases, here.rounds, size)
                tables.append(Table(f"{kind}, {size / 1e6:.0f} MB, to an archive", rows, size))
        tables[0].rows.extend(limits(list(blobs(here.layout("ml")).values()), here.work))
        here.record("export", "\n\n".join(map(render, tables)), tables)


if __name__ == "__main__":
    main()
