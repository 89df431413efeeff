"""No test may make tranship say a secret: what each test prints, logs and runs is searched for every secret that it made.

`watch` notes the text of each Secret from then on; `search` is asked by tests/conftest.py for what pytest has caught of a test, and by
`Commands` for what a command printed. Words of fewer than LEAST characters are not looked for, since they stand in many a text.
"""

from __future__ import annotations

import base64
from functools import wraps
from typing import Any
from urllib.parse import quote_plus

from tranship.model.secret import Credential, Secret

LEAST = 8
made: set[str] = set()  # since the test began
lasting: set[str] = set()  # by modules and fixtures, for several tests


def watch() -> None:
    """Note every secret that is made from now on, in each form in which it might be said."""
    Secret.__init__ = _noting(Secret.__init__, lambda secret: secret.reveal())  # type: ignore[method-assign]
    Credential.__init__ = _noting(  # type: ignore[method-assign]
        Credential.__init__,
        lambda one: (
            base64.b64encode(f"{one.username}:{one.password.reveal()}".encode()).decode() if one.password else ""
        ),
    )


def _noting(function: Any, form: Any) -> Any:
    @wraps(function)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        function(self, *args, **kwargs)
        made.add(form(self))

    return init


def search(text: str, where: str) -> None:
    """Fail where a secret was said."""
    for secret in made | lasting:
        for form in (secret, quote_plus(secret)) if len(secret) >= LEAST else ():
            at = text.find(form)
            assert at < 0, f"a secret was said {where}: …{text[max(0, at - 200) : at + len(form)]!r}"
