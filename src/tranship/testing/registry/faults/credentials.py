"""Faults of authentication: challenges and tokens that a careful client does not follow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from tranship.testing.registry.faults.kinds import EVERYTHING, Strike, fault
from tranship.testing.registry.messages import Body, Headers, Response

if TYPE_CHECKING:
    from collections.abc import Callable

ChallengeForm = Literal[
    "junk",
    "unclosed",
    "huge",
    "quotes",
    "crlf",
    "unknown",
    "none",
    "many",
    "no-realm",
    "elsewhere",
    "plain",
    "link-local",
    "private",
    "file",
    "userinfo",
]
TokenForm = Literal[
    "crlf", "control", "spaces", "huge", "huge-body", "no-expiry", "expired", "absurd-expiry", "none", "number", "html"
]


@fault("unauthorized", aim=EVERYTHING)
def unauthorized(strike: Strike, *, code: int = 401) -> Response | None:
    """Every request is answered 401 with a good challenge, whatever credentials it carries."""
    response = Response(code, Headers([("WWW-Authenticate", f'Basic realm="{strike.request.origin}"')]))
    if strike.server.auth is not None:
        response.headers.set("WWW-Authenticate", strike.server.auth.challenge(strike.request.origin))
    return response


@fault("expire-tokens", aim=EVERYTHING, times=1)
def expire_tokens(strike: Strike) -> Response | None:
    """Every token issued so far is void from this request on."""
    if strike.server.auth is None:
        return None
    strike.server.auth.expire()
    return strike.proceed()


@fault("challenge", aim=EVERYTHING)
def challenge(strike: Strike, *, form: ChallengeForm = "elsewhere", realm: str | None = None) -> Response | None:
    """A request without (good) credentials is answered with a bad challenge: no challenge at all (`"junk"`, `"unclosed"`), too
    much of one (`"huge"`, `"quotes"`, `"many"`), a header injected by `"crlf"`, `"unknown"` schemes, `"none"`,
    `"no-realm"`, or a realm that credentials must not go to: `"elsewhere"` (another port, which records what comes), there
    `"plain"` (http), `"link-local"`, `"private"`, `"file"`, `"userinfo"`; or the `realm` given.
    """
    if strike.server.auth is not None and strike.proceed().status != 401:
        return None
    if realm is not None:
        value = f'Bearer realm="{realm}",service="registry.test"'
    elif form in _REALMS:
        value = f'Bearer realm="{_REALMS[form](strike)}",service="registry.test"'
    else:
        value = _CHALLENGES[form]
    response = Response(401)
    if form == "many":
        response.headers.pairs += [("WWW-Authenticate", f'X-{n} a="b"') for n in range(2000)]
    elif form != "none":
        response.headers.set("WWW-Authenticate", value)
    return response


@fault("token", aim=("token",))
def token(strike: Strike, *, form: TokenForm = "crlf") -> Response | None:
    """The token server's answer is bad: a token with `"crlf"`, `"control"` characters or `"spaces"`, a `"huge"` one (1 MiB), a
    `"huge-body"` (16 MiB around a good one), `"no-expiry"`, one already `"expired"` (0 seconds), an `"absurd-expiry"`,
    `"none"`, a `"number"`, or `"html"`.
    """
    response = strike.proceed()
    if response.status != 200:
        return None
    if form == "html":
        return Response(200, Headers([("Content-Type", "text/html")]), Body.of(b"<html>please log in</html>"))
    value = json.loads(b"".join(response.body.chunks()))
    _TOKENS[form](value)
    raw = json.dumps(value).encode()
    return Response(200, Headers([("Content-Type", "application/json")]), Body.of(raw))


_CHALLENGES: dict[str, str] = {
    "junk": '\x01=,;"""Bearer,,=realm',
    "unclosed": 'Bearer realm="https://registry.test/token',
    "huge": 'Bearer realm="https://registry.test/' + "x" * 40_000 + '"',
    "quotes": "Bearer " + '\\"' * 10_000,
    "crlf": 'Bearer realm="https://registry.test/token\r\nX-Injected: 1\r\nSet-Cookie: a=b',
    "unknown": 'Negotiate, Digest realm="x", nonce="y", X-Other abc==',
    "no-realm": 'Bearer service="registry.test",scope="repository:a:pull"',
    "many": "",
    "none": "",
}
_REALMS: dict[str, Callable[[Strike], str]] = {
    "elsewhere": lambda strike: f"{strike.server.elsewhere.url}/token",
    "plain": lambda strike: f"{strike.server.elsewhere_plain.url}/token",
    "link-local": lambda _: "http://169.254.169.254/latest/meta-data",
    "private": lambda _: "https://10.255.255.1/token",
    "file": lambda _: "file:///etc/passwd",
    "userinfo": lambda strike: f"{strike.request.origin.replace('://', '://someone:else@')}/token",
}


def _replace(value: Any) -> Callable[[dict[str, Any]], None]:
    def change(answer: dict[str, Any]) -> None:
        for key in ("token", "access_token"):
            if key in answer:
                answer[key] = value(answer[key]) if callable(value) else value

    return change


def _expires(seconds: Any) -> Callable[[dict[str, Any]], None]:
    return lambda answer: answer.update(expires_in=seconds)


def _without(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(answer: dict[str, Any]) -> None:
        for key in keys:
            answer.pop(key, None)

    return change


_TOKENS: dict[str, Callable[[dict[str, Any]], None]] = {
    "crlf": _replace(lambda token: f"{token}\r\nX-Injected: 1"),
    "control": _replace(lambda token: f"{token}\x00\x1b"),
    "spaces": _replace(lambda token: f"{token} and more"),
    "huge": _replace("x" * (1 << 20)),
    "huge-body": lambda answer: answer.update(padding="x" * (16 << 20)),
    "no-expiry": _without("expires_in", "issued_at"),
    "expired": _expires(0),
    "absurd-expiry": _expires(10**30),
    "none": _without("token", "access_token"),
    "number": _replace(17),
}
