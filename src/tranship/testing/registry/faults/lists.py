"""Faults of lists: pages that never end, that lead elsewhere, and entries that are no names."""

from __future__ import annotations

import json
from typing import Any, Literal

from tranship.testing.registry.faults.kinds import Strike, fault
from tranship.testing.registry.messages import Body, Response

_LISTS = ("tags", "catalog", "referrers")


@fault("pages-loop", aim=_LISTS)
def pages_loop(strike: Strike) -> Response | None:
    """Each page names itself as the next one."""
    return _link(strike, strike.request.target)


@fault("pages-elsewhere", aim=_LISTS)
def pages_elsewhere(strike: Strike, *, url: str | None = None) -> Response | None:
    """The next page is on another host: `elsewhere`, or the `url` given."""
    return _link(strike, url or strike.server.elsewhere.url + strike.request.target)


@fault("pages-endless", aim=_LISTS)
def pages_endless(strike: Strike) -> Response | None:
    """There is always a next page, with another address and one more name."""
    page = int(strike.request.query.get("page", "0")) + 1
    key = "repositories" if strike.request.kind == "catalog" else "tags"
    response = _link(strike, f"{strike.request.path}?page={page}")
    if response is not None and strike.request.kind != "referrers":
        _change(response, lambda value: value.update({key: [f"page-{page}"]}))
    return response


@fault("pages-relative", aim=_LISTS)
def pages_relative(strike: Strike) -> Response | None:
    """The address of the next page is relative to that of this one: only its query."""
    response = strike.proceed()
    link = response.headers.get("Link")
    if link is None:
        return None
    response.headers.set("Link", "<?" + link.partition("?")[2])
    return response


@fault("list-junk", aim=_LISTS)
def list_junk(
    strike: Strike, *, form: Literal["names", "types", "null", "not-json", "not-object", "huge"] = "names"
) -> Response | None:
    """A list with `"names"` that are none (control characters, slashes, 300 letters), entries of other `"types"`, `"null"`
    instead of a list, a body that is `"not-json"` or `"not-object"`, or a `"huge"` one (32 MiB).
    """
    response = strike.proceed()
    if response.status != 200:
        return None
    key = {"catalog": "repositories", "tags": "tags"}.get(strike.request.kind, "manifests")
    if form in ("not-json", "not-object"):
        response.body = Body.of(b"<html>" if form == "not-json" else b'["v1"]')
    elif form == "huge":
        _change(response, lambda value: value.update({key: ["x" * 1000] * 32_000}))
    else:
        junk: dict[str, Any] = {
            "names": ["\x1b[2Jgone", "a/b", "../..", "x" * 300, "caf\xe9", "v1\r\nv2", ""],
            "types": [1, None, {"name": "v1"}, ["v1"], True],
            "null": None,
        }
        _change(response, lambda value: value.update({key: junk[form]}))
    return response


@fault("filter-ignored", aim=("referrers",))
def filter_ignored(strike: Strike) -> Response | None:
    """Referrers are not filtered, and OCI-Filters-Applied is absent, as the specification allows."""
    target = strike.request.target
    if "artifactType" not in strike.request.query:
        return None
    strike.request.exchange.target = strike.request.path
    try:
        response = strike.proceed()
    finally:
        strike.request.exchange.target = target
    return response


def _link(strike: Strike, target: str) -> Response | None:
    response = strike.proceed()
    if response.status != 200:
        return None
    response.headers.set("Link", f'<{target}>; rel="next"')
    return response


def _change(response: Response, change: Any) -> None:
    value = json.loads(b"".join(response.body.chunks()))
    change(value)
    response.body = Body.of(json.dumps(value).encode())
