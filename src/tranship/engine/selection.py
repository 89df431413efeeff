"""Which children of a graph take part in a transfer. `settling` asks, and reads `platforms` itself for a lone manifest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from tranship.errors import InvalidArgument, printable
from tranship.model import choices, mediatypes
from tranship.model.platform import Matcher, Platform, ordered
from tranship.model.platform import all_platforms as everything

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tranship.model.descriptor import Descriptor
    from tranship.model.manifest import Index, Manifest

IndexFate = Literal["keep", "single", "rewrite"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What of the source's images takes part. The default: every platform that the source holds.

    platforms               take these platforms of an index; an image without one of them is an error
    all_platforms           demand every platform that an index names; an absent one is an error
    matcher                 in place of `platforms`: a ranking of its own (containerd's defaults need one)
    index                   what becomes of an index of which not every child takes part: keep it as it is, make the single
                            selected manifest the root, or rewrite it (its digest changes). None: what the destination needs.
                            A registry is offered an incomplete index only where "keep" says so, and decides for itself
    skip_non_distributable  leave out layers that may not be redistributed; manifests still list them
    referrers               take signatures, SBOMs and other referrers along: "" any, or one artifact type; None: leave them
    skip_missing            leave out what the source lacks instead of refusing
    manifest_limit          at most so many manifests of an index, best platforms first; 0: no limit
    all_metadata            take manifests and configs of the other platforms too, without their layers
    """

    platforms: tuple[Platform, ...] = ()
    all_platforms: bool = False
    matcher: Matcher | None = None
    index: IndexFate | None = None
    skip_non_distributable: bool = False
    referrers: str | None = None
    skip_missing: bool = False
    manifest_limit: int = 0
    all_metadata: bool = False

    wanted: Matcher | None = field(init=False, repr=False, compare=False, default=None)  # by `matcher` or `platforms`

    def __post_init__(self) -> None:
        choices.check("index of a selection", self.index, (None, *get_args(IndexFate)))
        if not all(isinstance(one, Platform) for one in self.platforms):  # the letters of a text are none either
            raise InvalidArgument(
                f"platforms are Platform values, found {printable(repr(self.platforms))}",
                hint="write platforms=(Platform.parse('linux/amd64'),)",
            )
        if self.all_platforms and (self.platforms or self.matcher):
            raise InvalidArgument("all platforms and some platforms were asked for at once; choose one")
        if self.manifest_limit < 0:
            raise InvalidArgument(f"a manifest limit must not be negative, found {self.manifest_limit}")
        object.__setattr__(self, "wanted", self.matcher or (ordered(*self.platforms) if self.platforms else None))

    @property
    def filters(self) -> bool:
        """Are some platforms asked for, so that what they match must be there?"""
        return self.wanted is not None

    def successors(self, index: Index) -> Sequence[Descriptor]:
        """The children of an index that take part, in the document's order; or of which only the metadata do.

        A child of which no platform is known takes part, as in containerd: it may be an index of its own.
        """
        chosen = [d for d in index.manifests if self.all_metadata or self.matches(d.platform)]
        if self.manifest_limit and len(chosen) > self.manifest_limit:
            ranking = self.wanted or everything()
            best = sorted(range(len(chosen)), key=lambda n: ranking.rank(chosen[n].platform))[: self.manifest_limit]
            chosen = [chosen[n] for n in sorted(best)]
        return chosen

    def matches(self, platform: Platform | None) -> bool:
        """Does an object of this platform take part? An unknown platform (None) does."""
        return self.wanted is None or platform is None or self.wanted.match(platform)

    def leaves(self, manifest: Manifest) -> Sequence[Descriptor]:
        """The blobs of a manifest that take part."""
        if not self.skip_non_distributable:
            return manifest.children
        return [d for d in manifest.children if not mediatypes.is_non_distributable(d.media_type)]
