"""The table of ctr's commands in the documentation names what the tests run, and nothing that they do not."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/containerd.md").read_text("utf-8")
FAMILIES = ("images", "content", "namespaces", "leases", "snapshots", "containers", "tasks", "plugins", "deprecations")
SINGLE = ("version", "info", "events")


def told():
    """The commands of the table's first column: `images ls` and, after that, `rm` for `images rm`."""
    table = PAGE.partition("| command |")[2].partition("\n\n")[0]
    found = set()
    for row in table.splitlines()[2:]:
        family = ()
        for code in re.findall(r"`([^`]+)`", row.split(" | ")[0]):
            words = [word for word in code.split() if not word.startswith("-")]
            if words and words[0] in FAMILIES:
                family = (words.pop(0),)
            if words:
                found.add((*family, words[0]))
    return found


def run():
    """The commands that stand in the tests which the page names."""
    found = set()
    for name in re.findall(
        r"`(tests/(?:peers|daemon)/test_\w+\.py)`", PAGE.partition("Tests: ")[2].partition("\n\n")[0]
    ):
        source = (ROOT / name).read_text("utf-8")
        found |= set(re.findall(rf'"({"|".join(FAMILIES)})", "([a-z][a-z-]*)"', source))
        found |= {(word,) for word in re.findall(rf'(?:ctr|same|each|listening)\("({"|".join(SINGLE)})"', source)}
    return found


def test_the_table_names_every_command_that_is_tried_and_no_other():
    assert told() == run()
    assert {("images", "export"), ("content", "prune"), ("events",)} < told()
