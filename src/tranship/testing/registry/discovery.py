"""Finding out what is there: the version check, the catalog, tags, and referrers, page by page ("Content Discovery")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tranship.model import mediatypes
from tranship.testing.registry.messages import Refusal, Response, json_response

if TYPE_CHECKING:
    from tranship.testing.registry.protocol import Call


def ping(call: Call) -> Response:  # noqa: ARG001  # every handler takes one
    """`GET /v2/`: the registry speaks this protocol, and the credentials are good."""
    return json_response(200, {})


def catalog(call: Call) -> Response:
    """All repositories' names; not in the specification, and in every registry."""
    names, link = _page(call, sorted(call.state.repositories))
    response = json_response(200, {"repositories": names})
    _add_link(response, link)
    return response


def tags(call: Call) -> Response:
    """A repository's tags, in ASCII order."""
    held = call.state.repository(call.name)
    if held is None:
        raise Refusal(404, "NAME_UNKNOWN", f"no repository {call.name}", detail={"name": call.name})
    names, link = _page(call, sorted(held.tags))
    response = json_response(200, {"name": call.name, "tags": names})
    _add_link(response, link)
    return response


def referrers(call: Call) -> Response:
    """An index of the manifests whose subject is this digest, in the order of their arrival."""
    if not call.options.referrers:
        raise Refusal(404, "UNSUPPORTED", "this registry has no referrers API")
    digest, held = call.digest(), call.state.repository(call.name)
    wanted = call.request.query.get("artifactType")
    found: list[dict[str, Any]] = []
    for key, stored in held.manifests.items() if held is not None else ():
        if stored.subject != digest or wanted not in (None, stored.artifact_type):
            continue
        item: dict[str, Any] = {"mediaType": stored.media_type, "digest": key, "size": stored.size}
        if stored.artifact_type is not None:
            item["artifactType"] = stored.artifact_type
        if stored.annotations:
            item["annotations"] = dict(stored.annotations)
        found.append(item)
    page, link = _page(call, [item["digest"] for item in found], ordered=False)
    value = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_INDEX,
        "manifests": [item for item in found if item["digest"] in page],
    }
    response = json_response(200, value, media_type=mediatypes.OCI_INDEX)
    if wanted is not None:
        response.headers.set("OCI-Filters-Applied", "artifactType")
    _add_link(response, link)
    return response


def _page(call: Call, names: list[str], *, ordered: bool = True) -> tuple[list[str], str | None]:
    """The page that `n` and `last` ask for, and the target of the next one; never more than the registry's own page size."""
    query, linked = call.request.query, call.options.links or not ordered
    limit = call.options.page_size if linked else len(names)
    if "n" in query:
        if not query["n"].isascii() or not query["n"].isdigit():
            raise Refusal(400, "PAGINATION_NUMBER_INVALID", "n must be a number", detail={"n": query["n"]})
        limit = min(limit, int(query["n"]))
    last = query.get("last")
    if last is not None:
        names = [n for n in names if n > last] if ordered else names[names.index(last) + 1 if last in names else 0 :]
    page = names[:limit]
    if not page or len(page) == len(names) or not linked:
        return page, None
    rest = "".join(f"&{key}={quote(value, safe='')}" for key, value in query.items() if key not in ("n", "last"))
    return page, f"{call.request.path}?n={limit}&last={quote(page[-1], safe='')}{rest}"


def _add_link(response: Response, target: str | None) -> None:
    if target is not None:
        response.headers.set("Link", f'<{target}>; rel="next"')
