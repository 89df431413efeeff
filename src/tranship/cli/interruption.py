"""Signals: the first asks politely, so that nothing half-made stays behind; the second, or a long silence, insists.

The third leaves at once, whoever is waited for: what stays behind then is what a kill leaves, and the next command finds it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from tranship.engine.run import CancelToken

PATIENCE = 5.0  # seconds after which even a read that never returns (a stalled pipe) is broken off


class Interruption:
    """A context in which SIGINT, SIGTERM and SIGHUP end the command, with the exit codes that shells expect (130, 143, 129)."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.remark: str | None = None  # what whoever interrupts wants to know
        self.farewell = b""  # what gives the terminal back as it was, for who leaves at once
        self._asked = 0  # signals heard
        self._token: CancelToken | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
                if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                    continue  # nohup: it is to outlive its terminal
                self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            ours = (
                self._asked and handler is signal.default_int_handler
            )  # which would print a traceback amid Python's end
            signal.signal(number, signal.SIG_DFL if ours else handler)

    @property
    def token(self) -> CancelToken:
        """A token for work that looks at it now and then; whoever takes it is asked before he is told."""
        if self._token is None:
            from tranship.engine.run import CancelToken

            self._token = CancelToken()
        return self._token

    @property
    def word(self) -> str:
        """What happened."""
        return "interrupted" if self.signal in (None, signal.SIGINT) else "terminated"

    @property
    def exit_code(self) -> int:
        """128 and the signal's number."""
        return 128 + (self.signal or signal.SIGINT)

    def _heard(self, number: int, _frame: object) -> None:
        first = self.signal is None
        if number != signal.SIGALRM:
            self.signal = signal.Signals(number)
            self._asked += 1
        if self._asked > 2:
            self._leave()
        if not first or self._token is None:
            raise KeyboardInterrupt
        self._token.cancel(self.word)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)

    def _leave(self) -> NoReturn:
        with contextlib.suppress(OSError):
            os.write(2, self.farewell)
        os._exit(self.exit_code)
