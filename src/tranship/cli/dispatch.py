"""From the words typed to an exit code: which command, its help, its errors, signals, and closed pipes."""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

from tranship.cli import catalogue, failures
from tranship.errors import Cancelled, InvalidArgument, printable

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from tranship.cli.interruption import Interruption

EXIT_PIPE = 141  # 128 + SIGPIPE: whoever read us has gone, as for any other program in a pipe
_GLOBAL = {"--root": 1, "--namespace": 1, "-n": 1, "--progress": 1}  # options before the command, and their values
_GLOBAL |= dict.fromkeys(("-q", "--quiet", "-v", "--verbose", "--debug", "--json"), 0)


def run(words: Sequence[str]) -> int:
    """Run the command that the words name."""
    from tranship.cli.interruption import Interruption

    with Interruption() as interruption:
        try:
            try:
                return _run(words, interruption)
            finally:
                sys.stdout.flush()
        except (Cancelled, KeyboardInterrupt) as error:
            if interruption.signal is None and isinstance(error, Cancelled):
                return _tell(error, words)
            return _say(failures.interruption(interruption.word, interruption.exit_code, interruption.remark), words)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python flushes and complains at its end
            return EXIT_PIPE
        except Exception as error:  # noqa: BLE001  # the last place: everything becomes a message and a code here
            return _tell(error, words)


def _run(words: Sequence[str], interruption: Interruption) -> int:
    before, rest = _split(words)
    if before and not rest:
        raise InvalidArgument(f"no command follows {printable(words[-1])}", hint="`tranship --help` lists them")
    if not rest or rest[0] in ("help", "-h", "--help"):
        return _help(rest[1:], asked=bool(rest))
    command = catalogue.find(rest[0])
    if command is None:
        raise InvalidArgument(f"there is no command {printable(repr(rest[0]))}", hint=_nearest(rest[0]))
    from tranship.cli.parsing import module_of, parse

    try:
        args: Namespace = parse(command, _arguments(rest, before))
    except SystemExit as exit_:  # argparse has printed its help
        return int(exit_.code or 0)
    args.interruption = interruption
    from tranship.cli.hearing import log_told

    with log_told(args):
        return int(module_of(command).run(args) or 0)


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options that stand before the command, as users of ctr and docker write them, and the rest."""
    at = 0
    while at < len(words) and words[at].split("=")[0] in _GLOBAL:
        at += 1 + (_GLOBAL[words[at].split("=")[0]] if "=" not in words[at] else 0)
    return list(words[:at]), list(words[at:])


def _arguments(rest: Sequence[str], before: Sequence[str]) -> list[str]:
    """The command's own words with those from before it behind them, where a word of a family (`content ls`) takes them."""
    end = rest.index("--") if "--" in rest else len(rest)
    return [*rest[1:end], *before, *rest[end:]]


# ---------------------------------------------------------------------------------------------------------------- errors


def _tell(error: BaseException, words: Sequence[str]) -> int:
    """Print what went wrong and return the exit code."""
    if "--debug" in words:
        import traceback

        traceback.print_exception(error)
    return _say(failures.failure(error), words)


def _say(what: failures.Failure, words: Sequence[str]) -> int:
    with_notes = not {"-v", "--verbose", "--debug"}.isdisjoint(words)
    failures.tell(what, as_json=_asks_for_json(words), with_notes=with_notes)
    return what.exit_code


def _asks_for_json(words: Sequence[str]) -> bool:
    """Is every line on stderr to be an event? Looked up here since the words may be what is wrong."""
    return "--progress=json" in words or ("--progress", "json") in pairwise(words)


def _nearest(word: str) -> str:
    from difflib import get_close_matches

    known = [name for c in catalogue.every().values() for name in (c.name, *c.aliases)]
    close = get_close_matches(word, known, n=3)
    return f"did you mean {' or '.join(close)}?" if close else "`tranship --help` lists them"


# ------------------------------------------------------------------------------------------------------------------ help


def _help(words: Sequence[str], *, asked: bool) -> int:
    command = catalogue.find(words[0]) if words else None
    if command is not None:
        from tranship.cli.parsing import parser_of

        parser_of(command).print_help()
        return 0
    print(overview(), file=sys.stdout if asked else sys.stderr)
    return 0 if asked else InvalidArgument.exit_code


def overview() -> str:
    """The help of the whole program."""
    from tranship.version import __version__

    lines = [
        f"tranship {__version__}: moves container images: registry, store, archive, OCI layout, any to any.",
        "",
        "usage: tranship COMMAND [OPTION…] [ARGUMENT…]",
    ]
    for title, commands in catalogue.GROUPS.items():
        lines += ["", f"{title}:"]
        lines += [f"  {', '.join((c.name, *c.aliases)):<26} {c.summary}" for c in commands]
    lines += [
        "",
        "Ends of a copy:",
        "  docker://REF, HOST/PATH:TAG",
        "                             a registry; docker://HOST/PREFIX/ for several images",
        "  store:NAME                 the local store (--root, TRANSHIP_ROOT; --namespace)",
        "  archive:FILE, *.tar, *.tar.gz, *.tar.zst, -",
        "                             an archive: detected when read; an OCI layout with docker's manifest when written",
        "  oci-archive:FILE[:REF], docker-archive:FILE[:REF]",
        "                             one format, said aloud",
        "  oci:DIR[:REF]              an OCI layout directory",
        "  containerd:NAME, containerd://NAMESPACE/NAME?address=SOCKET",
        "                             a running containerd, or a tranship daemon (CONTAINERD_ADDRESS)",
        "  docker-daemon:NAME, podman:NAME",
        "                             an engine, by its socket (DOCKER_HOST, CONTAINER_HOST)",
        "  Without a name, all images there as a source; the source's names are kept at a destination.",
        "",
        "`tranship COMMAND --help` tells more, with examples. Exit codes: 0 done, 2 wrong usage, 3 not found, 4 not allowed,",
        "5 rate limited, 6 not reachable, 7 corrupt data, 8 against a rule, 9 some of several failed,",
        "10 exists or wrong state, 11 no space, 12 not supported, 130 interrupted.",
    ]
    return "\n".join(lines)
