"""Everything that the registry can do wrong, by name.

    fault = registry.fault("drop", after=1 << 20)                        # once, as the table says
    registry.fault("status", code=503, times=3, kind="manifest")
    with registry.fault("rate-limit", retry_after=2, path="acme/app"):
        …
    assert fault.hits == 1

A fault strikes the next requests that it is aimed at (`kind`, `method`, `path`), `times` times, and declines where it would
mean nothing: a range cannot lie in an answer without one. Several may be at work; the newest is outermost.
"""

from __future__ import annotations

import textwrap

from tranship.testing.registry.faults import (  # noqa: F401  # each module registers its faults
    addresses,
    content,
    credentials,
    lists,
    status,
    transport,
    uploading,
)
from tranship.testing.registry.faults.confusion import CONFUSIONS
from tranship.testing.registry.faults.kinds import ALWAYS, FAULTS, REQUIRED, Fault, FaultKind, FaultyServer

__all__ = ["ALWAYS", "CONFUSIONS", "FAULTS", "Fault", "FaultKind", "FaultyServer", "fault_table"]


def fault_table() -> str:
    """The table of all faults: name and parameters, what it is aimed at, how often it strikes, what it does."""
    lines = []
    for name, kind in FAULTS.items():
        parameters = (key if value is REQUIRED else f"{key}={value!r}" for key, value in kind.parameters.items())
        times = "until removed" if kind.times == ALWAYS else "once" if kind.times == 1 else f"{kind.times} times"
        lines += [f"{name}({', '.join(parameters)})", f"    at {', '.join(kind.aim)}; {times}"]
        lines += textwrap.wrap(kind.effect, 120, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


__doc__ = f"{__doc__}\n{fault_table()}\n"
