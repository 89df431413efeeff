"""Groups of options that commands share, and what they mean as values of the library."""

from __future__ import annotations

import argparse
import os
import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tranship.errors import InvalidArgument, printable

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from tranship.engine.run import Limits
    from tranship.engine.selection import Selection
    from tranship.store import Store as OpenStore

PROGRESS = ("auto", "tty", "plain", "json", "none")


class EndOption(NamedTuple):
    """An option of one end of a transfer.

    One of both sides is written `--src-NAME` and `--dest-NAME`, and `--NAME` for the two together; one of a side alone is
    `--NAME`. `settings` are argparse's. Which ends take it is their business: `ends.py`.
    """

    name: str
    settings: Mapping[str, Any]
    side: Literal["both", "src", "dest"] = "both"


def _option(name: str, help_: str, side: Literal["both", "src", "dest"] = "both", **settings: Any) -> EndOption:
    """A flag, unless a metavar or choices say that it takes a value."""
    if not settings:
        settings["action"] = "store_true"
    return EndOption(name, {"help": help_, **settings}, side)


STORE_OPTIONS = (
    _option("root", "the store's folder (else TRANSHIP_ROOT, else the user's own)", metavar="DIR"),
    _option("namespace", "the store's namespace (else default)", metavar="NAME"),
)
FILE_OPTIONS = (
    _option("link", "hard-link the store's files into an OCI layout", "dest"),
    _option("skip-compatibility-manifest", "write an archive without docker's manifest.json", "dest"),
    _option("recompress", "turn zstd layers into gzip in a docker-archive, for docker before 23", "dest"),
    _option(
        "compression",
        "of the archive as a whole (else by the name's end)",
        "dest",
        choices=("none", "gzip", "zstd"),
    ),
)
REGISTRY_OPTIONS = (
    _option("username", "log in to the registry as this user", metavar="NAME"),
    _option("password-stdin", "… with the password that comes on standard input"),
    _option(
        "creds",
        "both at once; better not where others may see them in the list of processes",
        metavar="USER[:PASSWORD]",
    ),
    _option("authfile", "find credentials in this file, and in no other", metavar="FILE"),
    _option("plain-http", "speak http to the registry (at this machine that needs no saying)"),
    _option("insecure", "accept any certificate of the registry"),
    _option("ca-file", "trust this authority for the registry's certificate, too", metavar="FILE"),
    _option("cert-file", "show the registry this certificate", metavar="FILE"),
    _option("key-file", "… whose key is in this file", metavar="FILE"),
    _option(
        "hosts-dir",
        "folder of containerd's hosts.toml files: mirrors, certificates (else TRANSHIP_HOSTS_DIR, else /etc/containerd/certs.d"
        " and /etc/docker/certs.d)",
        metavar="DIR",
    ),
    _option(
        "header", "send this with every request to the registry (repeat)", metavar="'NAME: VALUE'", action="append"
    ),
)
PULL_OPTIONS = (
    _option("foreign-urls", "fetch layers that the registry lacks from the URLs that the manifest names", "src"),
)
PUSH_OPTIONS = (
    _option("scoped", "below HOST/PREFIX/, keep the host of each image's name too", "dest"),
    _option("chunk", "upload blobs in pieces of this size (else whole)", "dest", metavar="SIZE"),
)
END_OPTIONS: tuple[EndOption, ...] = (
    *STORE_OPTIONS,
    _option("durability", "survive a power cut, or the process alone", "dest", choices=("full", "process")),
    *FILE_OPTIONS,
    *REGISTRY_OPTIONS,
    *PULL_OPTIONS,
    *PUSH_OPTIONS,
)


# ------------------------------------------------------------------------------------------------------- for all commands


def common(parser: ArgumentParser, *, store: bool = True) -> None:
    """Add what every command takes; `store`: it works on one store."""
    group = parser.add_argument_group("general")
    if store:
        group.add_argument("--root", metavar="DIR", help="the store's folder (else TRANSHIP_ROOT, else the user's own)")
        group.add_argument(
            "-n", "--namespace", metavar="NAME", default=None, help="the store's namespace (else default)"
        )
    group.add_argument("--json", action="store_true", help="print one JSON document")
    group.add_argument("--progress", choices=PROGRESS, default="auto", help="how progress is shown, on stderr")
    group.add_argument("-q", "--quiet", action="store_true", help="print results and errors alone")
    group.add_argument("-v", "--verbose", action="store_true", help="say more, with errors too")
    group.add_argument("--debug", action="store_true", help="show tracebacks")


def namespace_of(args: Namespace) -> str:
    """The namespace that a command works in."""
    return args.namespace or "default"


def store_of(args: Namespace, *, create: bool = False) -> OpenStore:
    """Open the store that a command works on; NotFound when it is not there, unless it is to be made."""
    from tranship.endpoints.store import Store

    return Store(root=args.root).open(create=create)


def may_lack_store(args: Namespace) -> bool:
    """Is the store where nobody has said that it is, and not there yet?"""
    from tranship.endpoints.store import default_root

    said = args.root or os.environ.get("TRANSHIP_ROOT")
    return not said and not os.path.isdir(default_root(os.environ, os.getuid()))


# ---------------------------------------------------------------------------------------------------------- of transfers


def ends(parser: ArgumentParser, *, source: bool = True, destination: bool = True, omit: Sequence[str] = ()) -> None:
    """Add the options of one or both ends, from the table, but for those to `omit`."""
    place = parser.add_argument_group("ends" if source and destination else "end")
    registry = parser.add_argument_group("registry")
    of_registries = names_of(REGISTRY_OPTIONS, PULL_OPTIONS, PUSH_OPTIONS)
    sides = {"both", *(["src"] if source else []), *(["dest"] if destination else [])}
    for name, settings, side in END_OPTIONS:
        if name in omit or side not in sides:
            continue
        group = registry if name in of_registries else place
        short = ("-n",) if name == "namespace" else ("-u",) if name == "username" else ()
        group.add_argument(*short, f"--{name}", default=None, **settings)
        if side == "both" and source and destination:
            hidden = {**settings, "help": argparse.SUPPRESS}
            group.add_argument(f"--src-{name}", default=None, **hidden)
            group.add_argument(f"--dest-{name}", default=None, **hidden)
    if source and destination:
        place.description = "for one end alone: --src-root, --dest-root, --src-namespace, --dest-namespace"
        alone = names_of([option for option in END_OPTIONS if option.side != "both" and option.name in of_registries])
        registry.description = f"for one end alone: --src-NAME and --dest-NAME, of all but {', '.join(alone)}"


def registry(parser: ArgumentParser) -> None:
    """Add the options of commands that only ask registries, or other ends, and move nothing."""
    ends(parser, destination=False, omit=names_of(STORE_OPTIONS, PULL_OPTIONS))
    network(parser.add_argument_group("speed"))


def names_of(*groups: Sequence[EndOption]) -> list[str]:
    """The names of options, for `omit`."""
    return [option.name for group in groups for option in group]


def of_end(args: Namespace, side: str) -> dict[str, Any]:
    """What the options say of one end (`src` or `dest`); what was not said is absent."""
    said: dict[str, Any] = {}
    for name, _, of_side in END_OPTIONS:
        plain = getattr(args, name.replace("-", "_"), None)
        own = getattr(args, f"{side}_{name.replace('-', '_')}", None)
        value = own if own is not None else plain
        if value is not None and of_side in ("both", side):
            said[name] = value
    return said


def selection(parser: ArgumentParser) -> None:
    """Add what chooses among an image's parts."""
    group = parser.add_argument_group("selection")
    group.add_argument(
        "--platform", metavar="P", action="append", default=[], help="these platforms alone (repeat, or with commas)"
    )
    group.add_argument("--all-platforms", action="store_true", help="every platform; one that is absent is an error")
    group.add_argument(
        "--index",
        choices=("keep", "single", "rewrite"),
        help="an index that is taken in part: leave it, put its one manifest in its place, or write a new one",
    )
    group.add_argument(
        "--referrers",
        metavar="TYPE",
        nargs="?",
        const="",
        help="take signatures, SBOMs and the like along, or one type of them (--referrers=TYPE)",
    )
    group.add_argument(
        "--skip-non-distributable", action="store_true", help="leave out layers that may not be passed on"
    )
    group.add_argument("--skip-missing", action="store_true", help="leave out what the source lacks")


def selection_of(args: Namespace) -> Selection:
    """The library's value."""
    from tranship.engine.selection import Selection

    return Selection(
        platforms=tuple(platforms_of(args)),
        all_platforms=args.all_platforms,
        index=args.index,
        referrers=args.referrers,
        skip_non_distributable=args.skip_non_distributable,
        skip_missing=args.skip_missing,
    )


def platforms_of(args: Namespace) -> list[Any]:
    """The platforms of `--platform`, each once."""
    from tranship.model.platform import Platform

    words = [word.strip() for said in args.platform for word in said.split(",")]
    return [Platform.parse(word) for word in dict.fromkeys(words) if word]


def transfers(parser: ArgumentParser, *, several: bool = True) -> None:
    """Add how a transfer is made: with what care, how fast, and what is told of it."""
    group = parser.add_argument_group("care")
    group.add_argument("--dry-run", action="store_true", help="show the plan, with bytes, and do nothing")
    group.add_argument("--no-clobber", action="store_true", help="fail rather than replace an image or a file")
    if several:
        group.add_argument("--keep-going", action="store_true", help="when a source fails, go on with the others")
    group.add_argument(
        "--verification",
        choices=("parallel", "trusted", "strict"),
        default="parallel",
        help="how bytes in files are checked: while they are copied; before (strict); or trusted: the store's own files are "
        "taken as they are, and large blobs of an archive or layout come in at your word, marked, and are hashed before "
        "they leave again",
    )
    group.add_argument(
        "--digest-file", metavar="FILE", help="write the digests of the images that arrived, a line each; - is stdout"
    )
    group = parser.add_argument_group("speed")
    group.add_argument("--jobs", metavar="N", type=int, help="blobs at once")
    network(group)
    group.add_argument(
        "--ranges",
        metavar="N",
        type=int,
        help="connections for one large blob, where the first is slow: some registries throttle each",
    )
    group.add_argument(
        "--max-scratch", metavar="SIZE", help="at most so many bytes of scratch for an archive from a pipe"
    )


def network(group: Any) -> None:
    """Add how registries are asked."""
    group.add_argument("--limit-rate", metavar="SIZE", help="at most so many bytes a second from and to registries")
    group.add_argument(
        "--retries", metavar="N", type=int, help="attempts after the first, when a registry fails (else 4)"
    )
    group.add_argument("--timeout", metavar="TIME", help="give up on a registry that is silent for so long (else 60s)")


def limits_of(args: Namespace) -> Limits:
    """The library's value."""
    from tranship.engine.run import Limits

    said: dict[str, Any] = {}
    for name, least in (("jobs", 1), ("ranges", 1), ("retries", 0)):
        number = getattr(args, name, None)
        if number is not None:
            if number < least:
                raise InvalidArgument(f"--{name} is a number from {least}, found {number}")
            said[name] = number
    for option, name in (("max_scratch", "max_scratch"), ("limit_rate", "rate")):
        size = getattr(args, option, None)
        if size is not None:
            said[name] = bytes_of(size)
    if said.get("rate") == 0:
        raise InvalidArgument("--limit-rate 0 would move nothing")
    if getattr(args, "timeout", None) is not None:
        said["timeout"] = duration_of(args.timeout).total_seconds()
        if not said["timeout"]:
            raise InvalidArgument("--timeout 0s would give up at once")
    return Limits(**said)


# --------------------------------------------------------------------------------------------------------- kinds of words

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kKMGT]?)(i?)[bB]?")
_DURATION = re.compile(r"(?:[0-9]+[smhd])+")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def bytes_of(text: str) -> int:
    """`500M`, `1.5GiB`, `4096`."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InvalidArgument(f"a size is written 4096, 500M or 1.5GiB, found {printable(repr(text))}")
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** " kMGT".index(found[2].replace("K", "k") or " "))


def duration_of(text: str) -> timedelta:
    """`90s`, `24h`, `1d12h`."""
    from datetime import timedelta

    if not _DURATION.fullmatch(text):
        raise InvalidArgument(f"a time is written 90s, 30m, 24h or 1d12h, found {printable(repr(text))}")
    return timedelta(seconds=sum(int(n) * _SECONDS[unit] for n, unit in re.findall(r"([0-9]+)([smhd])", text)))


def pairs_of(words: Sequence[str], *, empty: bool = True) -> dict[str, str]:
    """`KEY=VALUE` words; without `empty` a value must be there."""
    pairs = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals or not (value or empty):
            raise InvalidArgument(f"expected KEY=VALUE, found {printable(repr(word))}")
        pairs[key] = value
    return pairs


def source_date_epoch() -> int | None:
    """SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/), where it is set."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        raise InvalidArgument(f"SOURCE_DATE_EPOCH is seconds since 1970, found {printable(repr(text))}")
    return int(text)
