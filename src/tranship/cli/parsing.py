"""The argparse side of a command: one parser each, made when the command is run, or asked for help or completion."""

from __future__ import annotations

import argparse
import importlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from tranship.cli import habits
from tranship.cli.output import columns
from tranship.errors import InvalidArgument, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tranship.cli.catalogue import Command

# What argparse says, and what we say.
_SAID = (
    (
        r"argument (?:-\w/)?(?P<o>[^:]+): invalid choice: (?P<v>.*?) \(choose from (?P<c>.*)\)",
        "{o} is one of {c}; found {v}",
    ),
    (r"argument (?:-\w/)?(?P<o>[^:]+): invalid int value: (?P<v>.*)", "{o} is a number; found {v}"),
    (r"argument (?:-\w/)?(?P<o>[^:]+): expected one argument", "{o} wants a value"),
    (r"argument (?:-\w/)?(?P<o>[^:]+): not allowed with argument (?:-\w/)?(?P<p>.+)", "{o} and {p} exclude each other"),
    (r"argument (?:-\w/)?(?P<o>[^:]+): ignored explicit argument (?P<v>.*)", "{o} takes no value; found {v}"),
    (r"the following arguments are required: (?P<o>.*)", "{o} is missing"),
)
# Options of other tools, and what does the same here.
_ELSEWHERE = {
    **dict.fromkeys(("-p", "--password"), "--password-stdin reads it, so that the list of processes does not show it"),
    **dict.fromkeys(("--os", "--arch", "--override-os", "--override-arch"), "say --platform OS/ARCH"),
    "--multi-arch": "say --all-platforms, or --platform OS/ARCH",
    **dict.fromkeys(
        ("-a", "--all"), "all that the source has is taken already; --all-platforms demands that it has all"
    ),
    **dict.fromkeys(("-f", "--force"), "nothing is asked here, so there is nothing to force"),
}


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help as wide as the terminal. argparse makes one for each option that it is told of, and imports shutil for it."""

    def __init__(self, prog: str, **settings: Any) -> None:
        super().__init__(prog, **{"width": columns() - 2, **settings})


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are ours: an InvalidArgument with a hint."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", _Help)
        super().__init__(allow_abbrev=False, **settings)

    @property
    def is_family(self) -> bool:
        """Has the command words of its own, as `ls` of `tranship content ls`?"""
        return self._subparsers is not None

    @property
    def options(self) -> list[argparse.Action]:
        """The options, those that help does not show too."""
        return self._get_optional_actions()

    @property
    def argument_words(self) -> list[str]:
        """The arguments as the usage shows them: `SRC…`, `DST`, `[NAME…]`."""
        shapes = {"+": "{}…", "*": "[{}…]", "?": "[{}]"}
        return [
            shapes.get(str(action.nargs), "{}").format(action.metavar or "|".join(action.choices or [action.dest]))
            for action in self._get_positional_actions()
        ]

    def error(self, message: str) -> NoReturn:
        """Refuse the words typed, in our words and not in argparse's, which change with Python's version."""
        more = f"`{self.prog} --help` tells more"
        for pattern, ours in _SAID:
            found = re.fullmatch(pattern, message, re.DOTALL)
            if found is not None:
                said = {name: value.replace("'", "") for name, value in found.groupdict().items()}
                raise InvalidArgument(printable(ours.format(**said), 400), hint=more)
        _, unknown, words = message.partition("unrecognized arguments: ")
        option = words.split("=")[0].split(" ")[0]
        if not unknown:
            raise InvalidArgument(printable(message, 400), hint=more)
        if not option.startswith("-"):
            raise InvalidArgument(f"{printable(words, 400)}: that is too much", hint=more)
        raise InvalidArgument(f"there is no option {printable(option)}", hint=self._nearest(option) or more)

    def _known(self) -> set[str]:
        """The options that help shows, those of a family's words too: what none of them takes is told by the family."""
        family = self._subparsers
        words = None if family is None else family._group_actions[0].choices  # noqa: SLF001  # argparse shows them no other way
        parsers: list[Parser] = [self, *dict(words or {}).values()]
        shown = [action for one in parsers for action in one.options if action.help != argparse.SUPPRESS]
        return {word for action in shown for word in action.option_strings}

    def _nearest(self, option: str) -> str | None:
        from difflib import get_close_matches

        if option in _ELSEWHERE:
            return _ELSEWHERE[option]
        close = get_close_matches(option, sorted(self._known()), n=3, cutoff=0.7)
        return f"did you mean {' or '.join(close)}?" if close else None


def module_of(command: Command) -> Any:
    """Import the command's module."""
    return importlib.import_module(f"tranship.cli.commands.{command.module}")


def parser_of(command: Command) -> Parser:
    """Make the command's parser."""
    module = module_of(command)
    parser = Parser(
        prog=f"tranship {command.name}",
        description=_description(command, module),
        epilog=_examples(module),
    )
    module.arguments(parser)
    habits.add(parser, command.name)
    if not parser.is_family:
        parser.usage = " ".join((parser.prog, "[OPTION…]", *parser.argument_words))
    return parser


class Action(NamedTuple):
    """A word of a family, as `ls` of `tranship content ls`."""

    name: str
    summary: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | None]
    aliases: tuple[str, ...] = ()


def family(parser: argparse.ArgumentParser, actions: Sequence[Action]) -> None:
    """Add the words of a family; `args.action` is the one that was typed."""
    words = parser.add_subparsers(metavar="ACTION", required=True, parser_class=Parser)
    for action in actions:
        one = words.add_parser(
            action.name, help=action.summary, description=action.summary, aliases=list(action.aliases)
        )
        action.arguments(one)
        one.set_defaults(action=action)


def parse(command: Command, words: Sequence[str]) -> argparse.Namespace:
    """Read the words of a command; options may stand anywhere among its arguments."""
    parser = parser_of(command)
    if parser.is_family:
        return parser.parse_args(words)
    return parser.parse_intermixed_args(_without_values(parser, words))


def _without_values(parser: Parser, words: Sequence[str]) -> list[str]:
    """Let an option whose value may be left out (`--referrers[=TYPE]`) not take the next argument for it."""
    optional = {word for action in parser.options if action.nargs == "?" for word in action.option_strings}
    end = words.index("--") if "--" in words else len(words)
    return [f"{word}=" if word in optional else word for word in words[:end]] + list(words[end:])


def _description(command: Command, module: Any) -> str:
    said = (module.__doc__ or command.summary).strip()
    also = f"\n\nAlso called {', '.join(command.aliases)}." if command.aliases else ""
    return said + also


def _examples(module: Any) -> str | None:
    lines = getattr(module, "EXAMPLES", "").strip("\n")
    return f"examples:\n{lines}" if lines else None
