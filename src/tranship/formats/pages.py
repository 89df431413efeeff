"""Lists that come in pages: tags, the catalog, referrers.

A page names the next one in a Link header (RFC 8288). The next page must be at the same host and must not have been read
before, and there is an end to how many are read. Link came with version 1.1 of the specification, and is no duty of tags there
either: behind a full page of names that has none, what follows its last name is asked for.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from tranship.errors import InvalidArgument, PolicyRefused, Unavailable, printable
from tranship.formats.distribution import Repository, expect
from tranship.formats.messages import Flow, Headers, Origin, Request, Response, join, redacted
from tranship.formats.refusals import registry_name
from tranship.model import strict_json

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

T = TypeVar("T")
MAX_ITEMS = 1_000_000  # of one list
MAX_BYTES = 64 << 20  # of all its pages
_FULL = 1000  # names on the pages that are asked for
_FEW_PAGES = 100  # that a list may have whatever is on them; more must bring at least two new items each
_MAX_LINK = 16 * 1024  # characters of the Link headers that are read
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/:+-]{0,254}")  # of a repository or a tag, as old registries may have them
_LINK = re.compile(r"<([^<>]*+)>([^<>]*+)")


def tags(repository: Repository) -> Flow[list[str]]:
    """All tags of a repository, in the registry's order."""
    return _names(repository.tags(_FULL), "tags")


def catalog(repository: Repository) -> Flow[list[str]]:
    """All repositories that the registry lists."""
    return _names(repository.catalog(_FULL), "repositories")


def _names(first: Request, key: str) -> Flow[list[str]]:
    return all_pages(
        first,
        lambda request, response: names(request, response, key),
        behind=lambda page: f"{first.url}&{urlencode({'last': page[-1]})}" if len(page) == _FULL else None,
    )


def all_pages(
    first: Request,
    read: Callable[[Request, Response], Sequence[T]],
    answer: Response | None = None,
    key: Callable[[T], Hashable] = lambda item: item,
    behind: Callable[[Sequence[T]], str | None] = lambda _page: None,
) -> Flow[list[T]]:
    """Read page after page, each with `read`; an item of a `key` that came before is left out.

    `answer` is the first page, where the caller has it already; `behind` gives the URL of what follows a page that names no
    next one and brought something new.
    """
    found: dict[Hashable, T] = {}
    seen = {first.url}
    request = first
    response = answer if answer is not None else (yield first)
    size = 0
    while True:
        size += len(response.body)
        before, page = len(found), read(request, response)
        for item in page:
            found.setdefault(key(item), item)
        if len(found) > MAX_ITEMS or size > MAX_BYTES or len(seen) > _FEW_PAGES + len(found) // 2:
            raise Unavailable(f"registry {registry_name(first)} gives {first.about} without end; gave up")
        url = _next(request, response, seen) or (behind(page) if len(found) > before else None)
        if url is None or url in seen:
            return list(found.values())
        seen.add(url)
        request = replace(request, url=url)
        response = yield request


def next_link(headers: Headers) -> str | None:
    """The target of `rel="next"`, as it stands."""
    for value in headers.all("link"):
        for target, parameters in _LINK.findall(value[:_MAX_LINK]):
            for parameter in parameters.strip(" ,").split(";"):
                name, _, relations = parameter.partition("=")
                if name.strip().lower() == "rel" and "next" in relations.strip(' "').lower().split():
                    return str(target)
    return None


def _next(request: Request, response: Response, seen: set[str]) -> str | None:
    target = next_link(response.headers)
    if not target:
        return None
    what = f"registry {registry_name(request)} leads the next page of {request.about}"
    url = join(response.url, target, what)
    asked, answered = Origin.of(request.url), Origin.of(response.url)
    same = (asked, answered) if answered[1:] == asked[1:] else (asked,)  # where there is no TLS, http answers for https
    if Origin.of(url) not in same:
        raise PolicyRefused(f"{what} to another host, {redacted(url)}")
    if url in seen:
        raise Unavailable(f"{what} back to a page that was read before")
    return url


def names(request: Request, response: Response, key: str) -> Sequence[str]:
    """The names on one page of a list, under the `key` of its document ("tags", "repositories").

    They become parts of URLs, of paths, and lines on a terminal: what no registry's name looks like is refused.
    """
    expect(request, response, 200)
    what = f"{request.about} at registry {registry_name(request)}"
    try:
        value: Any = strict_json.loads(response.body, what, strict_json.room(response.body))
    except InvalidArgument as error:
        raise Unavailable(str(error)) from None
    names = value.get(key, ()) if isinstance(value, dict) else value
    if names is None:  # Go writes null for an empty list
        return ()
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise Unavailable(f"{what}: {key} must be a list of strings, found {printable(repr(names))}")
    for name in names:
        if not _NAME.fullmatch(name) or ".." in name.split("/"):
            raise Unavailable(f"{what}: {printable(repr(name))} is no name")
    return names
