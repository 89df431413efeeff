"""Which challenge a request is answered by, when several are refused at once."""

from __future__ import annotations

import threading

from tranship.formats import scopes
from tranship.formats.hosts import Host
from tranship.formats.messages import Headers, Request, Response
from tranship.formats.realm import RealmRules
from tranship.http.access import Access
from tranship.http.limits import Clock

REGISTRY = Host(registry="reg.example", url="https://reg.example/v2")
NAMES = "abc"


def request(name: str) -> Request:
    return Request(method="GET", url=f"{REGISTRY.url}/{name}/tags/list", repository=name, scopes=scopes.pull(name))


def refusal(name: str) -> Response:
    """A 401 that names a token service of this repository's own."""
    value = f'Bearer realm="https://reg.example/{name}",service="reg",scope="repository:{name}:pull"'
    return Response(status=401, url=request(name).url, headers=Headers([("WWW-Authenticate", value)]))


def test_each_of_several_requests_is_answered_by_the_challenge_that_it_met() -> None:
    arrived = {name: threading.Event() for name in NAMES}
    all_there = threading.Event()
    asked: list[str] = []

    def find(_host: str, repository: str) -> None:
        arrived[repository].set()

    def send(sent: Request) -> Response:
        asked.append(sent.url)
        assert all_there.wait(10)
        return Response(status=200, url=sent.url, body=b'{"token": "t"}')

    access = Access(REGISTRY, find, RealmRules(REGISTRY.origin), send, Clock())
    threads = [threading.Thread(target=access.after, args=(request(name), refusal(name), None)) for name in NAMES]
    for name, thread in zip(NAMES, threads, strict=True):
        thread.start()
        assert arrived[name].wait(10)
    all_there.set()
    for thread in threads:
        thread.join(10)
    assert sorted(asked) == [
        f"https://reg.example/{name}?service=reg&scope=repository%3A{name}%3Apull" for name in NAMES
    ]
