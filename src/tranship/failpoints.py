"""Named places in the code where a test makes the process fail; nothing happens unless TRANSHIP_FAIL is set at import.

TRANSHIP_FAIL=place.renamed:3:kill         at the third passage: kill -9 ourselves
TRANSHIP_FAIL=gc.condemned:1:error,…       raise OSError(EIO); several points are separated by commas
TRANSHIP_FAIL=gc.condemned:0:delay         sleep 0.2 s; passage 0 means every passage
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time

DELAY = 0.2  # seconds

_armed: dict[str, tuple[int, str]] = {}
_passages: dict[str, int] = {}
_lock = threading.Lock()


def hit(point: str) -> None:
    """Pass a failpoint. Costs one truth test when none is armed."""
    if _armed:
        _pass(point)


def arm(setting: str) -> None:
    """Arm the points of a TRANSHIP_FAIL setting, in place of those armed before; an empty one disarms all."""
    _armed.clear()
    _passages.clear()
    for item in filter(None, setting.split(",")):
        point, passage, action = item.split(":")
        _armed[point] = int(passage), action


def _pass(point: str) -> None:
    if point not in _armed:
        return
    wanted, action = _armed[point]
    with _lock:
        _passages[point] = passage = _passages.get(point, 0) + 1
    if wanted not in (0, passage):
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "delay":
        time.sleep(DELAY)
    else:
        raise OSError(errno.EIO, f"failpoint {point}")


arm(os.environ.get("TRANSHIP_FAIL", ""))
