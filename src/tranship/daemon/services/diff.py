"""The Diff service of a daemon that unpacks nothing: there is nothing to apply a layer to, and nothing to make one of."""

from __future__ import annotations

from tranship.containerd.methods import Diff
from tranship.daemon.calls import Route, unary
from tranship.daemon.services.snapshots import refuse


def routes() -> list[Route]:
    """What serves the methods."""
    return [unary(Diff.APPLY, refuse), unary(Diff.DIFF, refuse)]
