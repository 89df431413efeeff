"""Clients for tests, with a clock that does not really sleep."""

from __future__ import annotations

import contextlib
import io
import time
from typing import TYPE_CHECKING, Any

from tranship.formats.hosts import Host
from tranship.http.client import Client
from tranship.http.limits import Clock, Timeouts
from tranship.http.payload import ReaderPayload
from tranship.model import mediatypes
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.model.secret import Credential, Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENT = Timeouts(connect=20.0, headers=20.0, commit=20.0, stall=20.0)  # even of a machine that does much else
IMPATIENT = Timeouts(connect=20.0, headers=0.5, commit=0.5, stall=0.5, floor=1024)  # for peers that hang on purpose
ALICE = Credential(username="alice", password=Secret("secret"), source="the test")


class Sleepless:
    """A clock that notes how long it should have slept."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.skipped = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.skipped += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: time.monotonic() + self.skipped, time.time, self.sleep)


@contextlib.contextmanager
def client(**options: Any) -> Iterator[Client]:
    """A client; `sleepless` is its clock, `notes` a list for its notes."""
    sleepless = options.pop("sleepless", None) or Sleepless()
    notes = options.pop("notes", None)
    if notes is not None:
        options["note"] = notes.append
    with Client(**{"timeouts": PATIENT, "clock": sleepless.clock, **options}) as made:
        yield made


def plain(registry: Any) -> Host:
    """The registry as a host that is spoken to in plain http."""
    return Host(registry=registry.host, url=f"http://{registry.host}/v2")


def secure(registry: Any, **settings: Any) -> Host:
    """The registry as a host that is spoken to by TLS."""
    return Host(registry=registry.host, url=f"https://{registry.host}/v2", **settings)


def layer(content: bytes) -> Descriptor:
    return Descriptor(media_type=mediatypes.OCI_LAYER, digest=Digest.of(content), size=len(content))


def payload(content: bytes) -> ReaderPayload:
    @contextlib.contextmanager
    def open_at(offset: int) -> Iterator[io.BytesIO]:
        yield io.BytesIO(content[offset:])

    return ReaderPayload(open_at)  # type: ignore[arg-type]  # BytesIO.readinto takes any buffer


def find(credential: Credential | None) -> Callable[[str, str], Credential | None]:
    return lambda _host, _repository: credential
