"""Copies from registry to registry, of which one fails and lies: the rows of pulls and pushes again, and nothing is stored here.

The two ends have different users, and neither sees anything of the other's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.registry_rows import PULL, PUSH, Row
from support.registry_runs import (
    ALICE,
    BOB,
    NEW,
    OLD,
    PATIENCE,
    REPOSITORY,
    Image,
    Ran,
    at,
    auth,
    check_names,
    check_shown,
    check_untold,
    run,
)
from tranship.testing.registry import RegistryServer

pytestmark = [pytest.mark.usefixtures("impatient"), pytest.mark.timeout(60)]


@contextmanager
def registries(source: str, destination: str) -> Iterator[tuple[RegistryServer, RegistryServer]]:
    """Two of them: the one has the image, the other an older one under the tag."""
    with RegistryServer(auth=auth(source, ALICE)) as one, RegistryServer(auth=auth(destination, BOB)) as other:
        OLD.put(one, tag="old")
        NEW.put(one)
        OLD.put(other)
        yield one, other


def mirrored(one: RegistryServer, other: RegistryServer, bad: RegistryServer, row: Row) -> Ran:
    """Copy while one of them misbehaves, and see that it was as the table says."""
    faults = [bad.fault(row.fault, **row.parameters)]
    faults += [bad.fault(name, **parameters) for name, parameters in row.beside.items()]
    ran = run(at(one, ALICE), at(other, BOB, chunk=row.chunk), ALICE, BOB, patience=row.patience)
    assert all(fault.hits for fault in faults)
    assert len(bad.requests) <= row.most + (0 if row.patience == PATIENCE else 20)
    check_shown(one, ALICE)
    if other.requests:
        check_shown(other, BOB)
    for server in (one, other):
        if not row.realm:
            check_untold(server)
    if row.error is None:
        assert ran.error is None, ran.told
    else:
        error, says = row.mirror or (row.error, row.says)
        assert type(ran.error) is error, ran.told
        assert re.search(says, str(ran.error), re.DOTALL), str(ran.error)
        check_names(ran, bad)
    return ran


def check_whole(server: RegistryServer, image: Image) -> None:
    """The tag leads to this image, and every byte of it is there."""
    assert server.tags(REPOSITORY) == {"1": image.digest}
    for digest, raw in image.everything.items():
        assert server.content(REPOSITORY, digest) == raw


@pytest.mark.parametrize("row", PULL, ids=str)
def test_a_copy_from_a_bad_registry_ends_as_the_table_says(row: Row) -> None:
    with registries(row.auth, "token") as (one, other):
        ran = mirrored(one, other, one, row)
        if row.error is not None:
            assert ran.error is not None
            assert ran.error.side == "source"
            check_whole(other, OLD)
        elif not row.another:
            check_whole(other, NEW)


@pytest.mark.parametrize("row", PUSH, ids=str)
def test_a_copy_to_a_bad_registry_ends_as_the_table_says(row: Row) -> None:
    with registries("basic", row.auth) as (one, other):
        for raw in NEW.blobs.values() if row.there else ():
            other.put_blob(REPOSITORY, raw)
        ran = mirrored(one, other, other, row)
        if row.error is not None:
            assert ran.error is not None
            assert ran.error.side == "destination"
            obeyed = row.fault == "error-body" and "manifest.put" in row.aims  # refused, although it was done
            check_whole(other, NEW if obeyed else OLD)
        else:
            check_whole(other, NEW)
