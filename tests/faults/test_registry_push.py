"""Pushes to registries that fail and lie: the table of `support.registry_rows`, and what must be true after each row."""

from __future__ import annotations

import re
from typing import Any

import pytest

from support.registry_rows import PUSH, Row
from support.registry_runs import (
    BOB,
    NEW,
    OLD,
    PATIENCE,
    REPOSITORY,
    at,
    auth,
    check_names,
    check_untold,
    run,
)
from tranship import Layout, Limits, transfer
from tranship.testing.registry import RegistryServer

pytestmark = [pytest.mark.usefixtures("impatient"), pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """The image in files."""
    made = Layout(tmp_path_factory.mktemp("push") / "layout")
    transfer(NEW.memory(), made)
    return made


@pytest.mark.parametrize("row", PUSH, ids=str)
def test_a_push_ends_as_the_table_says(row: Row, layout: Layout) -> None:
    with RegistryServer(auth=auth(row.auth, BOB)) as server:
        OLD.put(server)
        for raw in NEW.blobs.values() if row.there else ():
            server.put_blob(REPOSITORY, raw)
        faults = [server.fault(row.fault, **row.parameters)]
        faults += [server.fault(name, **parameters) for name, parameters in row.beside.items()]
        ran = run(layout, at(server, BOB, chunk=row.chunk), BOB, patience=row.patience)
        assert all(fault.hits for fault in faults)
        assert len(server.requests) <= row.most + (0 if row.patience == PATIENCE else 20)
        if not row.realm:
            check_untold(server)
        check_whole(server)
        if row.error is None:
            assert ran.error is None, ran.told
            assert server.tags(REPOSITORY) == {"1": NEW.digest}
        else:
            assert type(ran.error) is row.error, ran.told
            assert re.search(row.says, str(ran.error), re.DOTALL), str(ran.error)
            assert ran.error.side == "destination"
            obeyed = row.fault == "error-body" and "manifest.put" in row.aims  # refused, although it was done
            assert server.tags(REPOSITORY) == {"1": NEW.digest if obeyed else OLD.digest}
            check_names(ran, server)


@pytest.mark.parametrize(
    ("fault", "parameters"), [("status", {"code": 429}), ("status", {"code": 503}), ("hang-up", {})], ids=str
)
def test_what_was_to_be_learned_of_a_blob_that_has_arrived_fails_no_push(
    fault: str, parameters: dict[str, Any], layout: Layout
) -> None:
    """The first layer is followed by a mount that tells whether the registry knows mounts; it fails as long as it is tried."""
    with RegistryServer() as server:
        server.fault(fault, kind="upload.mount", skip=1, times=None, **parameters)
        ran = run(layout, at(server), limits=Limits(jobs=1, timeout=PATIENCE))
        assert ran.error is None, ran.told
        again = fault == "hang-up"  # on a connection that was used before: once more on a new one
        assert server.count("upload.mount") == 1 + 5 + again  # nobody takes it for granted afterwards
        assert server.count("blob.head") == 3
        assert server.tags(REPOSITORY) == {"1": NEW.digest}
        check_whole(server)


def check_whole(server: RegistryServer) -> None:
    """Whatever the tag leads to is there with every byte."""
    image = {made.digest: made for made in (OLD, NEW)}[server.tags(REPOSITORY)["1"]]
    for digest, raw in image.everything.items():
        assert server.content(REPOSITORY, digest) == raw
