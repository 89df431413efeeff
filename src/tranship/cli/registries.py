"""Ends at registries: what their options mean, and which password goes where."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from tranship.cli import options
from tranship.endpoints.registry import Registry
from tranship.engine.run import Run
from tranship.errors import InvalidArgument, NotFound, printable
from tranship.formats.hosts import check_header, default_host
from tranship.model.reference import Reference
from tranship.model.secret import Credential, Secret

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Sequence

    from tranship.cli.ends import End
    from tranship.endpoints.registry.session import Session

_HOST = re.compile(r"(?:localhost|[0-9]+(?:\.[0-9]+){3}|\[[^/\]]*\])(?::[0-9]+)?|[^/:@]+\.[^/:@]+:[0-9]+")
_HOST_WITH_DOT = re.compile(r"[^/:@]+\.[^/:@]+")


def value_of(end: End) -> Registry:
    """An image at a registry; as a destination also `HOST/PREFIX/`."""
    _refuse_host(end.rest)
    value = _plain(end, (end.rest,))
    return replace(value, credential=_credential(end, [_host(value, end)]))


def of_names(args: Namespace, names: Sequence[str]) -> Registry:
    """The registries to which images go by their own full names. InvalidArgument for a name that says no registry."""
    from tranship.cli.ends import End

    end = End(args, "docker://", "dest")
    hosts: list[str] = []
    for name in names:
        found = Reference.parse(name)
        if str(found) != name:
            raise InvalidArgument(f"{printable(name)} names no registry", hint="say where the image is to go: NAME REF")
        hosts.append(found.domain)
    value = _plain(end, ())
    credential = _credential(end, hosts)
    if credential is None:
        return value
    registry = (hosts[0], default_host(hosts[0]).authority)  # the only one there is
    return replace(value, credential=lambda host, _repository: credential if host in registry else None)


def _plain(end: End, names: tuple[str, ...]) -> Registry:
    """All but the credential."""
    value = Registry(
        names,
        scoped=end.take("scoped", False),
        auth_file=_existing(end.take("authfile"), "--authfile", os.path.isfile),
        hosts_dir=_existing(end.take("hosts-dir"), "--hosts-dir", os.path.isdir),
        plain_http=end.take("plain-http", False),
        insecure=end.take("insecure", False),
        ca_file=_existing(end.take("ca-file"), "--ca-file", os.path.isfile),
        cert_file=_existing(end.take("cert-file"), "--cert-file", os.path.isfile),
        key_file=_existing(end.take("key-file"), "--key-file", os.path.isfile),
        headers=tuple(map(_header, end.take("header", ()))),
        clobber=not getattr(end.args, "no_clobber", False),
        chunk=_chunk(end.take("chunk")),
        foreign_urls=end.take("foreign-urls", False),
    )
    if value.key_file and not value.cert_file:
        raise InvalidArgument("--key-file is the key of a certificate", hint="say --cert-file too")
    return value


def spelled(text: str) -> str:
    """A reference, which may be bare, as an end. InvalidArgument for an end of another kind."""
    from tranship.cli.ends import refuse_foreign, split

    refuse_foreign(text)
    scheme, rest = split(text)
    if scheme not in (None, "docker"):
        raise InvalidArgument(
            f"{printable(text)} is not at a registry", hint=f"if it is, write docker://{printable(text)}"
        )
    return f"docker://{rest}"


def reference(text: str) -> Reference:
    """`docker://REF` or `REF`, with the tag and digest that it says and no others. InvalidReference."""
    bare = spelled(text).removeprefix("docker://")
    _refuse_host(bare, _HOST_WITH_DOT)
    return Reference.parse(bare, None)


def _refuse_host(text: str, further: re.Pattern[str] | None = None) -> None:
    """Tell a registry from an image of Docker Hub, which a word without a slash otherwise is."""
    if _HOST.fullmatch(text) or (further is not None and further.fullmatch(text)):
        shown = printable(text)
        raise InvalidArgument(
            f"{shown} is a registry: which repository?",
            hint=f"write {shown}/REPOSITORY:TAG, or {shown}/ as a place for images; "
            f"`tranship catalog {shown}` lists what is there",
        )


def repository(text: str) -> Reference:
    """A repository, without tag and digest. InvalidArgument for anything else."""
    found = reference(text)
    if found.object:
        raise InvalidArgument(f"{printable(text)} is an image", hint=f"the repository is {found.repository}")
    return found


def host_of(text: str) -> str:
    """A registry's `HOST[:PORT]`. InvalidArgument for anything else."""
    host = text.removeprefix("docker://").removeprefix("https://").rstrip("/")
    if "/" in host or not host:
        raise InvalidArgument(f"{printable(repr(text))} is no registry: write HOST or HOST:PORT")
    if host in ("docker.io", "index.docker.io"):
        return "docker.io"
    named = host if host == "localhost" or any(c in host for c in ".:") else f"{host}:443"
    return Reference.parse(f"{named}/x").domain.removesuffix(":443" if named != host else "")


def host_and_path(text: str) -> tuple[str, str]:
    """`HOST[/PATH]`: what a password is for. InvalidArgument for anything else."""
    host, slash, path = text.removeprefix("docker://").removeprefix("https://").rstrip("/").partition("/")
    host = host_of(host)
    if slash:
        found = Reference.parse(f"{host}/{path}", None)
        return host, path[: len(path) - len(found.object) - 1] if found.object else path
    return host, ""


def file_to_keep_in(args: Namespace) -> str:
    """The credential file that `login` writes and `logout` clears: docker's, unless another one is named."""
    from tranship.http.credentials import docker_path

    place = args.authfile or os.environ.get("REGISTRY_AUTH_FILE") or docker_path(os.environ)
    if not place:
        raise NotFound("there is no home folder for docker's config.json", hint="name a file: --authfile")
    return str(place)


@contextlib.contextmanager
def session(args: Namespace, text: str) -> Iterator[Session]:
    """Connections to the registry of a reference, as the options say, for what is no transfer."""
    from tranship.cli.ends import End

    with value_of(End(args, spelled(text), "src")).session(run_of(args)) as opened:
        yield opened


def run_of(args: Namespace) -> Run:
    """What travels along where nothing is transferred."""
    return Run(source=Registry.kind, limits=options.limits_of(args), cancel=args.interruption.token)


def _host(value: Registry, end: End) -> str:
    """The registry, where the end is well written. InvalidReference shows where it is not."""
    if value.prefix is not None and not end.is_source:
        return Reference.parse(f"{value.prefix}/x").domain
    return value.references[0].domain


def _credential(end: End, hosts: Sequence[str]) -> Credential | None:
    """What the options say for this end, at one registry. A password is asked for, or comes from standard input, where that
    is needed.
    """
    from tranship.cli import asking

    _show_to_one(end, "header", hosts)
    creds, user, from_stdin = end.take("creds"), end.take("username"), end.take("password-stdin", False)
    if creds is None and user is None:
        if from_stdin and not any(getattr(end.args, f"{side}username", None) for side in ("", "src_", "dest_")):
            raise InvalidArgument("--password-stdin is the password of a user", hint="say --username")
        return None
    if creds is not None and (user is not None or from_stdin):
        raise InvalidArgument("--creds names a user and a password, so --username and --password-stdin say too much")
    _show_to_one(end, "username" if creds is None else "creds", hosts)
    user, colon, said = (user, "", "") if creds is None else creds.partition(":")
    of = f"{printable(user)} at {hosts[0]}"
    secret = Secret(said) if colon else asking.password(end.args, of, from_stdin=from_stdin)
    return Credential(username=user, password=secret, source="--username" if creds is None else "--creds")


def _show_to_one(end: End, option: str, hosts: Sequence[str]) -> None:
    """Keep what may be secret from a second registry: what is said once is shown to one."""
    own = getattr(end.args, f"{end.side}_{option}", None)
    if own is None and getattr(end.args, option, None) is None:
        return
    shown: dict[str, str] = vars(end.args).setdefault("shown", {})
    for host in hosts:
        first = shown.setdefault(f"{end.side}-{option}" if own is not None else option, host)
        if first != host:
            raise InvalidArgument(
                f"--{option} would be shown to two registries, {first} and {host}",
                hint=f"say --src-{option} or --dest-{option}, or move the images one by one",
            )


def _header(text: str) -> tuple[str, str]:
    """`NAME: VALUE`."""
    name, colon, value = text.partition(":")
    if not colon:
        raise InvalidArgument("a header is written 'NAME: VALUE'")  # and may be secret
    pair = name.strip(), value.strip()
    check_header(*pair, "--header")
    return pair


def _existing(path: str | None, option: str, is_there: Callable[[str], bool]) -> str | None:
    """A path that the user names must be there, although nothing is amiss when the usual places are empty."""
    if path is not None and not is_there(path):
        raise NotFound(f"{option}: there is no {printable(path)}")
    return path


def _chunk(text: str | None) -> int | None:
    size = None if text is None else options.bytes_of(text)
    if size == 0:
        raise InvalidArgument("--chunk 0 would move nothing")
    return size
