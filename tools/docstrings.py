"""How our docstrings become pages: fields that stand in columns become a list. For mkdocstrings, named in mkdocs.yml."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from griffe import Extension

if TYPE_CHECKING:
    from collections.abc import Container

    from griffe import Object

# `platforms   take these platforms`; one line alone may be an example, so a table has two at least.
_COLUMNS = re.compile(r"([A-Za-z_][\w ,/()*\"=.-]*?)\s{2,}(\S.*)")
_WORD = re.compile(r"([a-z_]+) (\S.*)")  # a name that fills its column


class Fields(Extension):
    """Rewrites the docstring of every object that is loaded."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = with_lists(obj.docstring.value, obj.members)


def with_lists(text: str, names: Container[str] = ()) -> str:
    """Turn each block of fields into a Markdown list; `names` are those of the object's members."""
    return "\n\n".join(as_list(block, names) if is_table(block) else block for block in text.split("\n\n"))


def is_table(block: str) -> bool:
    lines = block.splitlines()
    return len(lines) > 1 and _COLUMNS.fullmatch(lines[0]) is not None


def as_list(block: str, names: Container[str]) -> str:
    items: list[str] = []
    for line in block.splitlines():
        field, word = _COLUMNS.fullmatch(line), _WORD.fullmatch(line)
        if field is None and word is not None and word[1] in names:
            field = word
        if field is not None:
            fields = ", ".join(f"`{name}`" for name in field[1].split(", "))
            items.append(f"- {fields}: {field[2]}")
        elif line.startswith(" "):
            items[-1] += f" {line.strip()}"
        else:
            items.append(f"- {line}")
    return "\n".join(items)
