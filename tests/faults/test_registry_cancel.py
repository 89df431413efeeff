"""A transfer that is to stop while a registry is silent: nobody waits for the answer any more."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from support.registry_runs import NEW, OLD, at
from support.waiting import eventually
from tranship import CancelToken, Store, transfer
from tranship.errors import Cancelled
from tranship.testing.registry import RegistryServer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)  # a commit may take 300 seconds


@pytest.mark.parametrize("kind", ["upload.finish", "manifest.put"])
def test_a_push_stops_while_a_registry_is_silent(kind: str) -> None:
    token = CancelToken()
    with RegistryServer() as server:
        fault = server.fault("silence", kind=kind, times=None)
        canceller = threading.Thread(target=lambda: (eventually(lambda: fault.hits), token.cancel("enough")))
        canceller.start()
        with pytest.raises(Cancelled):
            transfer(NEW.memory(), at(server.host), cancel=token)
        canceller.join()


@pytest.mark.parametrize("kind", ["manifest.head", "blob.get"])
def test_a_pull_stops_while_a_registry_is_silent(kind: str, tmp_path: Path) -> None:
    token = CancelToken()
    with RegistryServer() as server:
        OLD.put(server)
        fault = server.fault("silence", kind=kind, times=None)
        canceller = threading.Thread(target=lambda: (eventually(lambda: fault.hits), token.cancel("enough")))
        canceller.start()
        with pytest.raises(Cancelled):
            transfer(at(server.host), Store(root=tmp_path), cancel=token)
        canceller.join()
