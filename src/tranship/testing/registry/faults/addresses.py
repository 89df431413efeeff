"""Faults of addresses: redirects, and the Location of an upload, in every form that they come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tranship.testing.registry.faults.kinds import Strike, fault
from tranship.testing.registry.messages import Body, Headers, Refusal, Response

if TYPE_CHECKING:
    from collections.abc import Callable

RedirectForm = Literal[
    "elsewhere", "plain", "relative", "dots", "chain", "loop", "none", "file", "link-local", "crlf", "userinfo", "junk"
]
LocationForm = Literal[
    "relative", "absolute", "last-segment", "no-scheme", "query", "elsewhere", "plain", "missing", "file", "junk"
]
_DONE = "redirected"  # in the query of a target that has been redirected already


@fault("redirect", aim=("blob.get",))
def redirect(
    strike: Strike, *, to: RedirectForm = "elsewhere", url: str | None = None, code: int = 307, hops: int = 3
) -> Response | None:
    """The answer is a redirect: `"elsewhere"` (another port, with the same content and without authentication), the same
    `"plain"` (http), `"relative"`, `"dots"` (relative, with dot segments), a `"chain"` of `hops` redirects that ends well, a
    `"loop"`, `"none"` (no Location), `"file"`, `"link-local"`, with `"crlf"`, `"userinfo"`, `"junk"`; or to the `url` given.
    """
    target, query = strike.request.target, strike.request.query
    if to == "chain":
        hop = int(query.get(_DONE, "0"))
        if hop >= hops:
            return None
        return _moved(code, f"{strike.request.path}?{_DONE}={hop + 1}")
    if to == "loop":
        return _moved(code, target)
    if _DONE in query:
        return None
    return _moved(code, url if url is not None else _REDIRECTS[to](strike, target))


@fault("location", aim=("upload",))
def location(strike: Strike, *, form: LocationForm = "absolute", url: str | None = None) -> Response | None:
    """An upload's Location is `"relative"` (as without this fault), `"absolute"`, the `"last-segment"` alone, has `"no-scheme"`
    (//host/path), carries a `"query"` that must come back (400 otherwise), lies `"elsewhere"` (another port), or there
    `"plain"` (http), is `"missing"`, a `"file"`, or `"junk"`; or is the `url` given.
    """
    request = strike.request
    opens = request.kind in ("upload.start", "upload.mount", "upload.single")
    if form == "query" and not opens and request.query.get("_state") != "a b&c=d/e+f":
        return Refusal(400, "BLOB_UPLOAD_INVALID", "the query of the Location did not come back").response()
    response = strike.proceed()
    given = response.headers.get("Location")
    if given is None or "/uploads/" not in given:
        return None
    bent = url if url is not None else _LOCATIONS[form](strike, given)
    response.headers.remove("Location")
    if bent is not None:
        response.headers.set("Location", bent)
    return response


def _moved(code: int, target: str | None) -> Response:
    headers = Headers([("Location", target)] if target is not None else [])
    return Response(code, headers, Body.of(b"moved\n"))


_REDIRECTS: dict[str, Callable[[Strike, str], str | None]] = {
    "elsewhere": lambda strike, target: strike.server.elsewhere.url + target,
    "plain": lambda strike, target: strike.server.elsewhere_plain.url + target,
    "relative": lambda _, target: f"{target.rpartition('/')[2]}?{_DONE}",
    "dots": lambda _, target: f"../blobs/./{target.rpartition('/')[2]}?{_DONE}",
    "none": lambda _strike, _target: None,
    "file": lambda _strike, _target: "file:///etc/passwd",
    "link-local": lambda _strike, _target: "http://169.254.169.254/latest/meta-data",
    "crlf": lambda strike, target: f"{strike.server.elsewhere.url}{target}\r\nX-Injected: 1",
    "userinfo": lambda strike, target: f"{strike.server.elsewhere.url.replace('://', '://someone:else@')}{target}",
    "junk": lambda _strike, _target: "http://[::1/\x7f",
}
_LOCATIONS: dict[str, Callable[[Strike, str], str | None]] = {
    "relative": lambda _, path: path,
    "absolute": lambda strike, path: strike.request.origin + path,
    "last-segment": lambda _, path: path.rpartition("/")[2],  # the POST's path ends in a slash, so it is below that
    "no-scheme": lambda strike, path: strike.request.origin.partition(":")[2] + path,
    "query": lambda _, path: f"{path}?_state=a%20b%26c%3Dd%2Fe%2Bf",
    "elsewhere": lambda strike, path: strike.server.elsewhere.url + path,
    "plain": lambda strike, path: strike.server.elsewhere_plain.url + path,
    "missing": lambda _strike, _path: None,
    "file": lambda _strike, _path: "file:///dev/null",
    "junk": lambda _strike, _path: "http://[::1/\x7f",
}
