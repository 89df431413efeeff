"""Whole transfers that a containerd does by itself, where both ends are its own or a stream.

    Containerd → Archive: export     Archive → Containerd: import      Containerd → Containerd: tag
    Registry → Containerd: pull      Containerd → Registry: push

What cannot be expressed, or would come out otherwise than by our own hands, is declined. The plan is ours in any case: made at
the containerd's end, before it gives or after it took, it finds what its Transfer service would pass over in silence, such as
a platform that an image does not have.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from tranship._api.wellknown import Empty
from tranship.containerd import expressing
from tranship.containerd.destination import find_image, put_image, remove_image
from tranship.containerd.endpoint import Containerd
from tranship.containerd.job import Job
from tranship.containerd.leasing import hold
from tranship.containerd.methods import Version
from tranship.containerd.records import from_image
from tranship.containerd.source import ContainerdSource
from tranship.endpoints.archive import Archive
from tranship.endpoints.choosing import patterns
from tranship.endpoints.registry import Registry
from tranship.engine.planning import make_plan
from tranship.errors import NotFound, Unsupported, blamed_on
from tranship.model import mediatypes
from tranship.model.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tranship.containerd.channel import Channel
    from tranship.containerd.expressing import Wish
    from tranship.engine.plan import Plan
    from tranship.engine.protocols import Readable, Writable
    from tranship.engine.run import Run
    from tranship.engine.selection import Selection
    from tranship.model.descriptor import Descriptor


def delegated(source: Readable, destination: Writable, selection: Selection, run: Run) -> Plan | None:
    """Have a transfer done. The plan of what was: its roots as they are named at the destination, and what was present.

    None: declined, and nothing has been done.
    """
    wished = expressing.wish(selection)
    if wished is None or run.limits.rate is not None:
        return None
    try:
        match source, destination:
            case Containerd(), Archive():
                return _export(source, destination, selection, wished, run)
            case Containerd(), Registry():
                return _push(source, destination, selection, wished, run)
            case Containerd(), Containerd():
                return _tag(source, destination, selection, run)
            case Registry(), Containerd():
                return _pull(source, destination, selection, wished, run)
            case Archive(), Containerd():
                return _import(source, destination, selection, wished, run)
    except Unsupported:  # a containerd before 1.7, or of a build without the service
        return None
    return None


def _export(source: Containerd, archive: Archive, selection: Selection, wished: Wish, run: Run) -> Plan | None:
    end = expressing.outgoing(archive, wished)
    if end is None:
        return None
    with source.channel() as channel:
        plan = _planned(channel, patterns(source.names), selection, run)
        if not _is_whole(plan, wished):
            return None
        with Job(channel, run) as job:
            run.planned(plan)
            images = expressing.images(tuple(root.name or "" for root in plan.roots))
            job.run(images, replace(end, stream=job.receiving(archive)))
    return plan


def _push(source: Containerd, registry: Registry, selection: Selection, wished: Wish, run: Run) -> Plan | None:
    end = expressing.registry(registry)
    if (
        end is None
        or registry.prefix is not None
        or not registry.clobber
        or (wished.platforms and selection.index != "keep")
    ):
        return None
    with source.channel() as channel:
        if not _finds_hosts(channel):
            return None
        plan = _planned(channel, patterns(source.names), selection, run)
        # A containerd passes over layers that may not be redistributed.
        if len(plan.roots) != 1 or not _is_whole(plan, wished) or any(map(_is_restricted, plan.blobs)):
            return None
        (root,) = plan.roots
        with Job(channel, run) as job:
            run.planned(plan)
            image = replace(expressing.images((root.name or "",)), platforms=wished.platforms)
            job.run(image, replace(end, auth_stream=job.answering(registry.finder())))
            done = replace(root, name=end.reference)
            return replace(plan, roots=(done,), present=frozenset(job.present))


def _tag(source: Containerd, destination: Containerd, selection: Selection, run: Run) -> Plan | None:
    names = patterns(destination.names)
    if source.place != destination.place or not names or not destination.clobber:
        return None
    with source.channel() as channel, Job(channel, run) as job:
        plan = _planned(channel, patterns(source.names), selection, run)
        if len(plan.roots) != 1:
            return None
        run.planned(plan)
        (root,) = plan.roots
        job.run(expressing.images((root.name or "",)), expressing.image(names, destination.labels, expressing.Wish()))
        everything = frozenset(d.digest for d in (*plan.documents, *plan.blobs))
        return replace(plan, roots=tuple(replace(root, name=name) for name in names), present=everything)


def _pull(registry: Registry, destination: Containerd, selection: Selection, wished: Wish, run: Run) -> Plan | None:
    end = expressing.registry(registry)
    if end is None or registry.prefix is not None or not destination.clobber or destination.naming is not None:
        return None
    names = patterns(destination.names) or (end.reference,)
    with destination.channel() as channel, Job(channel, run) as job:
        if not _finds_hosts(channel):
            return None
        before = {name: find_image(channel, name) for name in names}
        with destination.channel() as keeping:  # by another lease, since the job's ends with its work
            for there in filter(None, before.values()):
                hold(keeping, from_image(there).target.digest)
            try:
                source = replace(end, auth_stream=job.answering(registry.finder()))
                job.run(source, expressing.image(names, destination.labels, wished))
            except NotFound:
                return None  # which of all that it might be, our own search will say
            try:
                plan = _planned(keeping, names, selection, run)
            except NotFound:
                for name, image in before.items():
                    put_image(channel, from_image(image)) if image is not None else remove_image(channel, name)
                raise
        run.planned(plan)
        return replace(plan, present=frozenset(job.present))


def _import(archive: Archive, destination: Containerd, selection: Selection, wished: Wish, run: Run) -> Plan | None:
    end = expressing.incoming(archive)
    store = expressing.imported(destination.naming, destination.labels, wished)
    again = isinstance(archive.file, str | os.PathLike)  # should the daemon miss a platform, we can do it ourselves
    if end is None or store is None or not (again or selection.all_platforms):
        return None
    if wished.platforms or patterns(destination.names) or not destination.clobber:
        return None
    if archive.index_names:
        store = replace(store, name=archive.index_names[0])
    with destination.channel() as channel, Job(channel, run) as job:
        try:
            job.run(replace(end, stream=job.sending(archive)), store)
        except NotFound:
            if again:
                return None
            raise
        if not job.saved:
            raise NotFound(f"no image of {archive} has a name", hint="--base-name and --digests make names")
        with destination.channel() as afterwards:
            plan = _planned(afterwards, tuple(job.saved), selection, run)
        run.planned(plan)
        return plan


def _finds_hosts(channel: Channel) -> bool:
    """Does its registry end know hosts, plain HTTP and certificates? A containerd 1.7's knows credentials and headers alone."""
    answer = channel.unary(Version.VERSION, Empty())
    return answer.revision == "tranship" or not answer.version.lstrip("v").startswith("1.")


def _planned(channel: Channel, names: Sequence[str], selection: Selection, run: Run) -> Plan:
    """The plan of reading these images there, by which everything that is demanded has been found."""
    source = ContainerdSource(channel, names, f"namespace {channel.namespace} of {channel.address}")
    with blamed_on("source"):
        roots = source.roots()
        if not roots:
            raise NotFound(f"there is no image in namespace {channel.namespace} of {channel.address}")
    return make_plan(roots, source, selection, run)


def _is_restricted(descriptor: Descriptor) -> bool:
    return mediatypes.is_non_distributable(descriptor.media_type)


def _is_whole(plan: Plan, wished: Wish) -> bool:
    """Does a daemon take the same part of the images as we have planned? It knows platforms, and "all" that is not there."""
    if plan.partial and not wished.platforms:
        return False
    manifests = (node for node in plan.nodes.values() if isinstance(node.document, Manifest))
    return wished.skip_non_distributable or all(len(node.selected) == node.children for node in manifests)
