"""From a 401 to an Authorization header, with token services that are helpful, dull, or after the password."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tranship.errors import InvalidArgument, PolicyRefused, RateLimited, Unauthenticated, Unavailable
from tranship.formats import challenge, scopes
from tranship.formats.messages import Headers, Origin, Request, Response, drive
from tranship.formats.realm import RealmRules, is_internal
from tranship.formats.token_flow import Grant, Grants, authorize
from tranship.model.secret import Credential, Secret

if TYPE_CHECKING:
    from collections.abc import Callable

REGISTRY = Origin("https", "reg.example", 443)
PASSWORD = Credential(username="alice", password=Secret("hunter2"), source="the test")
BEARER = 'Bearer realm="https://auth.example/token",service="reg",scope="repository:a:pull"'


class Service:
    """A token service: answers from a list, or by a function; remembers the requests."""

    def __init__(self, *answers: Response | Callable[[Request], Response]) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer(request) if callable(answer) else answer

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.requests[-1].url).query)

    @property
    def form(self) -> dict[str, list[str]]:
        return parse_qs((self.requests[-1].body or b"").decode())


def reply(status: int = 200, value: Any = None, **headers: str) -> Response:
    body = value if isinstance(value, bytes) else json.dumps(value or {}).encode()
    return Response(status=status, url="https://auth.example/token", headers=Headers(headers.items()), body=body)


def ask(
    service: Service,
    header: str = BEARER,
    credential: Credential | None = None,
    wanted: scopes.Scopes = frozenset(),
    rules: RealmRules | None = None,
    **options: Any,
) -> Grant:
    flow = authorize(challenge.parse([header]), credential, wanted, rules or RealmRules(REGISTRY), now=100.0, **options)
    return drive(flow, service)


def test_without_credentials_an_anonymous_token_is_asked_for() -> None:
    service = Service(reply(value={"token": "abc.def", "expires_in": 300}))
    grant = ask(service, wanted=scopes.push("a") | scopes.pull("b"))
    assert grant.header.reveal() == "Bearer abc.def"
    assert service.requests[0].method == "GET"
    assert "Authorization" not in service.requests[0].headers
    assert service.query == {"service": ["reg"], "scope": ["repository:a:pull,push", "repository:b:pull"]}


def test_a_password_goes_with_get_as_basic() -> None:
    service = Service(reply(value={"access_token": "t"}))
    assert ask(service, credential=PASSWORD).header.reveal() == "Bearer t"
    expected = "Basic " + base64.b64encode(b"alice:hunter2").decode()
    assert service.requests[0].headers["Authorization"] == expected
    assert service.query["account"] == ["alice"]


def test_the_query_of_the_realm_is_kept() -> None:
    service = Service(reply(value={"token": "t"}))
    ask(service, 'Bearer realm="https://auth.example/token?tenant=7",service="s"')
    assert service.query == {"tenant": ["7"], "service": ["s"]}


def test_an_identity_token_is_posted() -> None:
    service = Service(reply(value={"access_token": "t"}))
    ask(service, credential=Credential(identity_token=Secret("refresh-me")))
    assert service.requests[0].method == "POST"
    assert service.requests[0].url == "https://auth.example/token"
    assert service.form == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["refresh-me"],
        "service": ["reg"],
        "client_id": ["tranship"],
        "scope": ["repository:a:pull"],
    }


def test_a_refused_identity_token_gives_way_to_the_password_where_there_is_one() -> None:
    both = Credential(username="alice", password=Secret("hunter2"), identity_token=Secret("old"))
    service = Service(reply(401), reply(value={"token": "t"}))
    assert ask(service, credential=both).header.reveal() == "Bearer t"
    assert [request.method for request in service.requests] == ["POST", "GET"]
    with pytest.raises(Unauthenticated):
        ask(Service(reply(401)), credential=Credential(identity_token=Secret("old")))


def test_a_service_without_get_is_posted_the_password() -> None:
    service = Service(reply(405), reply(value={"access_token": "t"}))
    ask(service, credential=PASSWORD)
    assert service.form["grant_type"] == ["password"]
    assert service.form["password"] == ["hunter2"]


def test_basic_needs_a_password() -> None:
    grant = ask(Service(reply()), 'Basic realm="x"', PASSWORD)
    assert grant.header.reveal().startswith("Basic ")
    assert grant.covers(scopes.push("anything"), now=1e12)
    with pytest.raises(Unauthenticated, match=r"reg\.example") as caught:
        ask(Service(reply()), 'Basic realm="x"')
    assert caught.value.hint == "run `tranship login reg.example`"


def test_bearer_goes_before_basic_and_a_bearer_without_realm_is_none() -> None:
    service = Service(reply(value={"token": "t"}))
    assert ask(service, f'Basic realm="x", {BEARER}', PASSWORD).header.reveal() == "Bearer t"
    assert ask(service, 'Bearer service="x", Basic realm="x"', PASSWORD).header.reveal().startswith("Basic ")


@pytest.mark.parametrize("header", ["", "Negotiate", 'Digest realm="x"', 'Bearer service="x"', "\x1b[31m"])
def test_no_way_in_is_an_error(header: str) -> None:
    with pytest.raises(Unauthenticated, match="no way that works") as caught:
        ask(Service(reply()), header, PASSWORD)
    assert "\x1b" not in str(caught.value)


def test_a_configured_registry_token_is_sent_as_it_is() -> None:
    service = Service(reply())
    assert ask(service, credential=Credential(registry_token=Secret("given"))).header.reveal() == "Bearer given"
    assert service.requests == []


# ------------------------------------------------------------------------------------------------------------ the realm


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("https://reg.example/", "https://auth.elsewhere.com/token"),
        ("https://reg.example/", "https://reg.example:8443/token"),
        ("https://10.0.0.5:5000/", "https://10.0.0.5:5000/token"),
        ("https://10.0.0.5:5000/", "https://10.0.0.5/jwt/auth"),
        ("http://10.0.0.5:5000/", "http://10.0.0.5:5000/token"),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5001/token"),
        ("http://127.0.0.1:5000/", "http://localhost:5001/token"),
        ("http://reg.example:5000/", "http://reg.example:5000/token"),
        ("http://reg.example:5000/", "http://insecure.example:81/token"),
        ("https://localhost:5000/", "https://127.0.0.1:5001/token"),
        ("https://reg.example/", "https://[2606:4700::1111]/token"),
    ],
)
def test_realms_that_may_be_asked(registry: str, realm: str) -> None:
    rules = RealmRules(Origin.of(registry), frozenset({"insecure.example:81"}))
    assert rules.check(realm) == Origin.of(realm)


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("https://reg.example/", "http://auth.example/token"),
        ("https://reg.example/", "http://reg.example/token"),
        ("https://reg.example/", "http://insecure.example:81/token"),
        ("http://reg.example:5000/", "http://auth.example/token"),
        ("http://reg.example:5000/", "http://reg.example:5001/token"),
        ("https://reg.example/", "https://169.254.169.254/latest"),
        ("https://reg.example/", "https://10.0.0.5/token"),
        ("https://10.0.0.5/", "https://10.0.0.6/token"),
        ("https://reg.example/", "https://127.0.0.1/token"),
        ("https://reg.example/", "https://localhost/token"),
        ("https://reg.example/", "https://x.localhost/token"),
        ("https://reg.example/", "https://0.0.0.0/token"),
        ("https://reg.example/", "https://[::1]/token"),
        ("https://reg.example/", "https://[::ffff:10.0.0.1]/token"),
        ("https://reg.example/", "https://[fe80::1]/token"),
        ("https://reg.example/", "https://[fd00::1]/token"),
        ("https://reg.example/", "https://100.64.0.1/token"),
        ("https://reg.example/", "https://2130706433/token"),
        ("https://reg.example/", "https://0x7f.1/token"),
        ("https://reg.example/", "https://127.1/token"),
        ("https://reg.example/", "https://0177.0.0.1/token"),
        ("http://127.0.0.1:5000/", "http://10.0.0.5/token"),
        ("https://reg.example/", "file:///etc/passwd"),
        ("https://reg.example/", "https://user:pass@reg.example/token"),
        ("https://reg.example/", "/token"),
        ("https://reg.example/", "https://reg.example\\@evil/"),
    ],
)
def test_realms_that_may_not_be_asked_get_no_request_at_all(registry: str, realm: str) -> None:
    service = Service(reply(value={"token": "t"}))
    rules = RealmRules(Origin.of(registry), frozenset({"insecure.example:81"}))
    with pytest.raises(PolicyRefused):
        ask(service, f'Bearer realm="{realm.replace(chr(92), chr(92) * 2)}"', PASSWORD, rules=rules)
    assert service.requests == []


def test_public_names_and_addresses_are_not_internal() -> None:
    assert not [
        host for host in ("ghcr.io", "8.8.8.8", "2606:4700::1111", "a1.example", "10.example") if is_internal(host)
    ]


def test_a_redirect_of_the_token_request_is_checked_as_the_realm_was() -> None:
    elsewhere = reply(302, location="http://auth.example/token")
    service = Service(elsewhere)
    with pytest.raises(PolicyRefused):
        ask(service, credential=PASSWORD)
    service = Service(reply(302, location="https://169.254.169.254/token"))
    with pytest.raises(PolicyRefused, match="internal address"):
        ask(service, credential=PASSWORD)
    assert len(service.requests) == 1


def test_credentials_do_not_follow_a_redirect_to_another_origin() -> None:
    service = Service(reply(307, location="https://other.example/token"), reply(value={"token": "t"}))
    ask(service, credential=PASSWORD, headers={"X-Meta": "1"})
    assert dict(service.requests[1].headers) == {}
    with pytest.raises(PolicyRefused, match="redirects a password"):
        ask(
            Service(reply(307, location="https://other.example/")),
            credential=Credential(identity_token=Secret("refresh-me")),
        )


def test_credentials_follow_a_redirect_within_the_origin() -> None:
    service = Service(reply(301, location="/v2/token?x=1"), reply(value={"token": "t"}))
    ask(service, credential=PASSWORD)
    assert service.requests[1].url == "https://auth.example/v2/token?x=1"
    assert service.requests[1].headers == service.requests[0].headers


def test_redirects_end() -> None:
    service = Service(reply(302, location="/again"))
    with pytest.raises(Unavailable, match="more than 5 times"):
        ask(service)
    assert len(service.requests) == 6


def test_configured_headers_reach_the_token_service_and_secret_ones_only_at_the_same_origin() -> None:
    configured = {"X-Meta": "1", "Authorization": "Basic configured", "cookie": "c"}
    service = Service(reply(value={"token": "t"}))
    ask(service, headers=configured)
    assert dict(service.requests[0].headers) == {"X-Meta": "1"}
    ask(service, 'Bearer realm="https://reg.example/token"', headers=configured)
    assert dict(service.requests[-1].headers) == configured


# ------------------------------------------------------------------------------------------------------------ the answer


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a b", "ü", "", "=", "a\x00", '"quoted"', "a" * 40_000])
def test_a_token_that_is_none_is_not_used(token: str) -> None:
    with pytest.raises(Unavailable):
        ask(Service(reply(value={"token": token})))
    if token:
        with pytest.raises(InvalidArgument):
            ask(Service(reply()), credential=Credential(registry_token=Secret(token)))


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"token": 5}', b'{"token":"a","token":"b"}', b"\xff", b"[" * 5000, b" " * (2 << 20)]
)  # fmt: skip
def test_an_answer_without_a_token_is_an_error(body: bytes) -> None:
    with pytest.raises(Unavailable, match=r"token service https://auth.example/token of registry reg.example"):
        ask(Service(reply(value=body)))


@pytest.mark.parametrize(
    ("said", "life"),
    [
        ({"expires_in": 300}, 290),
        ({}, 50),
        ({"expires_in": 8}, 6),
        ({"expires_in": 1e30}, 86390),
        ({"expires_in": -5}, 50),
        ({"expires_in": "300"}, 50),
        ({"expires_in": True}, 50),
    ],
)
def test_a_token_lives_as_long_as_it_says_less_a_margin(said: dict[str, Any], life: float) -> None:
    assert ask(Service(reply(value={"token": "t", **said}))).until == 100 + life


def test_a_refusal_says_who_refused_what_with_which_credentials() -> None:
    body = {"errors": [{"code": "DENIED", "message": "requested access \x1b[31m is denied"}]}
    with pytest.raises(Unauthenticated) as caught:
        ask(Service(reply(403, body)), credential=PASSWORD)
    assert str(caught.value) == (
        "token service https://auth.example/token of registry reg.example answered 403 (requested access \\x1b[31m is denied)"
        " for scope repository:a:pull, with credentials from the test"
    )
    assert "hunter2" not in str(caught.value) + repr(caught.value)


def test_limits_and_failures_of_the_service_can_be_told_apart() -> None:
    with pytest.raises(RateLimited):
        ask(Service(reply(429)))
    with pytest.raises(Unavailable):
        ask(Service(reply(503)))
    with pytest.raises(InvalidArgument, match="colon"):
        ask(Service(reply()), credential=Credential(username="a:b", password=Secret("x")))


# ------------------------------------------------------------------------------------------------------------- reuse


def test_a_grant_is_reused_for_what_it_covers_until_it_runs_out() -> None:
    grants = Grants()
    grant = Grant(Secret("Bearer t"), scopes.push("a"), until=200.0)
    grants.keep(grant, 100.0)
    assert grants.find(scopes.pull("a"), 150.0) is grant
    assert grants.find(scopes.push("a") | scopes.pull("b"), 150.0) is None
    assert grants.find(scopes.pull("b"), 150.0) is None
    assert grants.find(scopes.pull("a"), 200.0) is None
    grants.forget(grant)
    assert grants.find(scopes.pull("a"), 150.0) is None


def test_a_registry_that_wants_another_scope_each_time_fills_no_memory() -> None:
    grants = Grants()
    for number in range(1000):
        grants.keep(Grant(Secret("Bearer t"), scopes.pull(f"r{number}"), until=200.0), 100.0)
    found = [number for number in range(1000) if grants.find(scopes.pull(f"r{number}"), 150.0)]
    assert found == list(range(1000 - 256, 1000))
