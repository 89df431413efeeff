"""kill -9: at every failpoint, one passage after another; and at random moments, beside another process on the same store."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torture import invariants
from torture.box import part
from torture.content import NAME, command, environment, run, versions
from tranship import Archive, Layout, transfer
from tranship.testing.registry import RegistryServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torture.box import Box
    from torture.content import Versions

PLACING = ("place.synced", "place.renamed", "place.directory", "place.recorded", "place.committed")
INGEST = ("ingest.begun", "ingest.written", "sync.file")
FILE = ("file.written", "file.synced", "file.renamed")
GC = ("gc.marked", "gc.condemned", "gc.unlinked", "gc.swept")
WORKS: dict[str, tuple[str, ...]] = {
    "import": (*PLACING, "sync.file", "image.recorded"),
    "pull": (*PLACING, *INGEST, "image.recorded"),
    "push": (),  # writes nothing here; it is killed at random moments
    "export": FILE,
    "layout": FILE,
    "tag": ("image.recorded",),
    "gc": GC,
    "fsck": ("aside.moved",),
}
SIZES = (0, 1, 700, 4096, 70_000, 1_200_000, 9 << 20)  # the last is large enough to be resumed
PASSAGES = 60  # of one point that are tried at most


@dataclass
class Ground:
    """A store with the old version, copied anew for each kill, and what commands work on it."""

    folder: Path
    versions: Versions
    registry: RegistryServer
    template: Path = field(init=False)

    def __post_init__(self) -> None:
        self.template = self.folder / "template"
        root = self.template / "store"
        for words in (("import", self.versions.old), ("tag", NAME, "example.com/old:1")):
            ran = run(root, *words)
            assert ran.code == 0, ran.err
        self._reference(self.registry)
        shutil.copyfile(self.versions.old, self.template / "out.tar")
        transfer(Archive(self.versions.old), Layout(self.template / "out"))

    def _reference(self, registry: RegistryServer) -> None:
        ran = run(self.template / "seed", "import", self.versions.new)
        assert ran.code == 0, ran.err
        ran = run(self.template / "seed", "copy", f"store:{NAME}", f"docker://{registry.host}/app:1")
        assert ran.code == 0, ran.err
        shutil.rmtree(self.template / "seed")

    def fresh(self, place: Path) -> Path:
        """A copy of the template; gives its store."""
        shutil.copytree(self.template, place, symlinks=True)
        return place / "store"

    def words(self, work: str, root: Path) -> tuple[object, ...]:
        """The command line of a work."""
        place = root.parent
        return {
            "import": ("import", self.versions.new),
            "pull": ("copy", f"docker://{self.registry.host}/app:1", f"store:{NAME}"),
            "push": ("copy", f"store:{NAME}", f"docker://{self.registry.host}/pushed:1"),
            "export": ("export", NAME, "-o", place / "out.tar"),
            "layout": ("copy", f"store:{NAME}", f"oci:{place / 'out'}:v1"),
            "tag": ("tag", NAME, "example.com/other:1"),
            "gc": ("rm", NAME, "example.com/old:1"),
            "fsck": ("fsck", "--deep", "--repair"),
        }[work]

    def check(self, root: Path, work: str, *, done: bool, alone: bool = True) -> None:
        """The invariants, and the outputs beside the store: the old one or the new one, and whole."""
        old, new = self.versions.root("old"), self.versions.root("new")
        pulled = "new" if work in ("import", "pull") else "old"
        names = {NAME: {self.versions.root(pulled)} if done and work != "gc" else {old, self.versions.root(pulled)}}
        if work == "gc":
            names = {name: {"", old} for name in (NAME, "example.com/old:1")}
        if work == "fsck":  # a blob was corrupt: the image lacks it until it is brought again
            assert run(root, "fsck", "--deep", "--repair").code == 0
            assert run(root, "import", self.versions.old).code == 0
            names = {NAME: {old}}
        if pulled == "new" and not alone:
            names = {NAME: {old, new}}
        invariants.sound(root, names, alone=alone)
        place = root.parent
        assert run(place / "from-archive", "import", place / "out.tar").code == 0
        invariants.sound(place / "from-archive", {NAME: {old}})
        # A layout's names may be two, the old and the new one of the same image; what they name must be whole.
        assert run(place / "from-layout", "verify", f"oci:{place / 'out'}").code == 0

    def damage(self, root: Path) -> None:
        """Flip a byte of a blob, for fsck to find."""
        blob = max((root / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
        raw = bytearray(blob.read_bytes())
        raw[len(raw) // 2] ^= 1
        blob.chmod(0o600)
        blob.write_bytes(raw)
        blob.chmod(0o400)


@contextlib.contextmanager
def ground(box: Box) -> Iterator[Ground]:
    """Everything that is made once."""
    with box.scratch() as folder, RegistryServer() as registry:
        yield Ground(folder, versions(folder, SIZES), registry)


@part("kill-failpoints")
def kill_failpoints(box: Box) -> None:
    """Each point of each work, at its first passage, its second, … until a passage is not reached any more; then all again,
    in another order and with other company.
    """  # fmt: skip
    with ground(box) as g:
        waiting = [(work, point, 1) for work, points in WORKS.items() for point in points]
        box.chance.shuffle(waiting)
        reached: set[tuple[str, str, int]] = set()
        again = False
        for _ in box.rounds():
            if not waiting:
                waiting, again = sorted(reached), True
                box.chance.shuffle(waiting)
            work, point, passage = waiting.pop(0)
            with box.unbroken(f"{work} killed at {point}:{passage}"), box.scratch() as place:
                killed = _kill(box, g, place / "k", (work, point, passage), beside=box.chance.random() < 0.3)
                if killed:
                    reached.add((work, point, passage))
                    if passage < PASSAGES and not again:
                        waiting.append((work, point, passage + 1))
        box.count("passages of them", len(reached))
        box.count("points reached", len({(work, point) for work, point, _ in reached}))
        if not again:
            box.count("passages left", len(waiting))


def _kill(box: Box, g: Ground, place: Path, what: tuple[str, str, int], *, beside: bool) -> bool:
    """One kill, beside another process if asked for; was the passage reached?"""
    work, point, passage = what
    root = g.fresh(place)
    if work == "fsck":
        g.damage(root)
        beside = False  # a repair wants the store for itself
    words = g.words(work, root)
    other = None
    if beside:
        beside_words = ("import", g.versions.old) if work == "gc" else ("gc",)
        other = subprocess.Popen(command(root, *beside_words), env=environment(), stdout=subprocess.DEVNULL)
    try:
        ran = run(root, *words, TRANSHIP_FAIL=f"{point}:{passage}:kill")
    finally:
        code = other.wait(60) if other is not None else 0
    assert code == 0, f"the other process ended with {code}"
    killed = ran.code == -signal.SIGKILL
    assert killed or ran.code == 0, ran.err
    g.check(root, work, done=not killed)
    invariants.goes_on(root, g.versions)
    box.count("kills", killed)
    box.count("of them beside another process", killed and beside)
    return killed


@part("kill-random")
def kill_random(box: Box) -> None:
    """Commands killed at any moment of their life, while another process imports into or collects the same store."""
    with ground(box) as g:
        began = time.monotonic()
        assert run(g.fresh(g.folder / "first"), "import", g.versions.new).code == 0
        life = time.monotonic() - began
        for number, work in zip(box.rounds(), itertools.cycle([w for w in WORKS if w != "fsck"]), strict=False):
            with box.unbroken(f"round {number}: {work} killed at a random moment"), box.scratch() as place:
                root = g.fresh(place / "k")
                beside = ("import", g.versions.old) if number % 2 else ("gc",)
                running = [
                    subprocess.Popen(command(root, *words), env=environment(), stdout=-3, stderr=-3)
                    for words in (g.words(work, root), beside)
                ]
                victims = running if number % 3 == 0 else running[:1]  # sometimes both
                for victim in victims:
                    time.sleep(box.chance.uniform(0, life / len(victims)))
                    victim.kill()
                codes = [process.wait(60) for process in running]
                assert codes[1] in (0, -signal.SIGKILL), f"the other process ended with {codes[1]}"
                box.count("kills", sum(code == -signal.SIGKILL for code in codes))
                old, new = g.versions.root("old"), g.versions.root("new")
                invariants.sound(root, {NAME: {old, new, ""} if work == "gc" else {old, new}})
                invariants.goes_on(root, g.versions)
