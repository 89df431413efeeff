"""A directory or a tar as an image of one layer: for shipping models and data, and for making an image without a builder.

The same tree and the same options give the same layer, byte by byte, wherever it is packed: names are in order of their
bytes, and owner, permissions and times are normalised unless they are to be kept. The digest of the *uncompressed* layer
(its diff_id) is the same everywhere. That of the compressed one hangs on the compressor too: on the version of isal (or, with
a gzip level, zlib) or zstd, and with isal perhaps on the kind of processor. `compression="none"` is free of that.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tranship.endpoints.files import FileBlob, whole_file
from tranship.engine.memory import MemoryBlob
from tranship.errors import InvalidArgument, NotFound, printable
from tranship.model import choices, mediatypes, platform, strict_json
from tranship.model.descriptor import Descriptor, Root
from tranship.model.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tranship.endpoints.pack.layer import Compression
    from tranship.engine.protocols import Blob
    from tranship.engine.run import Run
    from tranship.model.platform import Platform


@dataclass(frozen=True, slots=True)
class Pack:
    """A directory, or a tar (plain, gzip or zstd), as an image of one layer.

    name          what the image is called; None: what the destination calls it
    compression   of the layer: "gzip", "zstd" or "none"
    level         gzip 1-9, zstd 1-22; None: fast
    owner         (uid, gid) of everything; None keeps what is found
    mode          "normal": group and others may do what the owner may, but write, and there are no set-id and sticky bits,
                  so that nobody's umask shows; "keep": as found
    mtime         time of everything, in seconds since 1970 (SOURCE_DATE_EPOCH, for one); None keeps what is found
    prefix        where in the image the tree is put
    exclude       patterns of what is left out (`*.pyc`, `.git`, `/build`, `docs/*.md`)
    platform      None: Linux on this machine's architecture
    created       when the image says that it was made, in seconds since 1970; None: `mtime`
    entrypoint, cmd, env ("NAME=value"), user, workdir, labels: of the image's config
    annotations   of its manifest

    Sockets are left out. Hard links stay links within the layer. Of extended attributes `security.capability` is kept. A
    tar's members keep their order; one of which everything is kept is taken byte by byte, and only compressed anew.
    """

    path: str | os.PathLike[str]
    name: str | None = None
    _: KW_ONLY
    compression: Compression = "gzip"
    level: int | None = None
    owner: tuple[int, int] | None = (0, 0)
    mode: Literal["normal", "keep"] = "normal"
    mtime: int | None = 0
    prefix: str = "/"
    exclude: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    platform: Platform | None = None
    created: int | None = None

    kind: ClassVar[str] = "pack"

    def __post_init__(self) -> None:
        choices.check("compression of a layer", self.compression, ("gzip", "zstd", "none"))
        choices.check("mode of a packed tree", self.mode, ("normal", "keep"))
        for variable in self.env:
            if variable.find("=") < 1:
                raise InvalidArgument(f"a variable is written NAME=value, found {printable(repr(variable))}")

    def __str__(self) -> str:
        return f"pack:{printable(os.fspath(self.path))}"

    @contextlib.contextmanager
    def open_source(self, run: Run) -> Iterator[PackSource]:
        """Build the layer in scratch, which takes reading, hashing and compressing everything; then it is one file."""
        import tempfile

        from tranship.endpoints.pack.building import build
        from tranship.endpoints.pack.layer import LayerFile

        folder = os.fspath(run.scratch_folder) if run.scratch_folder is not None else tempfile.gettempdir()
        fd, scratch = tempfile.mkstemp(prefix="tranship-pack-", dir=folder)
        try:
            with LayerFile(fd, scratch, self.compression, self.level) as layer:
                build(self, layer, run)
                diff_id, descriptor = layer.finish()
            yield PackSource(self, fd, scratch, diff_id, descriptor)
        finally:
            os.close(fd)
            with contextlib.suppress(FileNotFoundError):  # a destination may have moved it to its place
                os.unlink(scratch)

    @property
    def keeps_everything(self) -> bool:
        """Is nothing of what is found to be changed?"""
        changes = self.exclude or self.prefix.strip("/") or self.mode != "keep"
        return not changes and self.owner is None and self.mtime is None


class PackSource:
    """The readable side: a manifest, a config, and the layer, which is scratch that may be moved away."""

    def __init__(self, value: Pack, fd: int, scratch: str, diff_id: Digest, layer: Descriptor) -> None:
        self._fd = fd
        self._scratch = scratch
        config = strict_json.dumps(_config(value, diff_id))
        config_descriptor = Descriptor(media_type=mediatypes.OCI_CONFIG, digest=Digest.of(config), size=len(config))
        manifest = strict_json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": mediatypes.OCI_MANIFEST,
                "config": config_descriptor.to_json(),
                "layers": [layer.to_json()],
                **({"annotations": dict(value.annotations)} if value.annotations else {}),
            }
        )
        self._root = Root(
            Descriptor(media_type=mediatypes.OCI_MANIFEST, digest=Digest.of(manifest), size=len(manifest)), value.name
        )
        self._small = {config_descriptor.digest: config, self._root.descriptor.digest: manifest}
        self._layer = layer

    def roots(self) -> Sequence[Root]:
        """The one image."""
        return (self._root,)

    def has(self, descriptor: Descriptor) -> bool:
        """Is it one of the three objects?"""
        return descriptor.digest in self._small or descriptor.digest == self._layer.digest

    def blob(self, descriptor: Descriptor) -> Blob:
        """One of the three objects."""
        if descriptor.digest in self._small:
            return MemoryBlob(descriptor, self._small[descriptor.digest])
        if descriptor.digest != self._layer.digest:
            raise NotFound(f"{descriptor} is no part of the packed image", descriptor=descriptor, side="source")
        return FileBlob(descriptor, lambda: whole_file(os.dup(self._fd), trusted=True, path=self._scratch, owned=True))


def _config(value: Pack, diff_id: Digest) -> dict[str, Any]:
    """The image's config (OCI image specification, "config")."""
    runs = {
        "Entrypoint": list(value.entrypoint),
        "Cmd": list(value.cmd),
        "Env": list(value.env),
        "User": value.user,
        "WorkingDir": value.workdir,
        "Labels": dict(value.labels),
    }
    when = value.created if value.created is not None else value.mtime
    made: dict[str, Any] = {"created_by": "tranship pack"}
    return {
        **(value.platform or replace(platform.host(), os="linux")).to_json(),
        "config": {key: setting for key, setting in runs.items() if setting},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [made if when is None else {"created": _moment(when), **made}],
        **({} if when is None else {"created": _moment(when)}),
    }


def _moment(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        raise InvalidArgument(f"{seconds} seconds since 1970 is no time that an image can state") from None
