"""Registries that lie, and connections that are cut: a transfer ends well or says why, and the next one puts it right."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torture import invariants
from torture.box import part
from torture.content import NAME, in_memory
from tranship import Limits, Registry, Store, TranshipError, transfer
from tranship.endpoints.registry import session
from tranship.http.limits import Timeouts
from tranship.model.secret import Credential, Secret
from tranship.testing.proxy import tcp_proxy
from tranship.testing.registry import CONFUSIONS, FAULTS, RegistryServer, Token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torture.box import Box
    from tranship.testing.memory import Memory
    from tranship.testing.proxy import Proxy

SECRET = "swordfish-7f3a"  # what must never reach another host
FORMS: dict[str, tuple[str, list[Any]]] = {  # the forms that a fault can take
    "redirect": (
        "to",
        [
            "elsewhere",
            "plain",
            "relative",
            "dots",
            "chain",
            "loop",
            "none",
            "file",
            "link-local",
            "crlf",
            "userinfo",
            "junk",
        ],
    ),
    "location": (
        "form",
        ["relative", "absolute", "last-segment", "no-scheme", "query", "elsewhere", "plain", "missing", "file", "junk"],
    ),
    "challenge": (
        "form",
        [
            "elsewhere",
            "plain",
            "link-local",
            "private",
            "file",
            "userinfo",
            "junk",
            "unclosed",
            "huge",
            "quotes",
            "many",
            "crlf",
            "unknown",
            "none",
            "no-realm",
        ],
    ),
    "token": (
        "form",
        [
            "crlf",
            "control",
            "spaces",
            "huge",
            "huge-body",
            "no-expiry",
            "expired",
            "absurd-expiry",
            "none",
            "number",
            "html",
        ],
    ),
    "lying-range": ("form", ["offset", "start", "total", "missing", "junk", "short"]),
    "error-body": ("form", ["huge", "html", "malformed", "control", "empty", "nested", "strange"]),
    "rate-limit": ("retry_after", [0, "past", "negative", "junk", None]),
    "confusion": ("form", list(CONFUSIONS)),
    "status": ("code", [400, 403, 404, 408, 413, 416, 418, 429, 500, 502, 503, 504]),
    "gzip": ("bomb", [0, 1 << 20]),
    "wrong-bytes": ("at", [0, -1]),
    "drop": ("after", [0, 1, 100_000]),
    "reset": ("after", [0, 1, 100_000]),
    "truncate": ("to", [0, 1, 1000]),
    "wrong-length": ("by", [1, -1]),
}
SKIPPED = {"substitute", "tag-moves", "pages-loop", "pages-elsewhere", "pages-endless", "pages-relative", "list-junk"}
SKIPPED |= {"filter-ignored", "no-delete", "header-flood"}  # not of a pull or push, or tried in tests of their own
SIZES = (0, 700, 120_000, 1_200_000)


def cases() -> list[tuple[str, str, dict[str, Any]]]:
    """(pull or push, fault, its parameters): every fault in every form."""
    found = []
    for fault in sorted(FAULTS.keys() - SKIPPED):
        parameter, forms = FORMS.get(fault, ("", [None]))
        for form in forms:
            given = {parameter: form} if parameter else {}
            if fault in ("stall", "silence"):
                given |= {"seconds": 3}
            if fault == "endless":
                given |= {"limit": 4 << 20}
            if fault == "endless-continue":
                given |= {"count": 2000}
            found += [(way, fault, given) for way in ("pull", "push")]
    return found


def at(host: str, name: str, credential: Credential | None = None, **options: Any) -> Registry:
    """A registry's image, with no credentials but those."""
    find = (lambda asked, _repository: credential if asked == host else None) if credential else lambda *_: None
    return Registry(f"{host}/{name}", plain_http=True, credential=find, environment={}, **options)


class _Impatient(Timeouts):
    """A second where clients wait for a minute."""

    @classmethod
    def of(cls, silence: float) -> Timeouts:
        """See Timeouts."""
        return Timeouts(connect=5.0, headers=silence, commit=silence, stall=silence)


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Clients that wait no longer than they are told to, not even for an upload's end."""
    before = session.Timeouts
    session.Timeouts = _Impatient  # type: ignore[misc]  # for the block
    try:
        yield
    finally:
        session.Timeouts = before  # type: ignore[misc]  # as above


@part("network")
def network(box: Box) -> None:
    """Every fault of the test registry, in every form, in pulls and pushes: the outcome is success or one of our errors, the
    store stays sound, no password goes elsewhere, and without the fault the same transfer succeeds.
    """  # fmt: skip
    waiting = cases()
    box.chance.shuffle(waiting)
    images = in_memory(NAME, box.seed, SIZES)
    with impatient(), box.scratch() as folder:
        for _ in box.rounds():
            if not waiting:
                break
            way, fault, given = waiting.pop()
            with box.unbroken(f"{way} with {fault} {given}"), box.scratch() as place:
                _one_fault(box, place, images, (way, fault, given))
        box.count("cases left", len(waiting))
    del folder


def _one_fault(box: Box, place: Path, images: Memory, case: tuple[str, str, dict[str, Any]]) -> None:
    way, fault, given = case
    auth = Token({"alice": SECRET})
    credential = Credential(username="alice", password=Secret(SECRET), source="the test")
    with RegistryServer(auth=auth) as registry:
        there = at(registry.host, "app:1", credential)
        store = Store(root=place / "store", durability="process")
        transfer(images, there if way == "pull" else store)
        source, destination = (there, store) if way == "pull" else (store, there)
        before = len(registry.requests)
        registry.fault(fault, **given)
        try:
            transfer(source, destination, limits=Limits(retries=2, timeout=1.0))
        except TranshipError as error:
            told = [str(error), error.hint or "", *getattr(error, "__notes__", ())]
            assert SECRET not in "".join(told), "a message shows the password"
            box.count("refused")
        else:
            box.count("succeeded")
        box.count("cases struck", any(fault in exchange.faults for exchange in registry.requests[before:]))
        others = [exchange for other in list(registry._others.values()) for exchange in other.requests]
        box.count("requests elsewhere", len(others))
        for exchange in others:  # another port of loopback may be a registry's token service, and nothing else
            shown = exchange.headers.get("Authorization") is not None
            assert not shown or fault == "challenge", (
                f"a password went elsewhere with {exchange.method} {exchange.target}"
            )
        if way == "pull" and (place / "store/state.db").exists():
            with store.open() as opened:
                report = opened.fsck(deep=True)
                assert report.ok, report.problems
        registry._faults.clear()  # the end of the fault
        transfer(source, destination, limits=Limits(timeout=5.0))
        if way == "push":
            for digest, raw in images.blobs.items():
                assert registry.content("app", digest) == raw
        else:
            invariants.sound(place / "store")
    box.count("cases")


@part("cuts")
def cuts(box: Box) -> None:
    """A pull and a push of 50 MB (20 MiB in a slice) whose connection ends at each fiftieth of the way, in three ways: both resume
    and move at most 1.2 times the bytes.
    """  # fmt: skip
    size, parts = 20 << 20 if box.is_slice else 50_000_000, 50
    images = in_memory(NAME, box.seed, (1000, size))
    waiting = [
        (way, how, number)
        for number in range(1, parts)
        for way in ("pull", "push")
        for how in ("close", "reset", "stall")
    ]
    box.chance.shuffle(waiting)
    with impatient(), RegistryServer() as registry, tcp_proxy(registry.host) as proxy:
        registry.options = replace(registry.options, strict=False)  # the proxy's port is not the registry's
        for _ in box.rounds():
            if not waiting:
                break
            way, how, number = waiting.pop()
            with box.unbroken(f"{way} ended by {how} at {number}/{parts}"), box.scratch() as place:
                registry.state.repositories.clear()
                _one_cut(box, place, images, (registry, proxy), (way, how, size * number // parts))
        box.count("cases left", len(waiting))


def _one_cut(
    box: Box, place: Path, images: Memory, ends: tuple[RegistryServer, Proxy], case: tuple[str, Any, int]
) -> None:
    (registry, proxy), (way, how, after) = ends, case
    size = max(map(len, images.blobs.values()))
    store = Store(root=place / "store", durability="process")
    direct, through = at(registry.host, "app:1"), at(proxy.host, "app:1")
    transfer(images, direct if way == "pull" else store)
    before = proxy.downloaded + proxy.uploaded
    proxy.cut(after=after, direction="down" if way == "pull" else "up", how=how)
    source, destination = (through, store) if way == "pull" else (store, through)
    try:
        transfer(source, destination, limits=Limits(retries=3, timeout=1.0))
        box.count("went on within the run")
    except TranshipError:
        proxy.mend()
        transfer(source, destination, limits=Limits(retries=3, timeout=1.0))
        box.count("taken up by the next run")
    moved = proxy.downloaded + proxy.uploaded - before
    proxy.mend()
    if way == "pull":
        invariants.sound(place / "store")
        assert moved <= 1.2 * size, f"{moved} bytes for {size}"
    else:
        for digest, raw in images.blobs.items():
            assert registry.content("app", digest) == raw
        box.count("bytes pushed for 100 wanted, in all", round(100 * moved / size))
    box.count(f"cut {way}es" if way == "push" else "cut pulls")
