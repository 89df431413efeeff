"""Whatever a registry writes into its headers and bodies: an answer or one of our errors, never a crash, never another host."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from tranship.errors import TranshipError, printable
from tranship.formats import challenge, distribution, pages, refusals, scopes, token_flow
from tranship.formats.messages import Headers, Origin, Response, join, redacted, retry_after, split
from tranship.formats.realm import RealmRules
from tranship.model.secret import Credential, Secret

HEADER = st.text(st.characters(codec="latin-1"), max_size=300)
SCRAPS = st.lists(
    st.sampled_from(['"', "\\", "=", ",", " ", "Bearer", "Basic", "realm", "https://a.b/", "scope", "x", ";", "<", ">", "/", "\t"]),
    max_size=40,
).map("".join)  # fmt: skip
TEXT = HEADER | SCRAPS


def plain(text: str) -> bool:
    return printable(text, len(text) + 1) == text


@given(st.lists(TEXT, max_size=4))
@example(['Bearer realm="\\'])
def test_any_challenge_is_read(headers: list[str]) -> None:
    for found in challenge.parse(headers):
        assert found.scheme == found.scheme.lower() != ""
        assert all(name == name.lower() for name in found.parameters)


@given(
    st.text(st.characters(min_codepoint=32, max_codepoint=126)),
    st.text(st.characters(min_codepoint=32, max_codepoint=126)),
)
def test_a_quoted_realm_comes_back_as_it_was(realm: str, service: str) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    found = challenge.parse([f"Bearer realm={quoted(realm)},service={quoted(service)}"])
    assert dict(found[0].parameters) == {"realm": realm, "service": service}


@given(TEXT | st.text(max_size=100))
@example("http://[")
@example("//[::1")
@example("https://a:\u0663/")
@example("\\\\evil\\x")
def test_any_location_leads_to_http_or_is_refused(location: str) -> None:
    try:
        url = join("https://reg.example/v2/x", location, "it leads")
    except TranshipError as error:
        message = str(error)
    else:
        message = ""
    assert plain(message)
    if message:
        return
    parts = split(url)
    assert parts.scheme == "https"
    assert "#" not in url
    assert Origin.of(url).host == parts.hostname.rstrip(".")  # type: ignore[union-attr]


@given(TEXT)
def test_a_password_reaches_no_host_that_the_rules_forbid(header: str) -> None:
    rules = RealmRules(Origin("https", "reg.example", 443))
    flow = token_flow.authorize(
        challenge.parse([header]), Credential(username="a", password=Secret("b")), frozenset(), rules, now=0.0
    )
    try:
        request = next(flow)
    except (TranshipError, StopIteration):
        return
    assert rules.check(request.url).scheme == "https"


@given(st.binary(max_size=200), st.integers(100, 599), st.lists(st.tuples(TEXT, TEXT), max_size=5))
def test_any_response_becomes_an_error_with_one_printable_line(
    body: bytes, status: int, headers: list[tuple[str, str]]
) -> None:
    request = distribution.Repository("https://reg.example/v2", "a").get_manifest("1")
    found = refusals.refusal(request, Response(status=status, url=request.url, headers=Headers(headers), body=body))
    assert plain(str(found))
    refusals.missing_blobs(Response(status=status, url=request.url, body=body))


@given(TEXT)
def test_headers_of_any_kind_are_read(value: str) -> None:
    names = [
        "link",
        "warning",
        "content-range",
        "content-length",
        "docker-content-digest",
        "ratelimit-limit",
        "content-type",
    ]
    headers = Headers([(name, value) for name in names])
    pages.next_link(headers)
    assert all(plain(text) for text in distribution.warnings(headers))
    distribution.claims(headers)
    distribution.rate_limit(headers)
    found = distribution.content_range(value)
    assert found is None or found[0] <= found[1]
    seconds = retry_after(value, 1e9)
    assert seconds is None or seconds >= 0
    scopes.spell(scopes.parse(value))


@given(st.text(max_size=100).filter(lambda text: not set("/?#") & set(text)))
def test_what_is_shown_of_a_url_holds_no_secret_and_is_printable(text: str) -> None:
    assert redacted(f"https://user:{text}@host/path?token={text}") == "https://host/path?…"
    assert plain(redacted(f"https://host/{text}"))


@given(st.sets(st.tuples(st.sampled_from(["repository", "registry"]), st.from_regex(r"[a-z]+(/[a-z]+)?", fullmatch=True), st.sampled_from(["pull", "push", "*"]))))  # fmt: skip
def test_scopes_are_spelled_as_they_are_read(wanted: set[tuple[str, str, str]]) -> None:
    found = frozenset(scopes.Scope(*item) for item in wanted)
    assert scopes.parse(" ".join(scopes.spell(found))) == found
