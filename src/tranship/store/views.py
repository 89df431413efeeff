"""A namespace of a store, as its services: content, images, leases. Each is imported when it is asked for: listing is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tranship.store.content import Content
    from tranship.store.core import Scope
    from tranship.store.images import Images
    from tranship.store.leases import Leases


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
        from tranship.store.content import Content

        return Content(self.scope)

    @property
    def images(self) -> Images:
        """Names."""
        from tranship.store.images import Images

        return Images(self.scope)

    @property
    def leases(self) -> Leases:
        """What keeps content while somebody works."""
        from tranship.store.leases import Leases

        return Leases(self.scope)
