"""Lists, referrers and deletions at registries that fail and lie; and that no fault of the test registry is left out anywhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from support.registry_rows import ONCE, PULL, PUSH, Row, comes, fails
from support.registry_runs import (
    ALICE,
    NEW,
    OLD,
    PATIENCE,
    REPOSITORY,
    Ran,
    at,
    auth,
    check_untold,
    referrer,
    run,
)
from tranship import Limits, Selection
from tranship.endpoints.registry.session import Session
from tranship.engine.run import Run
from tranship.errors import DataLoss, InvalidArgument, PolicyRefused, TranshipError, Unavailable, Unsupported
from tranship.model.reference import Reference
from tranship.testing.memory import Memory
from tranship.testing.registry import FAULTS, RegistryServer

pytestmark = [pytest.mark.usefixtures("impatient"), pytest.mark.timeout(60)]

TAGS = ["1", "2", "3", "4", "5"]
KIND = {"tags": "tags", "catalog": "catalog", "delete": "manifest.delete"}
ASK: dict[str, Callable[[Session, str], Any]] = {
    "tags": lambda session, host: session.tags(Reference.parse(f"{host}/{REPOSITORY}")),
    "catalog": lambda session, host: session.catalog(host),
    "delete": lambda session, host: session.delete(Reference.parse(f"{host}/{REPOSITORY}:1")),
}
PROPER = {"tags": TAGS, "catalog": [REPOSITORY, "acme/other", "library/x"], "delete": None}


def _lists() -> list[tuple[str, Row]]:
    found: list[tuple[str, Row]] = []
    for kind in ("tags", "catalog"):
        rows = [
            fails("pages-loop", Unavailable, "back to a page"),
            fails("pages-elsewhere", PolicyRefused, "to another host"),
            fails("pages-endless", Unavailable, "without end", most=210),
            comes("pages-relative"),
            comes("list-junk", form="null", another=True),
            comes("list-junk", form="not-object", another=True),
            fails("list-junk", Unavailable, "is no name", form="names"),
            fails("list-junk", Unavailable, "must be a list of strings", form="types"),
            fails("list-junk", Unavailable, "not JSON", form="not-json"),
            fails("list-junk", DataLoss, "more than 4393216 bytes", form="huge"),
            fails("unauthorized", TranshipError, "refused"),
            comes("expire-tokens", auth="token", most=12),
            *(comes(fault, kind=kind, after=10) for fault in ("drop", "reset", "stall")),
        ]
        found += [(kind, row) for row in rows]
    found.append(("delete", fails("no-delete", Unsupported, "does not support DELETE of tag 1")))
    for kind in ASK:
        found += [(kind, comes(fault, kind=KIND[kind], most=10, **parameters)) for fault, parameters in ONCE]
        found.append((kind, fails("status", Unavailable, "500", code=500, kind=KIND[kind], times=None)))
        found.append((kind, comes("connection-close", kind=KIND[kind])))
        for form in ("html", "control"):
            found.append((kind, fails("error-body", TranshipError, "400", form=form, kind=KIND[kind])))
    return found


def ask(kind: str, server: RegistryServer, row: Row) -> tuple[Any, Ran]:
    ran, answer = Ran(), None
    run_of = Run(source="registry", limits=Limits(timeout=row.patience))
    try:
        with at(server, ALICE).session(run_of) as session:
            answer = ASK[kind](session, server.host)
    except TranshipError as error:
        ran.error = error
    assert ALICE[1] not in ran.told
    assert not [c for c in ran.told if not c.isprintable() and c != "\n"]
    return answer, ran


LISTS = _lists()


@pytest.mark.parametrize(("kind", "row"), LISTS, ids=str)
def test_a_list_or_a_deletion_ends_as_the_table_says(kind: str, row: Row) -> None:
    with RegistryServer(page_size=2, auth=auth(row.auth, ALICE)) as server:
        for repository in ("acme/other", "library/x"):
            OLD.put(server, repository)
        for tag in TAGS:
            OLD.put(server, tag=tag)
        fault = server.fault(row.fault, **row.parameters)
        answer, ran = ask(kind, server, row)
        assert fault.hits
        assert len(server.requests) <= row.most + (0 if row.patience == PATIENCE else 20)
        check_untold(server)
        if row.error is None:
            assert ran.error is None, ran.told
            assert row.another or answer == PROPER[kind]
        else:
            assert isinstance(ran.error, row.error)
            assert re.search(row.says, ran.told), ran.told
            assert server.host in ran.told
            assert REPOSITORY in ran.told or kind == "catalog"
        deleted = kind == "delete" and row.error is None
        assert list(server.tags(REPOSITORY)) == (TAGS[1:] if deleted else TAGS)


REFERRERS = [
    comes("filter-ignored"),
    comes("no-referrers", kind="referrers"),
    comes("pages-relative"),
    fails("pages-loop", Unavailable, "back to a page"),
    fails("pages-elsewhere", PolicyRefused, "to another host"),
    fails("pages-endless", Unavailable, "without end", most=130),
    fails("list-junk", InvalidArgument, "manifests", form="names"),
    fails("list-junk", InvalidArgument, "manifests", form="types"),
    comes("list-junk", form="null", another=True),
    fails("list-junk", InvalidArgument, "not JSON", form="not-json"),
    fails("list-junk", InvalidArgument, "object", form="not-object"),
    fails("list-junk", DataLoss, "more than 4393216 bytes", form="huge"),
    fails("status", Unavailable, "500", code=500, kind="referrers", times=None),
    *(comes("status", code=code, kind="referrers", times=None) for code in (400, 404, 405, 406, 501)),
    *(comes(fault, kind="referrers", most=14, **parameters) for fault, parameters in ONCE),
    *(comes(fault, kind="referrers", after=10) for fault in ("drop", "reset", "stall")),
    comes("connection-close", kind="referrers"),
    comes("expire-tokens", kind="referrers", auth="token", most=16),
    fails("error-body", TranshipError, "403", code=403, form="control", kind="referrers"),
]


@pytest.mark.parametrize("row", REFERRERS, ids=str)
def test_referrers_come_along_as_the_table_says(row: Row) -> None:
    """Four of one type and one of another are there; by the API, and under the fallback tag."""
    with RegistryServer(page_size=2, auth=auth(row.auth, ALICE)) as server:
        OLD.put(server)
        wanted = [referrer(server, OLD, "application/vnd.example.sbom", number) for number in range(4)]
        referrer(server, OLD, "application/vnd.example.other", 9)
        fault = server.fault(row.fault, **row.parameters)
        images = Memory()
        selection = Selection(referrers="application/vnd.example.sbom")
        ran = run(at(server, ALICE), images, ALICE, selection=selection, patience=row.patience)
        assert fault.hits
        check_untold(server)
        if row.error is not None:
            assert isinstance(ran.error, row.error), ran.told
            assert re.search(row.says, ran.told), ran.told
            assert not images.names
            return
        assert ran.error is None, ran.told
        assert ran.summary is not None
        found = {root.descriptor.digest for root in ran.summary.roots if root.subject}
        assert row.another or found == set(wanted)
    assert NEW.digest not in images.blobs


def test_every_fault_is_in_some_table_for_every_kind_of_request_that_it_strikes() -> None:
    """`upload.single` is not among them, nor the deletion of blobs and the ping: a transfer never asks for these."""
    covered: set[tuple[str, str]] = set()
    rows = [*PULL, *PUSH, *REFERRERS, *(row for _, row in LISTS)]
    for row in rows:
        covered |= {(row.fault, aim.partition(".")[0]) for aim in row.aims}
    assert {fault for fault, _ in covered} == set(FAULTS)
    missing = {
        (name, aim)
        for name, kind in FAULTS.items()
        for aim in {aim.partition(".")[0] for aim in kind.aim}
        if (name, aim) not in covered and aim != "ping"
    }
    assert not missing
