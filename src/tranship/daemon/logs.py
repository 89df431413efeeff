"""Structured logs: one line an event, as `key=value` pairs or as JSON. What an event has besides its text is in `extra`.

log.info("transfer done", extra={"fields": {"namespace": "default", "seconds": 1.2}})
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from tranship.errors import printable

if TYPE_CHECKING:
    from typing import TextIO

Form = Literal["text", "json"]


class Formatter(logging.Formatter):
    """Formats records in one of the two forms. Text from outside cannot begin a line of its own."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback below it where there is one."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event: dict[str, Any] = {"time": when, "level": record.levelname.lower(), "msg": record.getMessage()}
        event |= getattr(record, "fields", {})
        if self._form == "json":
            if record.exc_info:
                event["traceback"] = self.formatException(record.exc_info)
            return json.dumps(event, ensure_ascii=True, default=str)
        line = " ".join(f"{key}={_word(value)}" for key, value in event.items())
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _word(value: Any) -> str:
    text = printable(f"{value:.3f}" if isinstance(value, float) else str(value), 2000)
    return text if text and not any(c in text for c in ' "=') else json.dumps(text, ensure_ascii=False)


def set_up(stream: TextIO, level: int, form: Form) -> None:
    """Send what this program logs to a stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Formatter(form))
    logger = logging.getLogger("tranship")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
