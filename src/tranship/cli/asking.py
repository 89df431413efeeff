"""What the program asks for while it runs: passwords, yes or no; and who may read standard input."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tranship.errors import InvalidArgument

if TYPE_CHECKING:
    from argparse import Namespace

    from tranship.model.secret import Secret

_MAX_PASSWORD = 64 * 1024  # bytes; tokens of some registries have thousands


def take_stdin(args: Namespace, what: str) -> None:
    """Let one reader have standard input; InvalidArgument for the second."""
    if "stdin_is" in args:
        raise InvalidArgument(
            f"standard input is {args.stdin_is} already, so it cannot be {what}",
            hint="`tranship login` keeps passwords for later",
        )
    args.stdin_is = what


def password(args: Namespace, of: str, *, from_stdin: bool) -> Secret:
    """The password of somebody at a registry: what standard input holds, or what is typed, without echo."""
    from tranship.model.secret import Secret

    known: dict[str, Secret] = vars(args).setdefault("passwords", {})
    if of in known:  # both ends of a copy may be at this registry
        return known[of]
    if from_stdin and not _is_terminal(sys.stdin):
        take_stdin(args, f"the password of {of}")
        said = _one_line(sys.stdin.buffer.read(_MAX_PASSWORD + 1))
    elif _is_terminal(sys.stdin):
        import getpass

        said = getpass.getpass(f"password of {of}: ", sys.stderr)
    else:
        raise InvalidArgument(
            f"there is no password of {of}, and no terminal to ask at",
            hint="pass it on standard input: --password-stdin",
        )
    if not said:
        raise InvalidArgument(f"the password of {of} is empty")
    known[of] = Secret(said)
    return known[of]


def user_name(of: str) -> str:
    """Ask who somebody is."""
    if not _is_terminal(sys.stdin):
        raise InvalidArgument(f"who logs in to {of}?", hint="say --username")
    print(f"user name at {of}: ", end="", file=sys.stderr, flush=True)
    said = sys.stdin.readline().strip()
    if not said:
        raise InvalidArgument("there is no user name")
    return said


def confirmed(question: str) -> bool:
    """Ask yes or no; where there is nobody to be asked, a script knows what it does."""
    if not (_is_terminal(sys.stdin) and _is_terminal(sys.stderr)):
        return True
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _one_line(data: bytes) -> str:
    line = data.removesuffix(b"\n").removesuffix(b"\r")
    try:
        if len(data) <= _MAX_PASSWORD and b"\n" not in line and b"\0" not in line:
            return line.decode()
    except UnicodeDecodeError:
        pass
    raise InvalidArgument("a password is one line of text")


def _is_terminal(stream: object) -> bool:
    return bool(getattr(stream, "isatty", lambda: False)())
