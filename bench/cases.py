"""The ways to export and to import an image, tranship's first, beside those of the peers that are here.

skopeo and regctl move between an archive and a layout, containerd, docker and podman between an archive and a store of their own; tranship
does both. tar is the floor: it copies, and checks nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from harness import Bench, Case, Job, called, have, ready
from verify import check_archive, check_blobs, check_docker_archive

from support import daemons
from support.images import blobs, tar_layout


def names(kind: str) -> list[str]:
    """The images of a layout: many-N holds N of them, every other one."""
    name, _, count = kind.partition("-")
    return [f"localhost/{kind}:v{number}" for number in (range(int(count)) if name == "many" else [1])]


def skopeos(kind: str) -> list[str]:
    """skopeo, the current and an older one; the older one takes half a minute for a thousand layers, so not where those are counted."""
    names = ["skopeo"] if kind.startswith(("tiny", "many")) else ["skopeo", "skopeo@bookworm"]
    return [name for name in names if have(name)]


def archive_of(bench: Bench, kind: str) -> Path:
    path = bench.work / f"{kind}.tar"
    return path if path.exists() else tar_layout(bench.layout(kind), path)


def exports(bench: Bench, kind: str, stack: contextlib.ExitStack) -> Iterator[Case]:
    """Out of a store or layout into an archive. `stack` ends the daemons."""
    layout, archive, out, images = bench.layout(kind), archive_of(bench, kind), bench.work / "out.tar", names(kind)
    wanted, store = blobs(layout).keys(), bench.work / f"store-{kind}"
    bench.prepare(bench.tranship("import", archive, root=store))

    def case(tool: str, job: Job) -> Case:
        return Case(tool, lambda: ready(job), lambda _: check_archive(out, wanted))

    yield case("tranship export (store)", bench.tranship("export", *images, "-o", out, root=store, output=out))
    yield case("tranship copy (layout)", bench.tranship("copy", f"oci:{layout}", f"archive:{out}", output=out))
    yield case("tar cf (floor)", Job(["tar", "-cf", out, "-C", layout, "."], out))
    tag = images[0].rpartition(":")[2]
    if len(images) == 1:  # these take one at a time
        for skopeo in skopeos(kind):
            yield case(
                called(skopeo),
                bench.peer(skopeo, "copy", f"oci:{layout}:{tag}", f"oci-archive:{out}:{tag}", output=out),
            )
        if have("regctl"):
            yield case(
                called("regctl"), bench.peer("regctl", "image", "export", f"ocidir://{layout}:{tag}", out, output=out)
            )
    if have("containerd", "ctr"):
        containerd = stack.enter_context(daemons.containerd())
        containerd.ctr("images", "import", "--no-unpack", archive)
        for mode in ([], ["--local"]):
            arguments: list[str | Path] = ["--address", containerd.address, "images", "export", *mode, out, *images]
            job = bench.peer("ctr", *arguments, output=out, daemons=[containerd.pid])
            yield case(" ".join([called("ctr"), "export", *mode]), job)


def engine_exports(bench: Bench, kind: str, stack: contextlib.ExitStack) -> Iterator[Case]:
    """Out of docker and podman. All but docker with containerd's store keep files, not layers, and make layers and manifests anew."""
    layout, out, name = bench.layout(kind), bench.work / "out.tar", names(kind)[0]

    def made_anew(tool: str, job: Job) -> Case:
        return Case(tool, lambda: ready(job), lambda _: check_docker_archive(out, layout))

    archive = bench.work / f"{kind}-docker.tar"  # docker with overlay2 reads none without docker's own manifest.json
    bench.prepare(bench.tranship("copy", f"oci:{layout}", f"archive:{archive}"))
    for kept in (True, False) if have("dockerd", "docker", "containerd", "ctr") else ():
        docker = stack.enter_context(daemons.dockerd(containerd_store=kept))
        docker.docker("load", "--input", archive)
        processes = [docker.pid, docker.containerd.pid]
        job = bench.peer("docker", "--host", docker.host, "save", "-o", out, name, output=out, daemons=processes)
        yield made_anew(f"{called('docker')} save ({'containerd store' if kept else 'overlay2'})", job)
    if have("podman"):
        podman = stack.enter_context(daemons.podman())
        podman.podman("load", "--input", archive)
        yield made_anew(
            f"{called('podman')} save", bench.peer("podman", *podman.options, "save", "-o", out, name, output=out)
        )


def imports(bench: Bench, kind: str) -> Iterator[Case]:
    """Out of an archive into a store or layout, without unpacking. Each run begins with nothing, for containerd with a new daemon."""
    layout, archive, out, images = bench.layout(kind), archive_of(bench, kind), bench.work / "out", names(kind)
    wanted = blobs(layout).keys()

    def case(tool: str, job: Job) -> Case:
        return Case(tool, lambda: ready(job), lambda _: check_blobs(out, wanted))

    yield case("tranship import (store)", bench.tranship("import", archive, root=out, output=out))
    yield case("tranship copy (layout)", bench.tranship("copy", f"archive:{archive}", f"oci:{out}", output=out))
    # tar needs a folder that is there; making it belongs to the work.
    yield case("tar xf (floor)", Job(["sh", "-c", 'mkdir "$1" && tar -xf "$2" -C "$1"', "sh", out, archive], out))
    tag = images[0].rpartition(":")[2]
    if len(images) == 1:
        for skopeo in skopeos(kind):
            yield case(
                called(skopeo),
                bench.peer(skopeo, "copy", f"oci-archive:{archive}:{tag}", f"oci:{out}:{tag}", output=out),
            )
        if have("regctl"):
            yield case(
                called("regctl"), bench.peer("regctl", "image", "import", f"ocidir://{out}:{tag}", archive, output=out)
            )
    for mode in ([], ["--local"]) if have("containerd", "ctr") else ():

        @contextlib.contextmanager
        def start(mode: list[str] = mode) -> Iterator[Job]:
            with daemons.containerd() as containerd:
                arguments: list[str | Path] = [
                    "--address",
                    containerd.address,
                    "images",
                    "import",
                    "--no-unpack",
                    *mode,
                    archive,
                ]
                yield bench.peer("ctr", *arguments, output=containerd.blobs, daemons=[containerd.pid])

        def check(job: Job) -> None:
            assert job.output
            check_blobs(job.output.parent, wanted)

        yield Case(" ".join([called("ctr"), "import", *mode]), start, check)
