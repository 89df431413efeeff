"""Names: what images are called in a store, in an archive, and how a user's words pick among them.

The rules are containerd's (core/transfer/image/imagestore.go, core/images/archive): pure functions of what an index says
about an image and of what the user asks for. The clock is the caller's: a date is passed in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from tranship.errors import InvalidArgument, InvalidReference, NotFound, printable
from tranship.model.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from tranship.model.descriptor import Descriptor, Root
    from tranship.model.digest import Digest

IMAGE_NAME = "io.containerd.image.name"  # annotation: the full name
REF_NAME = "org.opencontainers.image.ref.name"  # annotation: the tag; to some tools, the full name
REF_SOURCE = "io.containerd.import.ref-source"  # annotation inside containerd: where a name comes from; never stored
MAX_LABEL = 4096  # bytes of a label's key and value together (containerd, pkg/labels/validate.go)
SOURCE_LABEL = "containerd.io/distribution.source"  # label prefix: the repositories at a registry that hold a blob


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraName:
    """A further name, or the rule for making names (containerd's ImageReference).

    is_prefix          `name` is a repository: a tag or a digest is added to it; all else needs this
    allow_overwrite    a full name that an archive gives is taken even when it does not begin with the prefix
    add_digest         the image is also named PREFIX@DIGEST
    skip_named_digest  … unless it has another name
    """

    name: str
    is_prefix: bool = False
    allow_overwrite: bool = False
    add_digest: bool = False
    skip_named_digest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How a store names what it is given.

    name      of the image that is pulled or tagged; of the index of an import
    extra     further names, and rules for the images that an import's index lists
    nameless  an image that comes without any name is called NAMELESS@DIGEST; None, containerd's way, leaves it unstored, and
              an import of which nothing is stored is none the worse for it
    """

    name: str | None = None
    extra: tuple[ExtraName, ...] = ()
    nameless: str | None = None

    @classmethod
    def of_import(
        cls,
        today: date,
        *,
        base_name: str | None = None,
        overwrite: bool = False,
        add_digest: bool = False,
        skip_named_digest: bool = False,
        index_name: str | None = None,
    ) -> Naming:
        """Name as `ctr images import` does with these options. Without a `base_name` it is `import-DATE`."""
        prefix = base_name or f"import-{today:%Y-%m-%d}"
        rule = ExtraName(
            name=prefix,
            is_prefix=True,
            allow_overwrite=overwrite or not base_name,
            add_digest=add_digest,
            skip_named_digest=skip_named_digest,
        )
        return cls(name=index_name or None, extra=(rule,), nameless=prefix)

    @property
    def outright(self) -> tuple[str, ...]:
        """The names that are given, and not made by a rule."""
        names = (self.name, *(rule.name for rule in self.extra if not rule.is_prefix))
        return tuple(dict.fromkeys(name for name in names if name))

    def of_top(self, descriptor: Descriptor) -> tuple[str, ...]:
        """Name what a transfer is about: the image pulled or tagged, or the whole index of an import."""
        rules = (rule for rule in self.extra if rule.is_prefix and rule.add_digest)
        return tuple(dict.fromkeys((*self.outright, *(f"{rule.name}@{descriptor.digest}" for rule in rules))))

    def of_member(self, root: Root) -> tuple[str, ...]:
        """Name an image that an import's index lists, by its annotations; none when no rule takes it.

        A root that has one of the names given outright keeps it: it is the index itself.
        """
        if root.name and root.name in self.outright:
            return (root.name,)
        names: list[str] = []
        for rule in self.extra:
            if not rule.is_prefix:
                continue
            name = _member_name(root, rule)
            if name:
                names.append(name)
            if rule.add_digest and not (name and rule.skip_named_digest):
                names.append(f"{rule.name}@{root.descriptor.digest}")
        if not names and self.nameless and not root.name and not stated_name(root.descriptor):
            names.append(f"{self.nameless}@{root.descriptor.digest}")
        return tuple(dict.fromkeys(names))

    def name_members(self, roots: Iterable[Root]) -> list[Root]:
        """Give each image of an import its names, a root for each.

        NotFound when none of them gets any, but for containerd's way (`nameless` None).
        """
        roots = list(roots)
        named = [replace(root, name=name) for root in roots for name in self.of_member(root)]
        if roots and not named and self.nameless is not None:
            found = sorted({printable(name) for root in roots if (name := root.name or stated_name(root.descriptor))})
            wanted = " or ".join(rule.name for rule in self.extra if rule.is_prefix)
            raise NotFound(
                f"no image name found: expected one below {wanted or 'nothing'}, found {', '.join(found[:5]) or 'none'}",
                hint="give another --base-name, or --overwrite to take names as they are, or --digests",
            )
        return named


def _member_name(root: Root, rule: ExtraName) -> str:
    """The name by `rule`, or an empty string. A full name stays as it is or is not taken; a tag is put behind the prefix."""
    annotations = root.descriptor.annotations
    name = root.name if root.name and is_full(root.name) else annotations.get(IMAGE_NAME)
    if not name:
        name = annotations.get(REF_NAME) or root.name or ""
        if name and not is_full(name):
            return f"{rule.name}:{name}"
    return name if is_full(name) and (rule.allow_overwrite or _is_below(name, rule.name)) else ""


def is_full(name: str) -> bool:
    """Is it more than a tag or a word: does it hold any of `/ : @`? (containerd's distinction)."""
    return any(c in name for c in "/:@")


def _is_below(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and name[len(prefix) : len(prefix) + 1] in ("", "/", ":", "@")


# --- in an archive or layout ------------------------------------------------------------------------------------------


def stated_name(descriptor: Descriptor) -> str | None:
    """What an index calls the image that it lists: its full name, or else its tag."""
    return descriptor.annotations.get(IMAGE_NAME) or descriptor.annotations.get(REF_NAME) or None


def source_label(domain: str) -> str:
    """The label that notes which repositories of a registry hold a blob. As with containerd, the port is no part of it."""
    host = re.fullmatch(r"\[(.*)\](?::[0-9]*)?|([^:]*)(?::[0-9]*)?", domain)
    return f"{SOURCE_LABEL}.{(host[1] or host[2]) if host else domain}"


def repositories(labels: Mapping[str, str]) -> list[str]:
    """`host/path` of each repository that a blob's labels name, `containerd.io/distribution.source.HOST` = PATH[,PATH…]."""
    return [
        f"{key[len(SOURCE_LABEL) + 1 :]}/{path}"
        for key, value in labels.items()
        if key.startswith(SOURCE_LABEL + ".")
        for path in value.split(",")
        if path
    ]


def noted(labels: Mapping[str, str], repositories: Iterable[str]) -> dict[str, str]:
    """The labels that note these repositories (`host/path`) of a blob too; left out where one would be too long."""
    paths: dict[str, set[str]] = {}
    for repository in repositories:
        domain, _, path = repository.partition("/")
        label = source_label(domain)
        paths.setdefault(label, {*labels.get(label, "").split(",")} - {""}).add(path)
    merged = {label: ",".join(sorted(found)) for label, found in paths.items()}
    return {label: value for label, value in merged.items() if len(label) + len(value) <= MAX_LABEL}


def in_archive(root: Root, labels: Mapping[str, str] | None = None) -> Descriptor:
    """The descriptor of an image in the `index.json` of an archive or layout: with its name, annotations sorted.

    `labels` are those of the image's blob; what they say of its registry is copied, as containerd does. Without them such
    annotations are dropped: they would make the same image's archive differ from host to host.
    """
    said = {key: value for key, value in root.descriptor.annotations.items() if key != REF_SOURCE}
    if labels is None:
        said = {key: value for key, value in said.items() if not key.startswith(SOURCE_LABEL)}
    else:
        said.update((key, value) for key, value in labels.items() if key.startswith(SOURCE_LABEL))
    if root.name:
        said.update({REF_NAME: object_name(root.name), IMAGE_NAME: root.name})
        if not is_full(root.name):  # containerd refuses a tag alone as a full name
            del said[IMAGE_NAME]
    return replace(root.descriptor, annotations=dict(sorted(said.items())))


_AUTHORITY = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]+)(?::[0-9]*)?")


def object_name(name: str) -> str:
    """The tag, or `TAG@DIGEST`, of a full name; the name itself when it has no tag or is no reference.

    This reads any name that a store may hold, as containerd's reference.Parse does: what stands before the first slash is
    a host, and behind the next `:` or `@` is the object.
    """
    host, _, path = name.partition("/")
    mark = re.search(r"[:@]", path)
    if "://" in name or mark is None or mark[0] == "@" or not _AUTHORITY.fullmatch(host.rpartition("@")[2]):
        return name
    if ".." in path[: mark.start()].split("/"):
        return name
    return path[mark.end() :] or name


def repo_tag(name: str, *, familiar: bool = True) -> str | None:
    """A name for docker's `RepoTags`; None when it has no tag, which `docker load` would refuse.

    Docker and containerd write it as docker shows it, `familiar`: `alpine:latest`. Every reader completes that to docker.io,
    but podman to localhost; with the full name all agree.
    """
    try:
        reference = Reference.parse(name)
    except InvalidReference:
        return None
    if not reference.tag:
        return None
    tagged = reference.with_digest(None)
    return tagged.familiar if familiar else str(tagged)


def from_repo_tag(text: str) -> str:
    """The full name of one of docker's `RepoTags`; of tag and digest the digest stays. Raises InvalidReference."""
    reference = Reference.parse(text)
    return str(reference.with_tag(None) if reference.digest else reference)


# --- in a request -----------------------------------------------------------------------------------------------------


def rename(roots: Sequence[Root], names: Sequence[str]) -> list[Root]:
    """Call what comes as the destination asks: by no `names` as it is called, or one image by each of them.

    Referrers (roots with a subject) come along as they are. Raises InvalidArgument when several images meet names, and for a
    name that pins another digest than the image has.
    """
    if not names:
        return list(roots)
    images = [root for root in roots if root.subject is None]
    different = {root.descriptor.digest for root in images}
    if len(different) != 1:
        raise InvalidArgument(
            f"the source has {len(different)} images, and the destination gives {len(names)} name"
            f"{'s' * (len(names) != 1)}: {', '.join(map(printable, names[:5]))}",
            hint="select one image at the source, or give the destination without a name to keep the source's names",
        )
    for name in names:
        if (pinned(name) or images[0].descriptor.digest) != images[0].descriptor.digest:
            raise InvalidArgument(
                f"{printable(name)} names another digest than the image has, {images[0].descriptor.digest}"
            )
    named = [replace(images[0], name=name) for name in dict.fromkeys(names)]
    return [*named, *(root for root in roots if root.subject is not None)]


def pinned(name: str) -> str | None:
    """The digest in a name, as in `app:1@sha256:…`; None without one."""
    _, at, digest = name.rpartition("@")
    return digest if at and digest.startswith(("sha256:", "sha512:")) else None


def repinned(name: str, before: Digest, after: Digest) -> str:
    """The name with the new digest where it pins the one before."""
    return name.removesuffix(before) + after if pinned(name) == before else name


class Chosen(NamedTuple):
    """A name that a pattern picked, and by which rule."""

    name: str
    pattern: str
    how: Literal["exact", "completed", "glob", "prefix"]


def select(names: Collection[str], patterns: Iterable[str]) -> list[Chosen]:
    """Pick among `names`, each at most once: exactly; as docker completes it; by `*?[…]`; below `PREFIX/`.

    The first rule that picks anything ends the search for its pattern. A glob is held against the name as docker shows it,
    and one with a slash against the full name too: else `doc*` were all of docker.io. Raises NotFound, with what comes close.
    """
    chosen: dict[str, Chosen] = {}
    for pattern in patterns:
        found = list(_pick(names, pattern))
        if not found:
            raise NotFound(f"there is no image {printable(repr(pattern))}", hint=_closest(names, pattern))
        for one in found:
            chosen.setdefault(one.name, one)
    return list(chosen.values())


def _pick(names: Collection[str], pattern: str) -> Iterator[Chosen]:
    if pattern in names:
        yield Chosen(pattern, pattern, "exact")
        return
    try:
        completed = str(Reference.parse(pattern))
    except InvalidReference:
        completed = ""
    if completed in names:
        yield Chosen(completed, pattern, "completed")
    elif any(c in pattern for c in "*?["):
        from fnmatch import fnmatchcase

        for name in sorted(names):
            if fnmatchcase(_shown(name), pattern) or ("/" in pattern and fnmatchcase(name, pattern)):
                yield Chosen(name, pattern, "glob")
    elif pattern.endswith("/"):
        for name in sorted(names):
            if name.startswith(pattern):
                yield Chosen(name, pattern, "prefix")


def _shown(name: str) -> str:
    """A name as docker shows it; one that docker would not call so stays as it is."""
    try:
        reference = Reference.parse(name)
    except InvalidReference:
        return name
    return reference.familiar if str(reference) == name else name


def _closest(names: Collection[str], pattern: str) -> str | None:
    """A hint: names whose repositories are spelled like that of `pattern`; tags are all alike."""
    if not names:
        return "there is none at all"
    from difflib import get_close_matches

    shown: dict[str, list[str]] = {}
    for name in map(_shown, sorted(names)[:2000]):  # matching is slow; a hint may miss
        shown.setdefault(_untagged(name), []).append(name)
    near = get_close_matches(_untagged(pattern[:200]), shown, n=3, cutoff=0.6)
    close = get_close_matches(pattern[:200], [name for one in near for name in shown[one]], n=3, cutoff=0)
    return f"did you mean {' or '.join(map(printable, close))}?" if close else None


def _untagged(name: str) -> str:
    before, slash, last = name.partition("@")[0].rpartition("/")
    return before + slash + last.partition(":")[0]
