"""One retry policy, as a value, and the state that the workers of a host share while they obey it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tranship.http.limits import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When a request is sent again, and after how long.

    attempts       in all, the first included
    base, longest  seconds: the wait doubles from `base` up to `longest`, each half of it random
    patience       seconds that a server's Retry-After may ask for; more is cut to this
    statuses       what may be otherwise next time
    """

    attempts: int = 5
    base: float = 0.5
    longest: float = 30.0
    patience: float = 60.0
    statuses: frozenset[int] = frozenset({408, 425, 429, 500, 502, 503, 504})

    def delay(self, attempt: int, asked: float | None, chance: float) -> float:
        """Seconds to wait after attempt number `attempt`; `asked` is the Retry-After, `chance` a number from 0 to 1.

        A server's own wish is obeyed, with up to a tenth more, so that many clients do not come back in the same moment.
        """
        if asked is not None:
            return min(max(asked, 0.0), self.patience) * (1 + chance / 10)
        whole = min(self.base * 2.0 ** min(attempt - 1, 30), self.longest)
        return whole / 2 + whole / 2 * chance


class Pace:
    """What the workers of one host share: a time before which none sends, and a budget of retries.

    A host that answers 429 to one worker has said it to all. The budget keeps a host that is down from being asked by every
    worker five times over: each retry costs one, each answer that wants none gives half of one back, up to `budget`.
    """

    def __init__(self, clock: Clock, budget: float = 20.0) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._budget = self._most = budget
        self._not_before = 0.0

    def wait(self) -> None:
        """Wait until the host may be asked again."""
        while (left := self._not_before - self._clock.monotonic()) > 0:
            self._clock.sleep(left)

    def hold(self, seconds: float) -> None:
        """Let nobody ask the host for so long."""
        with self._lock:
            self._not_before = max(self._not_before, self._clock.monotonic() + seconds)

    def succeeded(self) -> None:
        """Note an answer that another attempt would not change, such as a 404."""
        with self._lock:
            self._budget = min(self._most, self._budget + 0.5)

    def may_retry(self) -> bool:
        """Take one retry from the budget; False when there is none left."""
        with self._lock:
            if self._budget < 1:
                return False
            self._budget -= 1
            return True
