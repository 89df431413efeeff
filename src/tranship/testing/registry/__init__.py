"""An OCI registry in this process, for tests: strict, complete, and able to misbehave on demand.

    with RegistryServer() as registry:
        digest = registry.put_blob("acme/app", b"…")
        …point a client at registry.url or registry.host…
        assert registry.count("blob.get") == 1

It speaks the distribution specification 1.1 over HTTP/1.1 on the loopback interface, and holds a client to it: what common
registries forgive is refused here. Every request is recorded in `registry.requests`.
"""

from __future__ import annotations

from tranship.testing.registry.auth import Basic, Token, TokenServer
from tranship.testing.registry.faults import CONFUSIONS, FAULTS, Fault
from tranship.testing.registry.messages import Exchange, Headers, Refusal
from tranship.testing.registry.protocol import KINDS
from tranship.testing.registry.registry import RegistryServer
from tranship.testing.registry.server import TLS

__all__ = [
    "CONFUSIONS",
    "FAULTS",
    "KINDS",
    "TLS",
    "Basic",
    "Exchange",
    "Fault",
    "Headers",
    "Refusal",
    "RegistryServer",
    "Token",
    "TokenServer",
]
