"""Completion scripts, made of the parsers themselves: every command, option and choice, with its help where a shell shows it.

A script knows the words by heart and asks the program only for names of images, so that completing costs nothing.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NamedTuple

from tranship.cli import catalogue
from tranship.cli.parsing import parser_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMES = ("NAME", "END", "SRC", "DST")  # metavars of arguments that names of the store complete


class Option(NamedTuple):
    """An option: how it is written, what it is for, its choices, and whether a value follows."""

    words: tuple[str, ...]
    help: str
    choices: tuple[str, ...]
    takes_value: bool


class Place(NamedTuple):
    """What may come behind the words of `path`."""

    path: tuple[str, ...]
    aliases: tuple[str, ...]  # of the last word of the path
    summary: str
    options: tuple[Option, ...]
    names: bool  # names of the store
    choices: tuple[str, ...]  # of an argument


def places() -> list[Place]:
    """Every command and every word of a family."""
    return [place for command in catalogue.every().values() for place in _of(command)]


def _of(command: catalogue.Command) -> Iterator[Place]:
    parser = parser_of(command)
    yield _place((command.name,), command.aliases, command.summary, parser)
    for action in parser._actions:  # noqa: SLF001  # argparse shows its actions no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            inner: dict[int, list[str]] = {}
            for word, one in action.choices.items():
                inner.setdefault(id(one), []).append(word)
            for words in inner.values():
                one = action.choices[words[0]]
                yield _place((command.name, words[0]), tuple(words[1:]), one.description or "", one)


def _place(path: tuple[str, ...], aliases: tuple[str, ...], summary: str, parser: argparse.ArgumentParser) -> Place:
    actions = [a for a in parser._actions if a.help != argparse.SUPPRESS]  # noqa: SLF001
    positional = [a for a in actions if not a.option_strings and not isinstance(a, argparse._SubParsersAction)]  # noqa: SLF001
    return Place(
        path,
        aliases,
        summary,
        tuple(
            Option(tuple(a.option_strings), " ".join((a.help or "").split()), _choices(a), a.nargs != 0)
            for a in actions
            if a.option_strings
        ),
        any(a.metavar in _NAMES for a in positional),
        tuple(choice for a in positional for choice in _choices(a)),
    )


def _choices(action: argparse.Action) -> tuple[str, ...]:
    return tuple(map(str, action.choices or ()))


def _below(path: tuple[str, ...], all_places: list[Place]) -> list[Place]:
    return [place for place in all_places if place.path[:-1] == path]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# ------------------------------------------------------------------------------------------------------------------ bash

_BASH = """\
# bash completion for tranship; made by `tranship completion bash`
_tranship() {{
  local cur prev path= word i words= names=
  cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}}
  # a name with colons comes in several words
  if declare -F _get_comp_words_by_ref >/dev/null; then _get_comp_words_by_ref -n : cur prev; fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path/${{COMP_WORDS[i]}}" in
{walk}
    esac
  done
  case "$path/$prev" in
{values}
  esac
  case "$path" in
{places}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  if [[ $cur != -* && $names ]]; then
    COMPREPLY+=($(compgen -W "$(tranship ls -q 2>/dev/null)" -- "$cur"))
  fi
  if declare -F __ltrim_colon_completions >/dev/null; then __ltrim_colon_completions "$cur"; fi
}}
complete -o default -F _tranship tranship
"""


def bash() -> str:
    """The script for bash."""
    everything = places()
    walk, values, what = _cases(everything)
    return _BASH.format(walk=walk, values=values, places=what)


def _cases(everything: list[Place]) -> tuple[str, str, str]:
    """The bodies of three `case`s: from word to place, choices of options, and what may come at a place."""
    walk, values, what = [], [], [f'    "") words="{_first_words(everything)}" ;;']
    for place in everything:
        here, before = "/".join(place.path), "/".join(place.path[:-1])
        walk.append(
            f"      {'|'.join(f'{before}/{word}' for word in (place.path[-1], *place.aliases))}) path={here} ;;"
        )
        for option in place.options:
            if option.choices:
                patterns = "|".join(f"{here}/{word}" for word in option.words)
                values.append(
                    f'    {patterns}) COMPREPLY=($(compgen -W "{" ".join(option.choices)}" -- "$cur")); return ;;'
                )
            elif option.takes_value:
                patterns = "|".join(f"{here}/{word}" for word in option.words)
                values.append(f"    {patterns}) return ;;")
        inner = [word for one in _below(place.path, everything) for word in (one.path[-1], *one.aliases)]
        options = [option.words[-1] for option in place.options]
        names = " names=1" if place.names else ""
        what.append(f'    {here}) words="{" ".join((*inner, *place.choices, *options))}"{names} ;;')
    return "\n".join(walk), "\n".join(values), "\n".join(what)


def _first_words(everything: list[Place]) -> str:
    return " ".join(word for one in _below((), everything) for word in (one.path[-1], *one.aliases))


# ------------------------------------------------------------------------------------------------------------------- zsh

_ZSH = """\
#compdef tranship
# zsh completion for tranship; made by `tranship completion zsh`
_tranship() {{
  local here= word i names=
  local -a found
  for ((i = 2; i < CURRENT; i++)); do
    case "$here/${{words[i]}}" in
{walk}
    esac
  done
  case "$here/${{words[CURRENT-1]}}" in
{values}
  esac
  case "$here" in
{places}
  esac
  _describe -t words word found
  if [[ -n $names && $PREFIX != -* ]]; then
    local -a images
    images=(${{(f)"$(tranship ls -q 2>/dev/null)"}})
    compadd -a images
    _files
  fi
}}
compdef _tranship tranship
"""


def zsh() -> str:
    """The script for zsh."""
    everything = places()
    walk, values, what = [], [], [f'    "") found=({_described(_below((), everything))}) ;;']
    for place in everything:
        here, before = "/".join(place.path), "/".join(place.path[:-1])
        walk.append(
            f"      {'|'.join(f'{before}/{word}' for word in (place.path[-1], *place.aliases))}) here={here} ;;"
        )
        for option in place.options:
            patterns = "|".join(f"{here}/{word}" for word in option.words)
            if option.choices:
                values.append(f"    {patterns}) compadd {' '.join(option.choices)}; return ;;")
            elif option.takes_value:
                values.append(f"    {patterns}) _files; return ;;")
        options = " ".join(_quoted(f"{option.words[-1]}:{option.help.replace(':', ' ')}") for option in place.options)
        inner = _described(_below(place.path, everything))
        names = " names=1" if place.names else ""
        words = " ".join(filter(None, (inner, *place.choices, options)))
        what.append(f"    {here}) found=({words}){names} ;;")
    return _ZSH.format(walk="\n".join(walk), values="\n".join(values), places="\n".join(what))


def _described(some: list[Place]) -> str:
    return " ".join(_quoted(f"{one.path[-1]}:{one.summary.replace(':', ' ')}") for one in some)


# ------------------------------------------------------------------------------------------------------------------ fish

_FISH = """\
# fish completion for tranship; made by `tranship completion fish`
function __tranship_at
  set -l here
  for word in (commandline -opc)[2..]
    switch "$here/$word"
{walk}
    end
  end
  test "$here" = "$argv[1]"
end
complete -c tranship -f -n '__tranship_at ""'
"""


def fish() -> str:
    """The script for fish."""
    everything = places()
    walk, lines = [], []
    for place in everything:
        here, before = "/".join(place.path), "/".join(place.path[:-1])
        patterns = " ".join(_quoted(f"{before}/{word}") for word in (place.path[-1], *place.aliases))
        walk.append(f"      case {patterns}\n        set here {here}")
        lines.append(_fish_line(before, f"-a {place.path[-1]}", place.summary, "-f"))
        for option in place.options:
            written = " ".join(f"-l {w[2:]}" if w.startswith("--") else f"-s {w[1:]}" for w in option.words)
            value = (
                f"-x -a {_quoted(' '.join(option.choices))}" if option.choices else "-r" if option.takes_value else ""
            )
            lines.append(_fish_line(here, written, option.help, value))
        lines += [_fish_line(here, f"-a {choice}", "", "-f") for choice in place.choices]
        if place.names:
            lines.append(_fish_line(here, "-a '(tranship ls -q 2>/dev/null)'", "", ""))
    return _FISH.format(walk="\n".join(walk)) + "\n".join(lines) + "\n"


def _fish_line(here: str, what: str, description: str, more: str) -> str:
    condition = f"-n '__tranship_at \"{here}\"'"
    about = f"-d {_quoted(description)}" if description else ""
    return " ".join(filter(None, ("complete -c tranship", condition, what, more, about)))
