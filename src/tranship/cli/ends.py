"""The ends that people write, as endpoint values.

    docker://REF  store:NAME  archive:FILE  oci-archive:FILE[:REF]  docker-archive:FILE[:REF]  oci:DIR[:REF]
    containerd:NAME  containerd://NAMESPACE/NAME?address=SOCKET  docker-daemon:NAME  podman:NAME
    *.tar  *.tar.gz  *.tar.zst  -

A word with a scheme is taken at its word. A bare word is guessed at, for sources: a file, a layout, or what the command works
on. A destination is guessed from its ending, or from a registry's host at its beginning, and never when something stands there
already. FILE and DIR end at the first colon, as with skopeo; `archive:FILE` takes all of the rest, for names that have one. The
bare source FILE.tar:REF is that image of the archive, where there is such a file.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

from tranship.cli import options
from tranship.cli.output import STDOUT, refuse_terminal, safe, say
from tranship.endpoints import KINDS, kind
from tranship.errors import AlreadyExists, InvalidArgument, InvalidReference, TranshipError, printable

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from tranship.endpoints.archive import Archive
    from tranship.endpoints.layout import Layout
    from tranship.endpoints.store import Store
    from tranship.engine.protocols import Readable, Writable

# Kinds of ends that others have: what to do here, where we lack them.
_FOREIGN = {
    "containers-storage": "podman save NAME | tranship import -",
    "dir": "oci:DIR is a directory with images",
    "ostree": None,
    "sif": None,
    "tarball": "tranship pack FILE NAME",
}
_UNWRITTEN = (".xz", ".txz", ".bz2", ".tbz2", ".tbz", ".lz4", ".lzma", ".lz", ".zip", ".7z", ".br")
SUFFIXES = {".tar": None, ".tar.gz": "gzip", ".tgz": "gzip", ".tar.zst": "zstd", ".tzst": "zstd"}
_ASIDE = (
    "ends are docker://REF, store:NAME, archive:FILE, oci-archive:FILE[:REF], docker-archive:FILE[:REF], oci:DIR[:REF], "
    "containerd:NAME, docker-daemon:NAME, podman:NAME, FILE.tar, -"
)


class End:
    """A word that stands for an end, with the side it is on and the options that are meant for it."""

    def __init__(self, args: Namespace, text: str, side: str) -> None:
        self.args = args
        self.text = text
        self.side = side  # "src" or "dest", as in the options
        self.said = options.of_end(args, side)
        self.scheme, self.rest = split(text)

    @property
    def is_source(self) -> bool:
        """Is it read from?"""
        return self.side == "src"

    def take(self, name: str, otherwise: Any = None) -> Any:
        """The value of an option that this end understands."""
        return self.said.pop(name, otherwise)

    def file_and_names(self) -> tuple[str, tuple[str, ...]]:
        """FILE[:REF], or DIR[:REF]."""
        path, _, ref = self.rest.partition(":")
        if not path:
            raise InvalidArgument(f"{printable(repr(self.text))} names no file", hint=_ASIDE)
        return path, (ref,) if ref else ()

    def __str__(self) -> str:
        before, _, after = self.text.rpartition("@")
        if ":" in before and "/" in after:  # USER:PASSWORD@HOST/PATH, which is no reference
            return f"…@{printable(after)}"
        return printable(self.text)


def source(args: Namespace, text: str, *, default: str) -> Readable:
    """The end to read from. A bare word that is no file is an end of the scheme `default`."""
    end = End(args, text, "src")
    if not end.scheme:
        end.scheme, end.rest = _guessed(text) or (default, text)
    if end.scheme == "docker" and not split(text)[0]:
        refuse_foreign(text)
        _check_guess(end)
    found: Readable = _made(end)
    return found


def destination(args: Namespace, text: str, *, default: str | None = None) -> Writable:
    """The end to write to. Bare words are archives by their ending, when nothing would be overwritten; without a `default`
    they may be images at a registry, with its host.
    """
    end = End(args, text, "dest")
    if not end.scheme:
        if text == "-" or _suffix(text):
            if os.path.lexists(text):
                raise AlreadyExists(
                    f"{end} exists already", hint=f"write archive:{end} to replace it", side="destination"
                )
            end.scheme, end.rest = "archive", text
        elif default is None and _begins_with_host(text):
            if os.path.lexists(text):
                raise InvalidArgument(
                    f"{end} is a file here, and could be a registry", hint=f"write docker://{end}", side="destination"
                )
            end.scheme, end.rest = "docker", text
        else:
            end.scheme, end.rest = default, text
    if not end.scheme:
        refuse_foreign(text)
        raise InvalidArgument(
            f"'{end}' does not say what it is",
            hint=f"write oci-archive:{end} or docker-archive:{end}"
            if _archive_of(text)
            else f"write archive:{end} or {end}.tar, oci:{end}, store:{end}, or docker://HOST/…",
            side="destination",
        )
    found: Writable = _made(end)
    return found


def split(text: str) -> tuple[str | None, str]:
    """The scheme, if there is one that we know, and what follows."""
    scheme, colon, rest = text.partition(":")
    if not colon:
        return None, text
    if scheme == "docker":  # without slashes it is the image called docker
        return (scheme, rest[2:]) if rest.startswith("//") else (None, text)
    if scheme in KINDS:
        return scheme, rest if scheme in MAKERS else rest.removeprefix("//")
    if rest.startswith("//"):
        kind(scheme)  # raises for what nobody has added
        return scheme, rest[2:]
    return None, text


def _guessed(text: str) -> tuple[str, str] | None:
    """What a bare source is by what stands there; None: nothing does."""
    if text == "-" or os.path.isfile(text):
        return "archive", text
    if os.path.isdir(text) and os.path.exists(os.path.join(text, "oci-layout")):
        return "oci", text
    if os.path.isfile(_archive_of(text) or ""):
        return "archive", text
    if _suffix(text):  # a file that is not there is named so in the error
        return "archive", text
    return None


def _check_guess(end: End) -> None:
    """Say what a bare word was taken for; InvalidArgument for one that can only be a file that is not there."""
    from tranship.model.reference import Reference

    try:
        full = str(Reference.parse(end.text))
    except InvalidReference as error:
        raise InvalidArgument(
            f"'{end}' is no end: there is no such file, and it is no reference ({error.reason})", hint=_ASIDE
        ) from None
    if full != end.text:
        say(end.args, f"{end} is {safe(full)}, at its registry")
    if _is_in_store(end, full):
        say(end.args, f"the store has an image of that name, too: to take that one, write store:{end}")


def _is_in_store(end: End, full: str) -> bool:
    from tranship.endpoints.store import Store

    with contextlib.suppress(TranshipError, OSError), Store(root=end.said.get("root")).open(create=False) as store:
        store.namespace(end.said.get("namespace", "default")).images.get(full)
        return True
    return False


def refuse_foreign(text: str) -> None:
    """Refuse a kind of end that other tools have and nobody has added here, rather than ask Docker Hub for it."""
    scheme, colon, _ = text.partition(":")
    if colon and scheme in _FOREIGN and scheme not in KINDS:
        instead = _FOREIGN[scheme]
        raise InvalidArgument(
            f"there are no ends of the kind {scheme}: here",
            hint=f"{f'{instead}; an' if instead else 'an'} image at a registry is written docker://REF",
        )


def _begins_with_host(text: str) -> bool:
    """Does it say its registry, as `localhost:5000/app` does and `app` does not?"""
    from tranship.model.reference import Reference

    try:
        return text.startswith(Reference.parse(text.rstrip("/")).domain + "/")
    except InvalidReference:
        return False


def _archive_of(text: str) -> str | None:
    """FILE.tar of FILE.tar:REF."""
    path, colon, _ = text.partition(":")
    return path if colon and _suffix(path) else None


def _suffix(text: str) -> str | None:
    return next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if text.endswith(suffix)), None)


def _made(end: End) -> Any:
    make = MAKERS.get(end.scheme or "")
    made = make(end) if make is not None else kind(end.scheme or "")(end.rest)
    ignored = [name for name in end.said if getattr(end.args, f"{end.side}_{name.replace('-', '_')}", None) is not None]
    if ignored:
        raise InvalidArgument(f"--{end.side}-{ignored[0]} means nothing for {end}")
    return made


# ----------------------------------------------------------------------------------------------------------------- kinds


def store(args: Namespace, side: str) -> Store:
    """The whole store, as the options of that side say where it is."""
    found: Store = _made(End(args, "store:", side))
    return found


def _store(end: End) -> Store:
    from tranship.cli import names
    from tranship.endpoints.store import Store

    root, namespace = end.take("root"), end.take("namespace", "default")
    wanted = (end.rest,) if end.rest else ()
    if end.is_source:
        return Store(names.taken(end.args, wanted, root, namespace), root=root, namespace=namespace)
    return Store(
        tuple(names.completed(end.args, name) for name in wanted),
        root=root,
        namespace=namespace,
        durability=end.take("durability", "full"),
        clobber=not getattr(end.args, "no_clobber", False),
    )


def _archive(end: End) -> Archive:
    """An archive of either kind; FILE is all of `archive:FILE`, and FILE[:REF] with the schemes that say the format."""
    from tranship.endpoints.archive import Archive

    form = {"oci-archive": "oci", "docker-archive": "docker"}.get(end.scheme or "", "auto")
    takes_name = form != "auto" or (end.is_source and end.rest == end.text and not os.path.lexists(end.text))
    path, chosen = end.file_and_names() if takes_name else (end.rest, ())
    if not path:
        raise InvalidArgument(f"{end} names no file", hint=_ASIDE)
    if end.is_source:
        return Archive(_opened_stdin(end.args) if path == "-" else path, chosen, format=form)  # type: ignore[arg-type]  # a literal
    if path in STDOUT:
        refuse_terminal("an archive")
    compression: Any = end.take("compression") or _compression_by_name(path)
    return Archive(
        sys.stdout.buffer if path in STDOUT else path,
        chosen,
        format=form,  # type: ignore[arg-type]  # a literal
        compression=None if compression == "none" else compression,
        docker_manifest=not end.take("skip-compatibility-manifest", False) and form != "oci",
        recompress=_recompress(end, form),
        durability=end.take("durability", "full"),
        clobber=not getattr(end.args, "no_clobber", False),
    )


def _compression_by_name(path: str) -> str:
    if path.endswith(_UNWRITTEN):
        raise InvalidArgument(
            f"{printable(path)} names a compression in which archives are not written",
            hint="*.tar.gz and *.tar.zst are; --compression says it whatever the name",
            side="destination",
        )
    return SUFFIXES.get(_suffix(path) or "") or "none"


def _recompress(end: End, form: str) -> bool:
    asked = bool(end.take("recompress", False))
    if asked and form != "docker":
        raise InvalidArgument(
            "--recompress is for archives of docker's own format",
            hint="write docker-archive:FILE, or export with --format docker",
        )
    return asked


def _opened_stdin(args: Namespace) -> Any:
    from tranship.cli.asking import take_stdin

    take_stdin(args, "an archive")
    if sys.stdin.isatty():
        raise InvalidArgument("an archive was to be read from the terminal", hint="redirect it, or name a file")
    return sys.stdin.buffer.raw if hasattr(sys.stdin.buffer, "raw") else sys.stdin.buffer


def _layout(end: End) -> Layout:
    from tranship.endpoints.layout import Layout

    path, chosen = end.file_and_names()
    if end.is_source:
        return Layout(path, chosen)
    return Layout(
        path,
        chosen,
        link=end.take("link", False),
        durability=end.take("durability", "full"),
        clobber=not getattr(end.args, "no_clobber", False),
    )


def _registry(end: End) -> Any:
    from tranship.cli.registries import value_of

    return value_of(end)


def _containerd(end: End) -> Any:
    from tranship.cli.engines import containerd_of

    return containerd_of(end)


def _engine(end: End) -> Any:
    from tranship.cli.engines import engine_of

    return engine_of(end)


MAKERS: dict[str, Callable[[End], Any]] = {
    "docker": _registry,
    "store": _store,
    "archive": _archive,
    "oci-archive": _archive,
    "docker-archive": _archive,
    "oci": _layout,
    "containerd": _containerd,
    "docker-daemon": _engine,
    "podman": _engine,
}
