"""The Images service."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tranship._api.events import image_pb2 as events
from tranship._api.services.images.v1 import images_pb2 as pb
from tranship._api.wellknown import Empty
from tranship.containerd.codec import few, labels, text
from tranship.containerd.methods import Images
from tranship.containerd.records import to_image
from tranship.containerd.values import from_descriptor, from_timestamp
from tranship.daemon.calls import Route, unary
from tranship.errors import InvalidArgument
from tranship.model.digest import Digest
from tranship.store import Image

if TYPE_CHECKING:
    from tranship.daemon.calls import Call
    from tranship.daemon.collector import Collector
    from tranship.daemon.events import Events
    from tranship.store import Store


class ImagesService:
    """Over the images of a store's namespaces."""

    def __init__(self, store: Store, events: Events, collector: Collector) -> None:
        self._store = store
        self._events = events
        self._collector = collector

    def routes(self) -> list[Route]:
        """What serves the methods."""
        return [
            unary(Images.GET, self._get),
            unary(Images.LIST, self._list),
            unary(Images.CREATE, self._create),
            unary(Images.UPDATE, self._update),
            unary(Images.DELETE, self._delete),
        ]

    def _get(self, request: pb.GetImageRequest, call: Call) -> pb.GetImageResponse:
        return pb.GetImageResponse(image=to_image(self._store.namespace(call.namespace).images.get(request.name)))

    def _list(self, request: pb.ListImagesRequest, call: Call) -> pb.ListImagesResponse:
        images = self._store.namespace(call.namespace).images.list(list(request.filters))
        return pb.ListImagesResponse(images=map(to_image, images))

    def _create(self, request: pb.CreateImageRequest, call: Call) -> pb.CreateImageResponse:
        _check_name(request.image)
        image = Image(request.image.name, from_descriptor(request.image.target), labels(request.image.labels))
        made = self._store.namespace(call.namespace).images.create(
            image, lease=call.lease, at=from_timestamp(request.source_date_epoch)
        )
        self._events.publish(
            call.namespace, "/images/create", events.ImageCreate(name=made.name, labels=dict(made.labels))
        )
        self._collector.changed()
        return pb.CreateImageResponse(image=to_image(made))

    def _update(self, request: pb.UpdateImageRequest, call: Call) -> pb.UpdateImageResponse:
        _check_name(request.image)
        images = self._store.namespace(call.namespace).images
        paths, target = list(request.update_mask.paths), request.image.target
        if paths and "target" not in paths:
            # Of the target at most the annotations are read, and ctr sends an empty one.
            wanted = replace(images.get(request.image.name).target, annotations=dict(target.annotations))
        else:
            wanted = from_descriptor(target)
        new = images.update(
            Image(request.image.name, wanted, labels(request.image.labels)),
            few(paths, "update_mask"),
            at=from_timestamp(request.source_date_epoch),
        )
        self._events.publish(
            call.namespace, "/images/update", events.ImageUpdate(name=new.name, labels=dict(new.labels))
        )
        self._collector.changed()
        return pb.UpdateImageResponse(image=to_image(new))

    def _delete(self, request: pb.DeleteImageRequest, call: Call) -> Empty:
        target = Digest.parse(request.target.digest) if request.target.digest else None
        self._store.namespace(call.namespace).images.delete(request.name, target=target)
        self._events.publish(call.namespace, "/images/delete", events.ImageDelete(name=request.name))
        if request.sync:
            self._collector.run()
        else:
            self._collector.deleted()
        return Empty()


def _check_name(image: pb.Image) -> None:
    if not text(image.name, "Image.Name"):
        raise InvalidArgument("Image.Name required")
