"""Start-up: what a command costs that does next to nothing."""

from __future__ import annotations

import sys

from harness import TIMES, Bench, Case, Job, Table, bench, called, have, measure, ready, render

PEERS = {
    "ctr": "--version",
    "skopeo": "--version",
    "crane": "version",
    "oras": "version",
    "regctl": "version",
    "docker": "--version",
    "podman": "--version",
}


def cases(here: Bench) -> list[Case]:
    root = here.work / "store"
    here.prepare(here.tranship("copy", f"oci:{here.layout('tiny-10')}", "store:", root=root))
    jobs = {
        "tranship version": here.tranship("version"),
        "tranship --help": here.tranship("--help"),
        "tranship ls": here.tranship("ls", root=root),
        "python -I -S -c pass": Job([sys.executable, "-I", "-S", "-c", "pass"]),
        "python -c pass": Job([sys.executable, "-c", "pass"]),
        **{f"{called(name)} {argument}": here.peer(name, argument) for name, argument in PEERS.items() if have(name)},
        "true": Job(["true"]),
    }

    def case(tool: str, job: Job) -> Case:
        return Case(tool, lambda: ready(job))

    return [case(tool, job) for tool, job in jobs.items()]


def main() -> None:
    with bench(__doc__) as here:
        table = Table("start-up", measure(cases(here), here.rounds * 4))
        here.record("startup", render(table, TIMES), [table])


if __name__ == "__main__":
    main()
