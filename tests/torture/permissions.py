"""Who may look: the same modes under any umask, and no store in a folder that others can write to."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING

from torture import invariants
from torture.box import part
from torture.content import NAME, command, environment, run, versions

if TYPE_CHECKING:
    from pathlib import Path

    from torture.box import Box

UMASKS = (0o000, 0o077, 0o177)
REFUSED = 4  # the exit code of PermissionDenied


def modes(root: Path) -> dict[str, int]:
    """The mode of everything below a store, but what belongs to processes."""
    found = {"": stat.S_IMODE(root.stat().st_mode)}
    for parent, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            found[os.path.relpath(path, root)] = stat.S_IMODE(os.lstat(path).st_mode)
    return {name: mode for name, mode in found.items() if not name.startswith("run/")}


@part("permissions")
def permissions(box: Box) -> None:
    """Each case once a round."""
    with box.scratch() as folder:
        known = versions(folder)
        for _ in box.rounds():
            with box.unbroken("umasks"), box.scratch() as place:
                found = []
                for umask in UMASKS:
                    root = place / f"{umask:o}" / "deep" / "store"
                    done = subprocess.run(
                        command(root, "import", known.new),
                        env=environment(),
                        umask=umask,
                        capture_output=True,
                        check=False,
                    )
                    assert done.returncode == 0, done.stderr
                    invariants.sound(root, {NAME: {known.root("new")}})
                    found.append(modes(root))
                    box.count("stores made under a umask")
                assert all(one == found[0] for one in found), found
            _roots(box, known.new)


def _roots(box: Box, archive: Path) -> None:
    """Roots that are links, open to others, or somebody else's."""
    with box.unbroken("a root by a link"), box.scratch() as place:
        (place / "real").mkdir(mode=0o700)
        (place / "link").symlink_to("real")
        assert run(place / "link", "import", archive).code == 0
        invariants.sound(place / "real")
        box.count("roots by a link")
    for mode in (0o720, 0o1777):
        with box.unbroken(f"a root of mode {mode:o}"), box.scratch() as place:
            root = place / "store"
            root.mkdir()
            root.chmod(mode)
            ran = run(root, "import", archive)
            assert ran.code == REFUSED, ran
            assert "can be written by others" in ran.err, ran.err
            assert os.listdir(root) == [], "something was made in it"
            box.count("roots open to others, refused")
    if os.geteuid() == 0:
        with box.unbroken("a root of another user"), box.scratch() as place:
            root = place / "store"
            root.mkdir(mode=0o700)
            os.chown(root, 12345, 12345)
            ran = run(root, "ls")
            assert ran.code == REFUSED, ran
            assert "belongs to user 12345" in ran.err, ran.err
            box.count("roots of others, refused")
