"""Push and pull: an image to and from Docker's registry on loopback, which begins empty for each push."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from cases import names
from harness import Bench, Case, Job, Table, bench, called, have, measure, ready, render
from limits import limits
from verify import check_blobs, check_registry

from support import daemons
from support.images import blobs

Arguments = list[str | Path]


def pushes(here: Bench, kind: str) -> Iterator[Case]:
    layout, store, name = here.layout(kind), here.work / f"store-{kind}", names(kind)[0]
    wanted = blobs(layout).keys()
    here.prepare(here.tranship("copy", f"oci:{layout}", "store:", root=store))

    def case(tool: str, job: Callable[[str], Job]) -> Case:
        """`job` makes the job for a reference in a registry."""

        @contextlib.contextmanager
        def start() -> Iterator[Job]:
            with daemons.docker_registry() as registry:
                made = job(f"{registry.host}/{kind}:v1")
                yield Job(made.command, registry.root, [registry.pid], made.env)

        return Case(tool, start, lambda job: check_registry(job.output, wanted))

    yield case("tranship push (store)", lambda ref: here.tranship("push", "--plain-http", name, ref, root=store))
    yield case(
        "tranship copy (layout)",
        lambda ref: here.tranship("copy", "--plain-http", f"oci:{layout}:v1", f"docker://{ref}"),
    )
    arguments: dict[str, Callable[[str], Arguments]] = {
        "skopeo": lambda ref: ["copy", "--dest-tls-verify=false", f"oci:{layout}:v1", f"docker://{ref}"],
        "crane": lambda ref: ["push", "--insecure", layout, ref],
        "oras": lambda ref: ["cp", "--from-oci-layout", f"{layout}:v1", "--to-plain-http", ref],
        "regctl": lambda ref: [
            "--host",
            f"reg={ref.partition('/')[0]},tls=disabled",
            "image",
            "copy",
            f"ocidir://{layout}:v1",
            ref,
        ],
    }
    for peer, of in arguments.items():
        if have(peer):
            yield case(called(peer), lambda ref, peer=peer, of=of: here.peer(peer, *of(ref)))  # type: ignore[misc]  # defaults bind the loop's values


def pulls(here: Bench, kind: str, registry: daemons.DockerRegistry) -> Iterator[Case]:
    layout, out, ref = here.layout(kind), here.work / "out", f"{registry.host}/{kind}:v1"
    wanted = blobs(layout).keys()
    here.prepare(here.tranship("copy", "--plain-http", f"oci:{layout}:v1", f"docker://{ref}"))

    def case(tool: str, made: Job) -> Case:
        job = Job(made.command, out, [registry.pid], made.env)
        return Case(tool, lambda: ready(job), lambda _: check_blobs(out, wanted))

    yield case("tranship pull (store)", here.tranship("pull", "--plain-http", ref, root=out))
    yield case("tranship copy (layout)", here.tranship("copy", "--plain-http", f"docker://{ref}", f"oci:{out}:v1"))
    arguments: dict[str, Arguments] = {
        "skopeo": ["copy", "--src-tls-verify=false", f"docker://{ref}", f"oci:{out}:v1"],
        "crane": ["pull", "--insecure", "--format", "oci", ref, out],
        "oras": ["cp", "--from-plain-http", ref, "--to-oci-layout", f"{out}:v1"],
        "regctl": ["--host", f"reg={registry.host},tls=disabled", "image", "copy", ref, f"ocidir://{out}:v1"],
    }
    for peer, of in arguments.items():
        if have(peer):
            yield case(called(peer), here.peer(peer, *of))


def main() -> None:
    with bench(__doc__) as here:
        tables = []
        for kind in ("ml", "python"):
            size = here.warm(here.layout(kind))
            title = f"{kind}, {size / 1e6:.0f} MB"
            tables.append(Table(f"{title}, push", measure(list(pushes(here, kind)), here.rounds, size), size))
            with daemons.docker_registry() as registry:
                rows = measure(list(pulls(here, kind, registry)), here.rounds, size)
                tables.append(Table(f"{title}, pull", rows, size))
        most = limits(list(blobs(here.layout("ml")).values()), here.work)
        for table in tables[:2]:
            table.rows.extend(most)
        here.record("registry", "\n\n".join(map(render, tables)), tables)


if __name__ == "__main__":
    main()
