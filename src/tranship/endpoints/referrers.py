"""Which manifests of an archive or a layout refer to which others: what an index lists, read once and only when asked for."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tranship.engine.graph import read_all
from tranship.errors import NotFound
from tranship.model.manifest import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tranship.engine.protocols import Source
    from tranship.model.descriptor import Descriptor, Root
    from tranship.model.digest import Digest


class Referrers:
    """The roots of a source by the digests of their subjects."""

    def __init__(self, source: Source, roots: Sequence[Root]) -> None:
        self._source = source
        self._roots = roots
        self._found: dict[Digest, dict[Digest, tuple[Descriptor, str | None]]] | None = None

    def of(self, subject: Descriptor, artifact_type: str | None) -> Sequence[Descriptor]:
        """Those of `subject`, of one artifact type or of any, in order of their digests."""
        if self._found is None:
            self._found = self._read()
        found = self._found.get(subject.digest, {})
        return [found[digest][0] for digest in sorted(found) if artifact_type in (None, found[digest][1])]

    def _read(self) -> dict[Digest, dict[Digest, tuple[Descriptor, str | None]]]:
        by_subject: dict[Digest, dict[Digest, tuple[Descriptor, str | None]]] = {}
        for descriptor in {r.descriptor.digest: r.descriptor for r in self._roots if r.descriptor.is_document}.values():
            with contextlib.suppress(NotFound):
                document = parse(read_all(self._source, descriptor), descriptor)
                if document.subject is not None:
                    kind = document.kind_of_artifact or descriptor.extra.get("artifactType")
                    by_subject.setdefault(document.subject.digest, {})[descriptor.digest] = (descriptor.plain, kind)
        return by_subject
