"""Archives of docker before 1.10: no manifest, no image config, only `repositories` and layers that name their parents.

    repositories       {"busybox": {"latest": "ID"}}          ID: 64 hexadecimal digits, of no content's digest
    ID/json            the layer's own JSON, with "parent": "ID" except in the base
    ID/layer.tar       the layer

`saved_images` walks from each name to the base. The caller hashes the layers, and `image_config` makes of the newest layer's
JSON what docker 1.10 makes when it loads such an archive (moby/image/v1: MakeConfigFromV1Config, HistoryFromConfig).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tranship.errors import InvalidArgument, InvalidReference, printable
from tranship.formats.docker_archive import MAX_MANIFEST, SavedImage, resolve
from tranship.formats.layout import DOCKER_REPOSITORIES
from tranship.model import strict_json
from tranship.model.naming import from_repo_tag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tranship.formats.tar import Member
    from tranship.model.digest import Digest

MAX_LAYERS = 256  # of an image; docker's storage drivers stop at 127
MAX_JSON = 1 << 20  # bytes of one layer's description
_ID = re.compile(r"[a-f0-9]{64}")
_JSON_KEYS = frozenset({"id", "parent", "created", "author", "comment", "container_config", "architecture", "os"})
_NOT_IN_A_CONFIG = {"id", "parent", "Size", "parent_id", "layer_id", "throwaway"}
_HOST_OF_OLD = {"architecture": "amd64", "os": "linux"}  # the only one docker ran on when layers did not say


def saved_images(
    repositories: bytes, members: Mapping[str, Member], read: Callable[[Member], bytes]
) -> tuple[SavedImage, ...]:
    """Find the images that `repositories` names, each with all its names; `read` gives a small member's bytes.

    Raises NotFound for a layer that is absent, InvalidArgument for what is no such archive.
    """
    names: dict[str, list[str]] = {}
    for name, identity in _parse_repositories(repositories):
        names.setdefault(identity, []).append(name)
    described: dict[str, dict[str, Any]] = {}

    def describe(identity: str) -> dict[str, Any]:
        if identity not in described:
            described[identity] = _describe(identity, resolve(members, f"{identity}/json", "layer description"), read)
        return described[identity]

    images = []
    for identity, its_names in names.items():
        chain = _chain(identity, describe)
        layers = tuple(resolve(members, f"{item['id']}/layer.tar", "layer") for item in chain)
        images.append(SavedImage(tuple(dict.fromkeys(its_names)), None, layers, chain))
    return tuple(images)


def _parse_repositories(raw: bytes) -> list[tuple[str, str]]:
    """(full name, ID) of each tag, in the file's order."""
    if len(raw) > MAX_MANIFEST:
        raise InvalidArgument(f"{DOCKER_REPOSITORIES} has {len(raw)} bytes; at most {MAX_MANIFEST} are read")
    value = strict_json.loads(raw, DOCKER_REPOSITORIES, strict_json.room(raw))
    if not isinstance(value, dict) or not all(isinstance(tags, dict) for tags in value.values()):
        raise InvalidArgument(f"{DOCKER_REPOSITORIES} must be an object of repositories with their tags")
    found = []
    for repository, tags in value.items():
        for tag, identity in tags.items():
            try:
                name = from_repo_tag(f"{repository}:{tag}")
            except InvalidReference as error:
                raise InvalidArgument(f"{DOCKER_REPOSITORIES}: {error}") from None
            found.append((name, _identity(identity, DOCKER_REPOSITORIES)))
    return found


def _chain(identity: str, describe: Callable[[str], dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The JSON of the layers from the base to `identity`."""
    chain: dict[str, dict[str, Any]] = {}
    while identity:
        if identity in chain or len(chain) == MAX_LAYERS:
            raise InvalidArgument(f"layer {identity[:12]}: its parents go round in a circle, or are over {MAX_LAYERS}")
        chain[identity] = item = describe(identity)
        identity = _identity(item["parent"], f"{identity[:12]}/json") if item.get("parent") else ""
    return tuple(reversed(chain.values()))


def _describe(identity: str, member: Member, read: Callable[[Member], bytes]) -> dict[str, Any]:
    where = f"{identity[:12]}/json"
    if member.size > MAX_JSON:
        raise InvalidArgument(f"{where} has {member.size} bytes; at most {MAX_JSON} are read")
    item = strict_json.fields(strict_json.loads(read(member), where), _JSON_KEYS, where)
    if item.get("id") != identity:
        raise InvalidArgument(f"{where} describes layer {printable(repr(item.get('id')))}")
    return item


def _identity(value: Any, where: str) -> str:
    # used in names of members, so nothing else may pass (CVE-2014-9356)
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise InvalidArgument(f"{where}: a layer's ID has 64 hexadecimal digits, found {printable(repr(value))}")
    return value


def image_config(history: Sequence[Mapping[str, Any]], diff_ids: Sequence[Digest]) -> bytes:
    """Make the image's config of its layers' JSON and the digests of their uncompressed bytes, both base first."""
    newest = {key: value for key, value in history[-1].items() if key not in _NOT_IN_A_CONFIG}
    config = {
        **_HOST_OF_OLD,
        **newest,
        "rootfs": {"type": "layers", "diff_ids": [str(diff_id) for diff_id in diff_ids]},
        "history": [_history(item) for item in history],
    }
    return strict_json.dumps_as_go(dict(sorted(config.items())))


def _history(item: Mapping[str, Any]) -> dict[str, str]:
    container = item.get("container_config")
    command = container.get("Cmd") if isinstance(container, dict) else None
    if isinstance(command, list):
        command = " ".join(map(str, command))
    said = {
        "created": item.get("created"),
        "author": item.get("author"),
        "created_by": command,
        "comment": item.get("comment"),
    }
    return {key: value for key, value in said.items() if isinstance(value, str) and value}
