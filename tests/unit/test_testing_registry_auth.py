"""The test registry's doors: Basic, tokens from its own or another server, TLS and client certificates."""

from __future__ import annotations

import base64
import socket
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import pytest
import trustme

from support.raw_http import Answer, Client, digest
from tranship.testing.registry import TLS, Basic, RegistryServer, Token, TokenServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USERS = {"alice": "secret: word", "bob": "other"}
BLOB = b"some layer"


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


ALICE = basic("alice", USERS["alice"])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def get_token(client: Client, scope: str = "", headers: dict[str, str] | None = None, **extra: str) -> Answer:
    query = urlencode({"service": "registry.test", **({"scope": scope} if scope else {}), **extra})
    return client.ask("GET", f"/token?{query}", headers=headers)


def post_token(client: Client, **form: str) -> Answer:
    fields = {"service": "registry.test", "client_id": "test", **form}
    return client.ask("POST", "/token", urlencode(fields), {"Content-Type": "application/x-www-form-urlencoded"})


@pytest.fixture
def auth() -> Token:
    return Token(USERS, anonymous={"pull"})


@pytest.fixture
def registry(auth: Token) -> Iterator[RegistryServer]:
    with RegistryServer(auth=auth) as server:
        yield server


@pytest.fixture
def client(registry: RegistryServer) -> Iterator[Client]:
    with Client(registry.port) as made:
        yield made


def test_basic_lets_in_who_knows_a_password() -> None:
    with RegistryServer(auth=Basic(USERS)) as registry, Client(registry.port) as client:
        refused = client.ask("GET", "/v2/")
        assert (refused.status, refused.codes) == (401, ["UNAUTHORIZED"])
        assert refused["WWW-Authenticate"] == 'Basic realm="tranship test registry"'
        for headers in (basic("alice", "wrong"), basic("nobody", ""), {"Authorization": "Basic ???"}, bearer("x")):
            assert client.ask("GET", "/v2/", headers=headers).status == 401
        assert client.ask("GET", "/v2/", headers=ALICE).status == 200
        assert "secret" not in repr(registry.auth)


def test_a_challenge_says_where_to_ask_and_for_what(registry: RegistryServer, client: Client) -> None:
    def challenge(method: str, target: str) -> str | None:
        answer = client.ask(method, target)
        assert answer.status == 401
        return answer["WWW-Authenticate"]

    realm = f'Bearer realm="{registry.url}/token",service="registry.test"'
    name = digest(BLOB)
    assert challenge("GET", "/v2/") == realm
    assert challenge("GET", "/v2/a/b/tags/list") == f'{realm},scope="repository:a/b:pull"'
    assert challenge("POST", "/v2/a/b/blobs/uploads/") == f'{realm},scope="repository:a/b:pull,push"'
    assert challenge("DELETE", f"/v2/a/b/blobs/{name}") == f'{realm},scope="repository:a/b:delete"'
    assert challenge("GET", "/v2/_catalog") == f'{realm},scope="registry:catalog:*"'
    mount = f"/v2/a/b/blobs/uploads/?mount={name}&from=c/d"
    assert challenge("POST", mount) == f'{realm},scope="repository:a/b:pull,push repository:c/d:pull"'


def test_a_token_lets_in_to_what_it_was_asked_for(registry: RegistryServer, client: Client) -> None:
    answer = get_token(client, "repository:a/b:pull,push", ALICE)
    token = answer.json()["token"]
    assert answer.json()["access_token"] == token
    assert answer.json()["expires_in"] == 300
    assert client.ask("POST", "/v2/a/b/blobs/uploads/", headers=bearer(token)).status == 202
    for method, target in (("POST", "/v2/a/other/blobs/uploads/"), ("DELETE", f"/v2/a/b/blobs/{digest(BLOB)}")):
        refused = client.ask(method, target, headers=bearer(token))
        assert (refused.status, 'error="insufficient_scope"' in str(refused["WWW-Authenticate"])) == (401, True)


def test_several_scopes_come_repeated_or_in_one(registry: RegistryServer, client: Client) -> None:
    registry.put_blob("c/d", BLOB)
    mount = f"/v2/a/b/blobs/uploads/?mount={digest(BLOB)}&from=c/d"
    scopes = ("repository:a/b:pull,push", "repository:c/d:pull")
    for query in ("&".join(f"scope={quote(s)}" for s in scopes), f"scope={quote(' '.join(scopes))}"):
        answer = client.ask("GET", f"/token?service=registry.test&{query}", headers=ALICE)
        assert client.ask("POST", mount, headers=bearer(answer.json()["token"])).status == 201


def test_anonymous_clients_get_what_they_may(registry: RegistryServer, client: Client) -> None:
    registry.put_blob("a/b", BLOB)
    token = get_token(client, "repository:a/b:pull,push").json()["token"]
    assert client.ask("GET", f"/v2/a/b/blobs/{digest(BLOB)}", headers=bearer(token)).body == BLOB
    assert client.ask("POST", "/v2/a/b/blobs/uploads/", headers=bearer(token)).status == 401


def test_anonymous_clients_get_no_token_where_they_may_do_nothing() -> None:
    with RegistryServer(auth=Token(USERS)) as registry, Client(registry.port) as client:
        assert get_token(client, "repository:a/b:pull").status == 401


def test_permissions_are_by_user_and_repository() -> None:
    def permissions(user: str | None, repository: str) -> set[str]:
        return {"pull", "push"} if user == repository.partition("/")[0] else {"pull"}

    with RegistryServer(auth=Token(USERS, permissions=permissions)) as registry, Client(registry.port) as client:
        for repository, status in (("alice/app", 202), ("bob/app", 401)):
            token = get_token(client, f"repository:{repository}:pull,push", ALICE).json()["token"]
            assert client.ask("POST", f"/v2/{repository}/blobs/uploads/", headers=bearer(token)).status == status


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("service=registry.test", basic("alice", "wrong"), 401),
        ("service=registry.test", basic("nobody", ""), 401),
        ("service=other", ALICE, 400),
        ("", ALICE, 400),
        ("service=registry.test&scope=repository:a", ALICE, 400),
    ],
)
def test_a_bad_token_request_is_refused(client: Client, query: str, headers: dict[str, str], status: int) -> None:
    assert client.ask("GET", f"/token?{query}", headers=headers).status == status


def test_a_password_is_posted_and_a_refresh_token_serves_afterwards(registry: RegistryServer, client: Client) -> None:
    scope = "repository:a/b:pull,push"
    answer = post_token(
        client, grant_type="password", username="alice", password=USERS["alice"], scope=scope, access_type="offline"
    )
    assert set(answer.json()) == {"access_token", "refresh_token", "expires_in", "issued_at"}
    again = post_token(client, grant_type="refresh_token", refresh_token=answer.json()["refresh_token"], scope=scope)
    token = again.json()["access_token"]
    assert client.ask("POST", "/v2/a/b/blobs/uploads/", headers=bearer(token)).status == 202
    assert registry.requests[0].form["password"] == USERS["alice"]
    assert "secret" not in repr(registry.requests)


def test_a_get_may_ask_for_a_refresh_token_too(client: Client) -> None:
    refresh = get_token(client, headers=ALICE, offline_token="true").json()["refresh_token"]
    assert post_token(client, grant_type="refresh_token", refresh_token=refresh).status == 200
    assert "refresh_token" not in get_token(client, headers=ALICE).json()
    assert "refresh_token" not in get_token(client, offline_token="true").json()  # nobody's


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"grant_type": "password", "username": "alice", "password": "wrong"}, 401),
        ({"grant_type": "refresh_token", "refresh_token": "junk"}, 401),
        ({"grant_type": "device"}, 400),
        ({"grant_type": "password", "username": "bob", "password": "other", "client_id": ""}, 400),
        ({"grant_type": "password", "username": "bob", "password": "other", "service": "other"}, 400),
    ],
)
def test_a_bad_post_is_refused(client: Client, form: dict[str, str], status: int) -> None:
    assert post_token(client, **form).status == status


def test_a_token_request_that_is_no_form_is_refused(client: Client) -> None:
    assert client.ask("POST", "/token", "{}", {"Content-Type": "application/json"}).status == 400


def test_an_old_token_server_knows_no_post() -> None:
    with RegistryServer(auth=Token(USERS, oauth=False)) as registry, Client(registry.port) as client:
        assert post_token(client, grant_type="password", username="bob", password="other").status == 404
        assert get_token(client, headers=ALICE).status == 200


def test_tokens_end_and_are_called_invalid(auth: Token, client: Client) -> None:
    token = get_token(client, headers=ALICE).json()["token"]
    assert client.ask("GET", "/v2/", headers=bearer(token)).status == 200
    auth.expire()
    refused = client.ask("GET", "/v2/", headers=bearer(token))
    assert (refused.status, 'error="invalid_token"' in str(refused["WWW-Authenticate"])) == (401, True)
    assert auth.issued == 1


def test_a_token_of_no_duration_is_void_at_once() -> None:
    with RegistryServer(auth=Token(USERS, expires_in=0)) as registry, Client(registry.port) as client:
        token = get_token(client, headers=ALICE).json()["token"]
        assert client.ask("GET", "/v2/", headers=bearer(token)).status == 401


def test_a_token_may_promise_no_duration() -> None:
    with RegistryServer(auth=Token(USERS, expires_in=None)) as registry, Client(registry.port) as client:
        answer = get_token(client, headers=ALICE).json()
        assert "expires_in" not in answer
        assert client.ask("GET", "/v2/", headers=bearer(answer["token"])).status == 200


def test_tokens_may_come_from_another_server() -> None:
    with TokenServer(Token(USERS)) as tokens, RegistryServer(auth=tokens) as registry:
        with Client(registry.port) as client, Client(tokens.port) as asking:
            assert f'realm="{tokens.url}/token"' in str(client.ask("GET", "/v2/")["WWW-Authenticate"])
            token = get_token(asking, headers=ALICE).json()["token"]
            assert client.ask("GET", "/v2/", headers=bearer(token)).status == 200
            assert client.ask("GET", "/token").status == 404
            assert asking.ask("GET", "/v2/").status == 404
            tokens.expire()
            assert client.ask("GET", "/v2/", headers=bearer(token)).status == 401
        assert (tokens.count("token"), registry.count("token")) == (1, 1)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """PEM files as a user would have them."""
    folder = tmp_path_factory.mktemp("pem")
    server = ca.issue_cert("127.0.0.1", "localhost")
    paths = {name: folder / f"{name}.pem" for name in ("ca", "certificate", "key")}
    ca.cert_pem.write_to_path(str(paths["ca"]))
    for blob in server.cert_chain_pems:
        blob.write_to_path(str(paths["certificate"]), append=True)
    server.private_key_pem.write_to_path(str(paths["key"]))
    return paths


def test_tls_serves_who_trusts_its_authority(ca: trustme.CA, files: dict[str, Path]) -> None:
    trusting, doubting = ssl.create_default_context(), ssl.create_default_context()
    ca.configure_trust(trusting)
    with RegistryServer(tls=TLS(files["certificate"], files["key"])) as registry:
        assert registry.url == f"https://{registry.host}"
        with Client(registry.port, trusting) as client:
            name = client.push_blob("a/b", bytes(3_000_000))
            assert client.ask("GET", f"/v2/a/b/blobs/{name}").body == bytes(3_000_000)
        with Client(registry.port, doubting) as client, pytest.raises(ssl.SSLCertVerificationError):
            client.ask("GET", "/v2/")
        with Client(registry.port) as client, pytest.raises(OSError):  # plain http
            client.ask("GET", "/v2/")
    assert len(registry.handshake_failures) == 2


def test_a_client_that_never_shakes_hands_does_not_hold_the_server(files: dict[str, Path]) -> None:
    registry = RegistryServer(tls=TLS(files["certificate"], files["key"])).start()
    with socket.create_connection(("127.0.0.1", registry.port)) as idle:
        while not registry.connections:
            time.sleep(0.001)
        registry.stop()
        assert idle.recv(1) == b""


def test_elsewhere_speaks_tls_too_and_its_plain_twin_does_not(ca: trustme.CA, files: dict[str, Path]) -> None:
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    with RegistryServer(tls=TLS(files["certificate"], files["key"])) as registry:
        name = registry.put_blob("a/b", BLOB)
        for form, other, context in (
            ("elsewhere", registry.elsewhere, trusting),
            ("plain", registry.elsewhere_plain, None),
        ):
            with registry.fault("redirect", to=form), Client(registry.port, trusting) as client:
                assert client.ask("GET", f"/v2/a/b/blobs/{name}")["Location"] == f"{other.url}/v2/a/b/blobs/{name}"
            with Client(other.port, context) as client:
                assert client.ask("GET", f"/v2/a/b/blobs/{name}").body == BLOB
        assert registry.elsewhere_plain.url.startswith("http://")


def test_token_requests_can_be_redirected_too() -> None:
    with RegistryServer(auth=Token(USERS)) as registry, Client(registry.port) as client:
        registry.fault("redirect", kind="token")
        answer = get_token(client, headers=ALICE)
        assert (answer.status, str(answer["Location"]).partition("?")[0]) == (307, f"{registry.elsewhere.url}/token")


def test_client_certificates_are_demanded_and_recorded(ca: trustme.CA, files: dict[str, Path]) -> None:
    with_one, without = ssl.create_default_context(), ssl.create_default_context()
    ca.issue_cert("client.test", common_name="client").configure_cert(with_one)
    for context in (with_one, without):
        ca.configure_trust(context)
    with RegistryServer(tls=TLS(files["certificate"], files["key"], client_ca=files["ca"])) as registry:
        with Client(registry.port, with_one) as client:
            assert client.ask("GET", "/v2/").status == 200
        certificate = registry.requests[0].certificate
        assert certificate is not None
        assert (("commonName", "client"),) in certificate["subject"]
        with Client(registry.port, without) as client, pytest.raises(OSError):
            client.ask("GET", "/v2/")
    assert registry.count() == 1


def test_a_folder_is_served_over_tls(ca: trustme.CA, files: dict[str, Path], tmp_path: Path) -> None:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    with RegistryServer(tmp_path, tls=TLS(files["certificate"], files["key"])) as registry:
        name = registry.put_blob("a/b", BLOB * 200_000)
        with Client(registry.port, context) as client:
            assert client.ask("GET", f"/v2/a/b/blobs/{name}").body == BLOB * 200_000
