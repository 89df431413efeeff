"""References: `HOST[:PORT]/PATH[:TAG][@DIGEST]`, as people write them and as programs do.

`Reference.parse` reads what people type and completes it as docker does (github.com/distribution/reference: `alpine` is
docker.io/library/alpine:latest). `Reference.parse_strict` completes nothing, as containerd's pkg/reference. Both take one
pass over the text, and point at the first mistake.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NoReturn

from tranship.errors import InvalidReference
from tranship.model.digest import Digest

HUB = "docker.io"
_HUB_OF_OLD = "index.docker.io"
_OFFICIAL = "library/"
MAX_PATH = 255  # characters (distribution/reference: RepositoryNameTotalLengthMax)
MAX_HOST = 255  # characters; DNS has 253
MAX_TAG = 128  # characters
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_LABEL = re.compile(r"[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*")
_IPV6 = re.compile(r"\[[A-Fa-f0-9:]+\]")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class Reference:
    """An image at a registry. Make one with `parse`: the constructor checks nothing."""

    domain: str  # host, and port where one was given
    path: str
    tag: str | None = None
    digest: Digest | None = None  # with a tag beside it, the digest says what is meant

    @classmethod
    def parse(cls, text: str, default_tag: str | None = "latest") -> Reference:
        """Read a reference that a person wrote, completed as docker does. Raises InvalidReference.

        `default_tag` is taken where neither tag nor digest is said; None leaves it unsaid.
        """
        _refuse_other_names(text)
        if _IDENTIFIER.fullmatch(text):
            _refuse(
                "64 hexadecimal digits alone may be an image ID or a name; say HOST/PATH, or @sha256:…", text, 0, 64
            )
        first, slash, _ = text.partition("/")
        said = bool(slash) and _is_host(first)
        if said:
            _check_domain(text, first)
        domain = first if said and first != _HUB_OF_OLD else HUB
        start = len(first) + 1 if said else 0
        path, tag, digest = _read_object(text, start)
        if domain == HUB and "/" not in path:
            _check_length(text, start, path, MAX_PATH - len(_OFFICIAL))
            path = _OFFICIAL + path
        return cls(domain, path, tag if tag or digest else default_tag, digest)

    @classmethod
    def parse_strict(cls, text: str) -> Reference:
        """Read `HOST/PATH[:TAG][@DIGEST]` and complete nothing, as containerd does. Raises InvalidReference."""
        _refuse_other_names(text)
        domain, slash, _ = text.partition("/")
        if not slash:
            _refuse("expected HOST/PATH, with the host", text, 0, len(text))
        _check_domain(text, domain)
        return cls(domain, *_read_object(text, len(domain) + 1))

    @property
    def repository(self) -> str:
        """`HOST/PATH`: the reference without tag and digest."""
        return f"{self.domain}/{self.path}"

    @property
    def object(self) -> str:
        """`TAG`, `TAG@DIGEST` or `@DIGEST`, containerd's word for what stands behind the repository."""
        return (self.tag or "") + (f"@{self.digest}" if self.digest else "")

    @property
    def familiar(self) -> str:
        """The shortest form that docker reads as this reference: `alpine:latest`."""
        if self.domain != HUB:
            return str(self)
        path = self.path.removeprefix(_OFFICIAL)
        short = (path if "/" not in path else self.path) + self._suffix
        try:  # docker.io/quay.io/app must not become quay.io/app
            return short if Reference.parse(short, None) == self else str(self)
        except InvalidReference:
            return str(self)

    def with_tag(self, tag: str | None) -> Reference:
        """The same with another tag, or with none; a digest stays. Raises InvalidReference."""
        if tag is not None:
            _check_tag(tag, 0, len(tag))
        return replace(self, tag=tag)

    def with_digest(self, digest: Digest | None) -> Reference:
        """The same with another digest, or with none; a tag stays."""
        return replace(self, digest=digest)

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.repository + self._suffix


def _is_host(first: str) -> bool:
    """Is the part before the first slash a host, or the first component of a path at Docker Hub?"""
    return first == "localhost" or any(c in first for c in ".:") or first != first.lower()


def _refuse_other_names(text: str) -> None:
    before, _, after = text.rpartition("@")
    if ":" in before and "/" in after:  # no digest: USER:PASSWORD@HOST/PATH, of which the first part is not to be shown
        raise InvalidReference("a reference holds no user name and password", f"…@{after}", (0, 1))
    scheme = text.find("://")
    if scheme >= 0:
        _refuse("a reference has no scheme", text, 0, scheme + 3)
    if not text:
        _refuse("it is empty", text, 0, 1)


def _check_domain(text: str, domain: str) -> None:
    """Check `HOST[:PORT]`, with which `text` begins."""
    if len(domain) > MAX_HOST:
        _refuse(f"a host has at most {MAX_HOST} characters", text, 0, len(domain))
    if domain.startswith("["):
        host, bracket, port = domain.partition("]")
        host += bracket
        if not _IPV6.fullmatch(host):
            _refuse("expected an IPv6 address in brackets, without a zone", text, 0, len(host))
        if port and not port.startswith(":"):
            _refuse("expected : or / after the host", text, len(host), len(port))
        colon, port = port[:1], port[1:]
    else:
        host, colon, port = domain.partition(":")
        if ":" in port:
            _refuse("an IPv6 address stands in brackets, and there is one port", text, 0, len(domain))
        start = 0
        for label in host.split("."):
            _check_label(text, start, label)
            start += len(label) + 1
    if colon and not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        _refuse("a port is a number up to 65535", text, len(host) + 1, len(port))


def _check_label(text: str, start: int, label: str) -> None:
    """Check what stands between the dots of a host name."""
    if _LABEL.fullmatch(label):
        return
    if not label:
        _refuse("a part of the host is empty", text, start, 1)
    _refuse_character(text, start, label, r"[^A-Za-z0-9-]", "a host")
    _refuse("a part of a host begins and ends with a letter or digit", text, start, len(label))


def _read_object(text: str, start: int) -> tuple[str, str | None, Digest | None]:
    """Read `PATH[:TAG][@DIGEST]`, which begins at `start` of `text`."""
    named, at, _ = text[start:].partition("@")
    path, colon, tag = named.partition(":")
    _check_length(text, start, path, MAX_PATH)
    place = start
    for component in path.split("/"):
        _check_component(text, place, component)
        place += len(component) + 1
    end = start + len(named)
    if colon:
        _check_tag(text, place, end)
    return path, tag if colon else None, _read_digest(text, end + 1) if at else None


def _check_length(text: str, start: int, path: str, most: int) -> None:
    if len(path) > most:
        _refuse(f"a repository has at most {MAX_PATH} characters", text, start + most, len(path) - most)


def _check_component(text: str, start: int, component: str) -> None:
    """Check what stands between the slashes of a path."""
    if _COMPONENT.fullmatch(component):
        return
    if not component:
        _refuse("a component of the path is empty", text, start, 1)
    _refuse_character(text, start, component, r"[A-Z]", "a repository", what="uppercase")
    _refuse_character(text, start, component, r"[^a-z0-9._-]", "a repository")
    edge = re.search(r"^[._-]+|[._-]+$", component)
    if edge:
        _refuse("a component begins and ends with a letter or digit", text, start + edge.start(), len(edge[0]))
    wrong = next(run for run in re.finditer(r"[._-]+", component) if not re.fullmatch(r"\.|__?|-+", run[0]))
    _refuse(
        "between letters stands one dot, one or two underscores, or dashes", text, start + wrong.start(), len(wrong[0])
    )


def _check_tag(text: str, start: int, end: int) -> None:
    tag = text[start:end]
    if _TAG.fullmatch(tag):
        return
    if not tag:
        _refuse("the tag is empty", text, start, 1)
    _refuse_character(text, start, tag, r"[^A-Za-z0-9_.-]", "a tag")
    if len(tag) > MAX_TAG:
        _refuse(f"a tag has at most {MAX_TAG} characters", text, start + MAX_TAG, len(tag) - MAX_TAG)
    _refuse("a tag begins with a letter, digit or underscore", text, start, 1)


def _read_digest(text: str, start: int) -> Digest:
    try:
        return Digest.parse(text[start:])
    except InvalidReference as error:
        first, last = error.span
        raise InvalidReference(error.reason, text, (start + first, start + max(last, first + 1))) from None


def _refuse_character(
    text: str, start: int, part: str, pattern: str, where: str, *, what: str = "this character"
) -> None:
    found = re.search(pattern, part)
    if found:
        _refuse(f"{what} is not allowed in {where}", text, start + found.start(), 1)


def _refuse(reason: str, text: str, start: int, length: int) -> NoReturn:
    raise InvalidReference(reason, text, (start, start + max(length, 1)))
