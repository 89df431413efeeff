"""Registry to registry, and requests: an image between two of Docker's registries on loopback, the second of which begins empty; and how many
requests each tool needs for a push, a mirror and a repeat of it, counted by the registry of `tranship.testing`, for an image of 11 blobs and
for one of 102. Token requests would come on top, for all alike; there are none here. skopeo's first look with TLS is counted as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness import Bench, Case, Job, Table, WrongResult, bench, called, have, measure, render, run
from limits import limits
from verify import check_registry

from support import daemons
from support.images import blobs
from tranship.testing.registry import RegistryServer

Arguments = list[str | Path]


def copies(layout: Path) -> dict[str, Callable[[str, str | None], Arguments]]:
    """The commands of the peers: into `to`, from the layout or from a registry."""
    return {
        "skopeo": lambda to, source: [
            *("copy", "--dest-tls-verify=false"),
            *(["--src-tls-verify=false", f"docker://{source}"] if source else [f"oci:{layout}:v1"]),
            f"docker://{to}",
        ],
        "crane": lambda to, source: ["cp", "--insecure", source, to] if source else ["push", "--insecure", layout, to],
        "oras": lambda to, source: [
            "cp",
            *(["--from-plain-http", source] if source else ["--from-oci-layout", f"{layout}:v1"]),
            "--to-plain-http",
            to,
        ],
        "regctl": lambda to, source: [
            *(f"--host=reg={ref.partition('/')[0]},tls=disabled" for ref in (to, source) if ref),
            *("image", "copy", source or f"ocidir://{layout}:v1", to),
        ],
    }


def jobs(here: Bench, layout: Path) -> Iterator[tuple[str, Callable[[str, str | None], Job]]]:
    """Each tool with the maker of its jobs."""

    def ours(to: str, source: str | None) -> Job:
        return here.tranship(
            "copy", "--plain-http", f"docker://{source}" if source else f"oci:{layout}:v1", f"docker://{to}"
        )

    yield "tranship copy", ours
    for peer, arguments in copies(layout).items():
        if have(peer):
            yield called(peer), lambda to, source, peer=peer, of=arguments: here.peer(peer, *of(to, source))  # type: ignore[misc]  # defaults bind the loop's values


def mirrors(here: Bench, kind: str, source: daemons.DockerRegistry) -> Iterator[Case]:
    layout = here.layout(kind)
    wanted = blobs(layout).keys()
    for tool, make in jobs(here, layout):

        @contextlib.contextmanager
        def start(make: Callable[[str, str | None], Job] = make) -> Iterator[Job]:
            with daemons.docker_registry() as registry:
                made = make(f"{registry.host}/{kind}:v1", f"{source.host}/{kind}:v1")
                yield Job(made.command, registry.root, [registry.pid, source.pid], made.env)

        yield Case(tool, start, lambda job: check_registry(job.output, wanted))


def counts(here: Bench, kinds: Sequence[str]) -> str:
    """Requests of a push into an empty registry, of a mirror into another, and of the same mirror again."""
    lines = ["| requests | " + " | ".join(f"{kind}: push | mirror | again" for kind in kinds) + " |"]
    lines.append("|---|" + "---:|" * 3 * len(kinds))
    rows: dict[str, list[str]] = {}
    for kind in kinds:
        for tool, make in jobs(here, here.layout(kind)):
            with RegistryServer() as first, RegistryServer() as second:
                found = []
                for to, source in ((first, None), (second, first), (second, first)):
                    before = len(first.requests) + len(second.requests)
                    try:
                        run(make(f"{to.host}/{kind}:v1", f"{source.host}/{kind}:v1" if source else None))
                    except WrongResult as error:
                        print(f"  {tool}: {error}")
                        found.append("failed")
                        continue
                    found.append(str(len(first.requests) + len(second.requests) - before))
                rows.setdefault(tool, []).extend(found)
    return "\n".join([*lines, *(f"| {tool} | {' | '.join(cells)} |" for tool, cells in rows.items())])


def main() -> None:
    with bench(__doc__) as here:
        kind = "ml"
        size = here.warm(here.layout(kind))
        with daemons.docker_registry() as source:
            here.prepare(
                here.tranship(
                    "copy", "--plain-http", f"oci:{here.layout(kind)}:v1", f"docker://{source.host}/{kind}:v1"
                )
            )
            title = f"{kind}, {size / 1e6:.0f} MB, registry to registry"
            table = Table(title, measure(list(mirrors(here, kind, source)), here.rounds, size), size)
        table.rows.extend(limits(list(blobs(here.layout(kind)).values()), here.work))
        text = f"{render(table)}\n\n{counts(here, ['python', 'tiny-100'])}"
        here.record("mirror", text, [table])


if __name__ == "__main__":
    main()
