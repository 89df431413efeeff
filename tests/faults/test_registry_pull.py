"""Pulls from registries that fail and lie: the table of `support.registry_rows`, and what must be true after each row."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from support.registry_rows import PULL, Row
from support.registry_runs import (
    ALICE,
    LARGE,
    NEW,
    OLD,
    PATIENCE,
    at,
    auth,
    check_names,
    check_untold,
    content,
    run,
)
from tranship import Store
from tranship.testing.registry import RegistryServer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.usefixtures("impatient"), pytest.mark.timeout(60)]


@pytest.mark.parametrize("row", PULL, ids=str)
def test_a_pull_ends_as_the_table_says(row: Row, tmp_path: Path) -> None:
    store = Store(root=tmp_path / "store", durability="process")
    with RegistryServer(auth=auth(row.auth, ALICE)) as server:
        OLD.put(server, tag="old")
        NEW.put(server)
        faults = [server.fault(row.fault, **row.parameters)]
        faults += [server.fault(name, **parameters) for name, parameters in row.beside.items()]
        ran = run(at(server, ALICE), store, ALICE, patience=row.patience)
        assert all(fault.hits for fault in faults)
        assert len(server.requests) <= row.most + (0 if row.patience == PATIENCE else 20)
        if not row.realm:
            check_untold(server)
        found, names = content(store)
        if row.error is None:
            assert ran.error is None, ran.told
            assert names == [f"{server.host}/acme/app:1"]
            assert row.another or found == NEW.everything
            assert server.sent("blob.get") <= 32 * LARGE  # buffers of the kernel included, which an endless body fills
        else:
            assert type(ran.error) is row.error, ran.told
            assert re.search(row.says, str(ran.error), re.DOTALL), str(ran.error)
            assert ran.error.side == ("destination" if "no space" in row.says else "source")
            assert names == []
            check_names(ran, server)
