"""The commands, so that the help of all of them costs the import of none. A new one is a line here and a module."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """A word that people type; `module` has `arguments(parser)`, `run(args)`, and the texts of its help."""

    name: str
    module: str
    summary: str
    aliases: tuple[str, ...] = ()


GROUPS: dict[str, tuple[Command, ...]] = {
    "Move images": (
        Command("copy", "copy", "from any end to any end; several sources where the destination holds many", ("cp",)),
        Command("pull", "pull", "from a registry into the store"),
        Command("push", "push", "from the store to a registry"),
        Command("export", "export", "from the store, or any end, into an archive", ("save",)),
        Command("import", "importing", "from an archive into the store", ("load",)),
        Command("pack", "pack", "make an image of one layer of a directory or a tar"),
        Command("tag", "tag", "give an image of the store another name"),
    ),
    "Look at images": (
        Command("ls", "ls", "list the images of the store, or of any end", ("images",)),
        Command("inspect", "inspect", "show an image: manifests, config, layers"),
        Command("check", "check", "say whether images are complete"),
        Command("digest", "digest", "print the digests of images"),
        Command("verify", "verify", "hash again what the store, or another end, holds"),
    ),
    "Ask registries": (
        Command("tags", "tags", "list the tags of a repository"),
        Command("catalog", "catalog", "list the repositories of a registry"),
        Command("referrers", "referrers", "list signatures, SBOMs and the like of an image"),
        Command("delete", "delete", "delete tags or manifests"),
        Command("login", "login", "check a password, and keep it"),
        Command("logout", "logout", "forget a password"),
        Command("auth", "auth", "explain where a registry's password comes from"),
    ),
    "Keep the store": (
        Command("rm", "rm", "remove images", ("rmi",)),
        Command("label", "label", "show or set the labels of an image"),
        Command("gc", "gc", "remove content that nothing refers to"),
        Command("df", "df", "say how much space the store takes"),
        Command("fsck", "fsck", "check the store, and repair it"),
        Command("content", "content", "blobs: ls, get, info, rm, label, active, abort"),
        Command("lease", "lease", "leases: ls, create, rm", ("leases",)),
        Command("namespace", "namespace", "namespaces: ls, create, label, rm", ("namespaces", "ns")),
    ),
    "And": (
        Command("daemon", "daemon", "serve containerd's API over the store, for ctr and others"),
        Command("completion", "completion", "print the completion script of a shell"),
        Command("version", "version", "print the version"),
    ),
}


def every() -> dict[str, Command]:
    """The commands by name, in the order of the help."""
    return {command.name: command for group in GROUPS.values() for command in group}


def find(word: str) -> Command | None:
    """The command of a name or an alias."""
    return next((c for c in every().values() if word == c.name or word in c.aliases), None)
