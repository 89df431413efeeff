"""Telling a client how its transfer goes, over its progress stream and in containerd's words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tranship.containerd.progress import encode
from tranship.engine.progress import Outcome, Progress, Reporter, Stage
from tranship.errors import TranshipError

if TYPE_CHECKING:
    from tranship.containerd.progress import Wording
    from tranship.daemon.streams import OpenStream
    from tranship.engine.plan import Plan
    from tranship.model.descriptor import Descriptor

FLUSH = 0.5  # seconds that a client may take for the last events before it is answered; then it stops listening
BACKLOG = 1024  # events that may wait for a slow client; of blobs, the later ones are then left out
_ENDS = (Stage.COMPLETED, Stage.FAILED, Stage.CANCELLED)


class Telling(Reporter):
    """The reporter of a client's transfer. A client that has gone away, or never listened, is no reason to stop."""

    def __init__(self, wording: Wording, stream: OpenStream | None) -> None:
        self._wording = wording
        self._stream = stream
        self._roots: set[str] = set()  # the images' names at the source
        self.brought: list[Descriptor] = []  # what was not at the destination before
        self.ended = False

    def planned(self, plan: Plan) -> None:
        """Tell of the images, and of everything that waits, parents first."""
        self._roots = {root.name for root in plan.roots if root.name}
        for event in self._wording.planned(plan):
            self._send(event)

    def report(self, event: Progress) -> None:
        """Tell of one event."""
        if event.outcome in (Outcome.COPIED, Outcome.ADOPTED) and event.descriptor is not None:
            self.brought.append(event.descriptor)
        self.ended = self.ended or event.stage in _ENDS
        if self._wording.image and self._roots.issuperset(event.parents) and event.parents:
            event = replace(event, parents=(self._wording.image,))
        for told in self._wording(event):
            self._send(told)

    def flush(self) -> None:
        """Wait, for a moment at most, until the client has been sent all that there is to tell."""
        if self._stream is not None:
            self._stream.flush(FLUSH)

    def _send(self, event: Progress) -> None:
        if self._stream is None or (event.stage is Stage.BLOB and self._stream.backlog >= BACKLOG):
            return
        try:
            self._stream.send(encode(event))
        except TranshipError:
            self._stream = None
