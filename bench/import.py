"""Import: an archive into a store or layout, without unpacking; tranship's beside the peers'."""

from __future__ import annotations

from cases import imports
from harness import Table, bench, measure, render
from limits import limits

from support.images import blobs


def main() -> None:
    with bench(__doc__) as here:
        tables = []
        for kind in ("ml", "python"):
            size = here.warm(here.layout(kind))
            rows = measure(list(imports(here, kind)), here.rounds, size)
            tables.append(Table(f"{kind}, {size / 1e6:.0f} MB, from an archive", rows, size))
        tables[0].rows.extend(limits(list(blobs(here.layout("ml")).values()), here.work))
        here.record("import", "\n\n".join(map(render, tables)), tables)


if __name__ == "__main__":
    main()
