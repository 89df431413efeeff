"""How our docstrings become pages: fields that stand in columns become a list. For mkdocstrings, named in mkdocs.yml."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from griffe import Extension

if TYPE_CHECKING:
    from collections.abc import Container

    from griffe import Object

# `platforms   take these platforms`; one line alone may be an example, unless it begins with a member's name
_COLUMNS = re.compile(r"([A-Za-z_][\w ,/()*\"=.-]*?)\s{2,}(\S.*)")
_WORDS = re.compile(r"([a-z_]+(?:, [a-z_]+)*) (\S.*)")  # names that fill their column


class Fields(Extension):
    """Rewrites the docstring of every object that is loaded."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            parameters = {parameter.name for parameter in getattr(obj, "parameters", ())}
            obj.docstring.value = with_lists(obj.docstring.value, parameters | obj.members.keys())


def with_lists(text: str, names: Container[str] = ()) -> str:
    """Turn each block of fields into a Markdown list; `names` are those of the object's members and parameters."""
    return "\n\n".join(as_list(block, names) if is_table(block, names) else block for block in text.split("\n\n"))


def is_table(block: str, names: Container[str]) -> bool:
    lines = block.splitlines()
    first = _COLUMNS.fullmatch(lines[0]) if lines else None
    return first is not None and (len(lines) > 1 or first[1] in names)


def as_list(block: str, names: Container[str]) -> str:
    items: list[str] = []
    for line in block.splitlines():
        field, words = _COLUMNS.fullmatch(line), _WORDS.fullmatch(line)
        if field is None and words is not None and words[1].split(", ")[0] in names:
            field = words
        if field is not None:
            fields = ", ".join(f"`{name}`" for name in field[1].split(", "))
            items.append(f"- {fields}: {field[2]}")
        elif line.startswith(" "):
            items[-1] += f" {line.strip()}"
        else:
            items.append(f"- {line}")
    return "\n".join(items)
