"""Write the pages of docs/ that say what the program itself says: its commands, its errors, the faults of its test registry.

python tools/docs.py            write those that have changed
python tools/docs.py --check    name those that are not what the program says, and exit with 1
"""

# ruff: noqa: SLF001  # argparse has no other way to walk a parser
from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

DOCS = Path(__file__).resolve().parents[1] / "docs"
sys.path.insert(0, str(DOCS.parent / "src"))

from tranship import errors  # noqa: E402  # needs the path above
from tranship.cli import catalogue  # noqa: E402
from tranship.cli.parsing import module_of, parser_of  # noqa: E402
from tranship.testing.registry.faults import FAULTS  # noqa: E402
from tranship.testing.registry.faults.kinds import ALWAYS, REQUIRED  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NOTE = "<!-- written by tools/docs.py; `make docs` writes it again -->\n"
SHARED = 3  # an option that so many commands have is explained once, for all of them


def main(words: Sequence[str]) -> int:
    stale = [name for name, page in PAGES.items() if current(name) != page()]
    if "--check" in words:
        print(*(f"docs/{name} is not what the program says: run tools/docs.py" for name in stale), sep="\n", end="")
        return int(bool(stale))
    for name in stale:
        (DOCS / name).write_text(PAGES[name](), encoding="utf-8")
        print(f"docs/{name} is new")
    return 0


def current(name: str) -> str:
    path = DOCS / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


# -------------------------------------------------------------------------------------------------------------- commands


COMMANDS = """\
# The command line

`tranship COMMAND --help` says the same. Options may stand anywhere, those of all commands before the command too. Results are on stdout,
progress and remarks on stderr; [exit codes](errors.md) tell the cause of a failure. [Output for programs](json.md) has every field of
`--json`.
"""


def commands() -> str:
    """The command line from its argparse trees, in a layout of our own: argparse's changes with Python's version."""
    parsers = {command.name: parser_of(command) for command in catalogue.every().values()}
    every = [one for parser in parsers.values() for one in (parser, *words_of(parser))]
    lists = [options_of(one) for one in every]
    count = Counter(key(group, option) for one in lists for group, options in one.items() for option in options)
    shared = {one for one, number in count.items() if number >= SHARED}

    page = [NOTE, COMMANDS]
    for title, group in catalogue.GROUPS.items():
        page += [f"**{title}**\n", *(f"- [`{c.name}`](#{c.name}): {escaped(c.summary)}" for c in group), ""]
    page += ["## Options that many commands share\n", *shared_options(lists, shared, remarks(every))]
    for command in catalogue.every().values():
        page += command_section(command, parsers[command.name], shared)
    return "\n".join(page).rstrip() + "\n"


def command_section(command: catalogue.Command, parser: argparse.ArgumentParser, shared: set[str]) -> Iterator[str]:
    module = module_of(command)
    yield f"## {command.name}\n"
    yield f"    {usage(parser)}\n"
    yield prose(module.__doc__ or command.summary)
    if command.aliases:
        yield f"Also called {', '.join(f'`{alias}`' for alias in command.aliases)}.\n"
    yield from arguments_and_options(parser, shared)
    for word in words_of(parser):
        yield f"### {word.prog.removeprefix('tranship ')}\n"
        yield f"    {usage(word)}\n"
        yield prose(word.description or "")
        yield from arguments_and_options(word, shared)
    if examples := getattr(module, "EXAMPLES", "").strip("\n"):
        yield "```sh"
        yield from (
            re.sub(r"(?<=\S)(\s{2,})(?=\S)", r"\1# ", line.removeprefix("  "), count=1)
            for line in examples.splitlines()
        )
        yield "```\n"


def arguments_and_options(parser: argparse.ArgumentParser, shared: set[str]) -> Iterator[str]:
    """The arguments and options of one command or word; of those that are shared only the names, with a link."""
    own = [f"- `{placeholder(argument)}`: {explanation(argument)}" for argument in arguments_of(parser)]
    also: dict[str, list[str]] = {}
    for group, options in options_of(parser).items():
        for option in options:
            if key(group, option) in shared:
                also.setdefault(group, []).append(f"`{long(option)}`")
            else:
                own.append(f"- `{spelling(option)}`: {explanation(option)}")
    if own:
        yield from (*own, "")
    if also:
        named = (f"[{group}](#{anchor(group)}) {' '.join(names)}" for group, names in also.items())
        yield f"Shared options: {'; '.join(named)}.\n"


def shared_options(
    lists: Sequence[dict[str, list[argparse.Action]]], shared: set[str], remarked: dict[str, str]
) -> Iterator[str]:
    """Each shared option once, by group."""
    groups: dict[str, dict[str, argparse.Action]] = {}
    for one in lists:
        for group, options in one.items():
            groups.setdefault(group, {}).update((key(group, o), o) for o in options if key(group, o) in shared)
    for group, found in groups.items():
        if found:
            yield f'<a id="{anchor(group)}"></a>\n**{group.capitalize()}**\n'
            if group in remarked:
                yield f"{escaped(remarked[group])}.\n"
            yield from (f"- `{spelling(option)}`: {explanation(option)}" for option in found.values())
            yield ""


def remarks(parsers: Sequence[argparse.ArgumentParser]) -> dict[str, str]:
    """What is said of a group of options as a whole; where commands differ, the fullest."""
    said = [(title(g), g.description or "") for parser in parsers for g in parser._action_groups]
    return {group: text for group, text in sorted(said, key=lambda one: len(one[1])) if text}


def title(group: argparse._ArgumentGroup) -> str:
    """The options of one end and of both are one group here."""
    return "ends" if group.title == "end" else group.title or ""


def options_of(parser: argparse.ArgumentParser) -> dict[str, list[argparse.Action]]:
    """The options that are shown, by group."""
    found: dict[str, list[argparse.Action]] = {}
    for group in parser._action_groups:
        for action in group._group_actions:
            if action.option_strings and action.help != argparse.SUPPRESS and "--help" not in action.option_strings:
                found.setdefault(title(group), []).append(action)
    return found


def arguments_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [a for a in parser._actions if not a.option_strings and not isinstance(a, argparse._SubParsersAction)]


def words_of(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parsers of a family's words, each once."""
    families = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return list({id(p): p for family in families for p in family.choices.values()}.values())


def key(group: str, option: argparse.Action) -> str:
    return f"{group}\n{spelling(option)}\n{option.help}"


def anchor(group: str) -> str:
    return "shared-" + group.replace(" ", "-")


def long(option: argparse.Action) -> str:
    return max(option.option_strings, key=len)


def spelling(option: argparse.Action) -> str:
    """`-o FILE, --output FILE` as `-o, --output FILE`."""
    value = "" if option.nargs == 0 else f" {metavar(option)}"
    return ", ".join(option.option_strings) + (f" [{value.strip()}]" if option.nargs == "?" else value)


def metavar(action: argparse.Action) -> str:
    if action.choices is not None and action.metavar is None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    name = action.metavar or (action.dest if not action.option_strings else action.dest.upper())
    return name if isinstance(name, str) else " ".join(name)


def placeholder(argument: argparse.Action) -> str:
    name = metavar(argument)
    return {"*": f"[{name}…]", "+": f"{name}…", "?": f"[{name}]"}.get(str(argument.nargs), name)


def explanation(action: argparse.Action) -> str:
    said = escaped(action.help or "")
    choices = action.choices is not None and (action.metavar is not None or not action.option_strings)
    return said or ("one of them" if choices else "its value" if action.nargs != 0 else "")


def usage(parser: argparse.ArgumentParser) -> str:
    if words_of(parser):
        return f"{parser.prog} ACTION …"
    return " ".join((parser.prog, "[OPTION…]", *map(placeholder, arguments_of(parser))))


def prose(text: str) -> str:
    """A command's text: its paragraphs; lines in columns stay as they are."""
    blocks = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.splitlines()
        if all(re.search(r"\S\s{3,}\S", line) for line in lines):
            blocks.append("\n".join(f"    {line}" for line in lines))
        else:
            blocks.append(escaped(" ".join(line.strip() for line in lines)))
    return "\n\n".join(blocks) + "\n"


def escaped(text: str) -> str:
    """Text for Markdown; what stands between backticks is code already."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([*_<>\[\]|#])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


# ---------------------------------------------------------------------------------------------------------------- errors

ADVICE = {
    "TranshipError": "",
    "InvalidArgument": "Read the message: the words, the document or the archive are wrong. Trying again does not help.",
    "InvalidReference": "Look at the carets: they stand under the mistake.",
    "NotFound": "Look at the name, the platform and the end that the message names; the hint lists what comes close.",
    "Unauthenticated": "Give credentials, or better ones: [who is asked for them](credentials.md).",
    "PermissionDenied": "Ask whoever runs the registry, or owns the folder, for the permission that the message names.",
    "RateLimited": "Wait, for `retry_after` seconds where that is known, or log in: known users may do more.",
    "Unavailable": "Try again: what has arrived is not moved again.",
    "DeadlineExceeded": "Try again, or allow more time.",
    "DataLoss": "Do not use the content. Fetch it again, from elsewhere if `side` is the source.",
    "DigestMismatch": "Likewise: the bytes are not those that the digest names. `actual` is what they are.",
    "Truncated": "Fetch it again: the end is missing.",
    "PolicyRefused": "Say that you want it: the hint names the option.",
    "PartialFailure": "Look at `failures`: the others have arrived. Running it again does only what is left.",
    "AlreadyExists": "Choose another name, or allow the old one to move.",
    "FailedPrecondition": "Bring the object into the state that the message names.",
    "CommitMismatch": "Abort the ingest and write it anew, or commit what was meant.",
    "MissingContent": "Push again. The transfer has done so once by itself.",
    "OutOfRange": "Ask for bytes that are there.",
    "Aborted": "Try again: somebody else was at it.",
    "NoSpace": "Free `needed` bytes, or go elsewhere with `--root` or `TMPDIR`. What has arrived is kept.",
    "Unsupported": "Go by another end; the message names the ability that is missing.",
    "Cancelled": "Nothing: it was wanted. The next run goes on from there.",
    "Internal": "Report it, with what `--debug` prints.",
}


ERRORS = """\
# Errors and exit codes

Everything that tranship raises on purpose is a `TranshipError`. Its `message` is one sentence that names the object, the side, what was
expected and what was found; `hint` says what to do; `side` and `descriptor` are for programs. The daemon answers with the gRPC status, the
command line with the exit code.

| class | gRPC status | exit code | worth repeating | when | what to do |
|---|---|---|---|---|---|
{rows}

Further exit codes of the command line: 0 for done; 130, 143 and 129 after SIGINT, SIGTERM and SIGHUP; 141 when whoever read the output has gone; and for
an error of the operating system the code of its nearest kin above (3 for a file that is not there, 4 for one that is not allowed, 10 for one
that is in the way, 11 for a full disk), else 1.

A failure is told on stderr as `tranship: error: …`, with its hint; `-v` adds what was being moved, `--debug` the traceback. Control
characters in names that came from outside are escaped.

For programs, `--progress json` makes every line on stderr an event, and a failure the last one: its `stage` is `error`, `event` the message,
`code` and `exitCode` as in the table, and `hint` where there is one. `--json` prints the result on stdout as one document, and nothing
there when there is none; with `--keep-going` the failures of single images stand in it as `failures`.
"""


def errors_page() -> str:
    rows = [
        f"| {'&emsp;' * depth}`{error.__name__}` | {error.code} | {error.exit_code} | {'yes' if error.retryable else ''} "
        f"| {escaped(first_sentence(error))} | {ADVICE[error.__name__]} |"
        for error, depth in tree(errors.TranshipError)
    ]
    return f"{NOTE}\n{ERRORS.format(rows=chr(10).join(rows))}"


def tree(error: type[errors.TranshipError], depth: int = 0) -> Iterator[tuple[type[errors.TranshipError], int]]:
    yield error, depth
    for child in error.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child, depth + 1)


def first_sentence(error: type) -> str:
    text = " ".join((error.__doc__ or "").split("\n\n")[0].split())
    return text[:1].upper() + text[1:]


# ---------------------------------------------------------------------------------------------------------------- faults


FAULTS_PAGE = """\
# Faults of the test registry

What `RegistryServer.fault(name, …)` can do, see [testing your own code](recipes/testing.md). Every fault also takes `times` (None: until it
is removed), `skip`, `kind`, `method` and `path`.

| fault | parameters | aimed at | strikes | effect |
|---|---|---|---|---|
{rows}
"""


def faults_page() -> str:
    rows = []
    for name, kind in FAULTS.items():
        said = (one if value is REQUIRED else f"{one}={value!r}" for one, value in kind.parameters.items())
        parameters, aim = (", ".join(f"`{one}`" for one in some) for some in (said, kind.aim))
        times = "until removed" if kind.times == ALWAYS else "once" if kind.times == 1 else f"{kind.times} times"
        rows.append(f"| `{name}` | {parameters} | {aim} | {times} | {escaped(kind.effect)} |")
    return f"{NOTE}\n{FAULTS_PAGE.format(rows=chr(10).join(rows))}"


PAGES: dict[str, Callable[[], str]] = {"commands.md": commands, "errors.md": errors_page, "faults.md": faults_page}

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
