"""Reading the folders that configure hosts: containerd's and docker's `certs.d`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tranship.errors import InvalidArgument, NotFound
from tranship.files import open_regular
from tranship.formats.hosts import Host, configured, directories

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_TOML = 1 << 20  # bytes


def load(registry: str, roots: Sequence[str], default_scheme: str | None = None) -> tuple[Host, ...]:
    """The hosts of a registry, by the first folder under `roots` that configures it; its own server when there is none.

    `roots` are folders such as /etc/containerd/certs.d and /etc/docker/certs.d, in order; ones that do not exist are skipped.
    """
    for root in roots:
        for name in directories(registry):
            folder = os.path.join(root, name)
            try:
                names = sorted(os.listdir(folder))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise InvalidArgument(f"cannot read {folder}: {(error.strerror or str(error)).lower()}") from None
            toml = _text(os.path.join(folder, "hosts.toml")) if "hosts.toml" in names else None
            return configured(registry, toml=toml, names=names, folder=folder, default_scheme=default_scheme)
    return configured(registry, toml=None, default_scheme=default_scheme)


def _text(path: str) -> str | None:
    try:
        with os.fdopen(open_regular(path, follow=True), "rb") as file:
            data = file.read(MAX_TOML + 1)
    except NotFound:
        return None
    except OSError as error:
        raise InvalidArgument(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    try:
        if len(data) > MAX_TOML:
            raise InvalidArgument(f"{path} has more than {MAX_TOML} bytes")
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidArgument(f"{path} is not UTF-8") from None
