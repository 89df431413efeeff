"""A namespace of a store, as its services: content, images, leases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tranship.store.content import Content
from tranship.store.images import Images
from tranship.store.leases import Leases

if TYPE_CHECKING:
    from tranship.store.core import Scope


@dataclass(frozen=True, slots=True)
class NamespaceView:
    """What `Store.namespace` and `Batch.namespace` give. It costs nothing to make."""

    scope: Scope

    @property
    def name(self) -> str:
        """The namespace's name."""
        return self.scope.namespace

    @property
    def content(self) -> Content:
        """Blobs and ingests."""
        return Content(self.scope)

    @property
    def images(self) -> Images:
        """Names."""
        return Images(self.scope)

    @property
    def leases(self) -> Leases:
        """What keeps content while somebody works."""
        return Leases(self.scope)
