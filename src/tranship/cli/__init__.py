"""The command line: the only place that reads the environment, prints, and exits.

`main` finds the command's module by name, and that module alone is imported: `tranship version` costs about a bare Python.

    catalogue   the commands: name, module, one line each
    dispatch    from the words typed to an exit code: help, errors, signals, closed pipes
    habits      options of other tools that mean the same
    options     groups of options that commands share, and what they mean as values
    ends        `docker://REF`, `store:NAME`, `oci:DIR:TAG`, `app.tar`, … as endpoint values
    registries  what is particular to registries: their options, and which password goes where
    asking      passwords, yes or no, and who may read standard input
    looking     ends opened for a look; `images` reads what is there of an image, `listing` what a list shows of thousands
    moving      one transfer, or the plan of one, with its progress and its results
    failures    what is told of an error
    hearing     what is told of the library's log
    commands/   a module each: `arguments(parser)` and `run(args)`
"""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn


def program() -> NoReturn:
    """The program `tranship`: `main`, and then the end of the process at once.

    Python's own way out frees each module and object first: 12 of a push's 120 ms. A command has closed what it opened when it
    returns; and a thread that hangs in a read cannot hold up the end.
    """
    gc.set_threshold(10_000)  # most of what a start makes is for good: looked at less often, another 7 ms
    code = main()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # full, or closed: the command has answered for what it printed
            code = code or 1
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (the table is in `tranship.errors`)."""
    _open_what_was_closed()
    words = list(sys.argv[1:] if argv is None else argv)
    if words in (["version"], ["--version"], ["-V"]):  # without the machinery, for scripts that ask often
        from tranship.version import __version__

        try:
            print("tranship", __version__, flush=True)
        except OSError:
            words = ["version"]  # the machinery knows what to say of a full disk or a closed pipe
        else:
            return 0
    from tranship.cli.dispatch import run

    return run(words)


def _open_what_was_closed() -> None:
    """Put /dev/null where a standard stream was closed (`>&-`): else the next file that is opened stands there."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # by number: each open takes the lowest
        if getattr(sys, name) is None:
            setattr(sys, name, open("/dev/null", mode, encoding="utf-8"))  # noqa: SIM115  # for good
