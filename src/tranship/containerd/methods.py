"""The services that we speak and their methods, declared once; server and client both go by these tables.

A method knows its path and the classes of its messages, so no generated stubs are needed. Whether a side streams is in the
method's class, which decides how it is called and how it is served:

    Unary          request → response
    ServerStream   request → responses
    Stream         requests → responses
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from google.protobuf.message import Message

from tranship._api.grpc.health.v1 import health_pb2 as health
from tranship._api.services.containers.v1 import containers_pb2 as containers
from tranship._api.services.content.v1 import content_pb2 as content
from tranship._api.services.diff.v1 import diff_pb2 as diff
from tranship._api.services.events.v1 import events_pb2 as events
from tranship._api.services.images.v1 import images_pb2 as images
from tranship._api.services.introspection.v1 import introspection_pb2 as introspection
from tranship._api.services.leases.v1 import leases_pb2 as leases
from tranship._api.services.namespaces.v1 import namespace_pb2 as namespaces
from tranship._api.services.snapshots.v1 import snapshots_pb2 as snapshots
from tranship._api.services.transfer.v1 import transfer_pb2 as transfer
from tranship._api.services.version.v1 import version_pb2 as version
from tranship._api.types import event_pb2 as event
from tranship._api.wellknown import Any, Empty

Q = TypeVar("Q", bound=Message)  # the request
R = TypeVar("R", bound=Message)  # the response


@dataclass(frozen=True, slots=True)
class Method(Generic[Q, R]):
    """One method of one service, by their names on the wire."""

    service: str
    name: str
    request: type[Q]
    response: type[R]

    @property
    def path(self) -> str:
        """As HTTP/2 carries it: `/SERVICE/METHOD`."""
        return f"/{self.service}/{self.name}"


class Unary(Method[Q, R]):
    """One request, one response."""


class ServerStream(Method[Q, R]):
    """One request, any number of responses."""


class Stream(Method[Q, R]):
    """Any number of requests and responses, each side at its own pace."""


class Service:
    """A service: its name on the wire, and its methods."""

    SERVICE: ClassVar[str]


class Version(Service):
    """`ctr version`."""

    SERVICE = "containerd.services.version.v1.Version"
    VERSION = Unary(SERVICE, "Version", Empty, version.VersionResponse)


class Introspection(Service):
    """Who the daemon is, and what it can do."""

    SERVICE = "containerd.services.introspection.v1.Introspection"
    PLUGINS = Unary(SERVICE, "Plugins", introspection.PluginsRequest, introspection.PluginsResponse)
    SERVER = Unary(SERVICE, "Server", Empty, introspection.ServerResponse)
    PLUGIN_INFO = Unary(SERVICE, "PluginInfo", introspection.PluginInfoRequest, introspection.PluginInfoResponse)


class Namespaces(Service):
    """Names that separate the images and labels of the daemon's users."""

    SERVICE = "containerd.services.namespaces.v1.Namespaces"
    GET = Unary(SERVICE, "Get", namespaces.GetNamespaceRequest, namespaces.GetNamespaceResponse)
    LIST = Unary(SERVICE, "List", namespaces.ListNamespacesRequest, namespaces.ListNamespacesResponse)
    CREATE = Unary(SERVICE, "Create", namespaces.CreateNamespaceRequest, namespaces.CreateNamespaceResponse)
    UPDATE = Unary(SERVICE, "Update", namespaces.UpdateNamespaceRequest, namespaces.UpdateNamespaceResponse)
    DELETE = Unary(SERVICE, "Delete", namespaces.DeleteNamespaceRequest, Empty)


class Leases(Service):
    """What keeps content from collection while somebody works with it."""

    SERVICE = "containerd.services.leases.v1.Leases"
    CREATE = Unary(SERVICE, "Create", leases.CreateRequest, leases.CreateResponse)
    DELETE = Unary(SERVICE, "Delete", leases.DeleteRequest, Empty)
    LIST = Unary(SERVICE, "List", leases.ListRequest, leases.ListResponse)
    ADD_RESOURCE = Unary(SERVICE, "AddResource", leases.AddResourceRequest, Empty)
    DELETE_RESOURCE = Unary(SERVICE, "DeleteResource", leases.DeleteResourceRequest, Empty)
    LIST_RESOURCES = Unary(SERVICE, "ListResources", leases.ListResourcesRequest, leases.ListResourcesResponse)


class Images(Service):
    """Names of images and what they refer to."""

    SERVICE = "containerd.services.images.v1.Images"
    GET = Unary(SERVICE, "Get", images.GetImageRequest, images.GetImageResponse)
    LIST = Unary(SERVICE, "List", images.ListImagesRequest, images.ListImagesResponse)
    CREATE = Unary(SERVICE, "Create", images.CreateImageRequest, images.CreateImageResponse)
    UPDATE = Unary(SERVICE, "Update", images.UpdateImageRequest, images.UpdateImageResponse)
    DELETE = Unary(SERVICE, "Delete", images.DeleteImageRequest, Empty)


class Content(Service):
    """Blobs, and the ingests from which they come."""

    SERVICE = "containerd.services.content.v1.Content"
    INFO = Unary(SERVICE, "Info", content.InfoRequest, content.InfoResponse)
    UPDATE = Unary(SERVICE, "Update", content.UpdateRequest, content.UpdateResponse)
    LIST = ServerStream(SERVICE, "List", content.ListContentRequest, content.ListContentResponse)
    DELETE = Unary(SERVICE, "Delete", content.DeleteContentRequest, Empty)
    READ = ServerStream(SERVICE, "Read", content.ReadContentRequest, content.ReadContentResponse)
    STATUS = Unary(SERVICE, "Status", content.StatusRequest, content.StatusResponse)
    LIST_STATUSES = Unary(SERVICE, "ListStatuses", content.ListStatusesRequest, content.ListStatusesResponse)
    WRITE = Stream(SERVICE, "Write", content.WriteContentRequest, content.WriteContentResponse)
    ABORT = Unary(SERVICE, "Abort", content.AbortRequest, Empty)


class Streaming(Service):
    """Streams of messages that a transfer refers to by their ids."""

    SERVICE = "containerd.services.streaming.v1.Streaming"
    STREAM = Stream(SERVICE, "Stream", Any, Any)


class Transfer(Service):
    """The one operation."""

    SERVICE = "containerd.services.transfer.v1.Transfer"
    TRANSFER = Unary(SERVICE, "Transfer", transfer.TransferRequest, Empty)


class Events(Service):
    """What happens in the daemon."""

    SERVICE = "containerd.services.events.v1.Events"
    PUBLISH = Unary(SERVICE, "Publish", events.PublishRequest, Empty)
    FORWARD = Unary(SERVICE, "Forward", events.ForwardRequest, Empty)
    SUBSCRIBE = ServerStream(SERVICE, "Subscribe", events.SubscribeRequest, event.Envelope)


class Snapshots(Service):
    """Unpacked images; of interest only to say that there are none."""

    SERVICE = "containerd.services.snapshots.v1.Snapshots"
    PREPARE = Unary(SERVICE, "Prepare", snapshots.PrepareSnapshotRequest, snapshots.PrepareSnapshotResponse)
    VIEW = Unary(SERVICE, "View", snapshots.ViewSnapshotRequest, snapshots.ViewSnapshotResponse)
    MOUNTS = Unary(SERVICE, "Mounts", snapshots.MountsRequest, snapshots.MountsResponse)
    COMMIT = Unary(SERVICE, "Commit", snapshots.CommitSnapshotRequest, Empty)
    REMOVE = Unary(SERVICE, "Remove", snapshots.RemoveSnapshotRequest, Empty)
    STAT = Unary(SERVICE, "Stat", snapshots.StatSnapshotRequest, snapshots.StatSnapshotResponse)
    UPDATE = Unary(SERVICE, "Update", snapshots.UpdateSnapshotRequest, snapshots.UpdateSnapshotResponse)
    LIST = ServerStream(SERVICE, "List", snapshots.ListSnapshotsRequest, snapshots.ListSnapshotsResponse)
    USAGE = Unary(SERVICE, "Usage", snapshots.UsageRequest, snapshots.UsageResponse)
    CLEANUP = Unary(SERVICE, "Cleanup", snapshots.CleanupRequest, Empty)


class Diff(Service):
    """Layers and what they make of a file system; of interest as Snapshots are."""

    SERVICE = "containerd.services.diff.v1.Diff"
    APPLY = Unary(SERVICE, "Apply", diff.ApplyRequest, diff.ApplyResponse)
    DIFF = Unary(SERVICE, "Diff", diff.DiffRequest, diff.DiffResponse)


class Containers(Service):
    """What runs; of interest only to say that nothing does."""

    SERVICE = "containerd.services.containers.v1.Containers"
    GET = Unary(SERVICE, "Get", containers.GetContainerRequest, containers.GetContainerResponse)
    LIST = Unary(SERVICE, "List", containers.ListContainersRequest, containers.ListContainersResponse)
    LIST_STREAM = ServerStream(SERVICE, "ListStream", containers.ListContainersRequest, containers.ListContainerMessage)
    CREATE = Unary(SERVICE, "Create", containers.CreateContainerRequest, containers.CreateContainerResponse)
    UPDATE = Unary(SERVICE, "Update", containers.UpdateContainerRequest, containers.UpdateContainerResponse)
    DELETE = Unary(SERVICE, "Delete", containers.DeleteContainerRequest, Empty)


class Health(Service):
    """gRPC's own question whether a server serves."""

    SERVICE = "grpc.health.v1.Health"
    CHECK = Unary(SERVICE, "Check", health.HealthCheckRequest, health.HealthCheckResponse)
    WATCH = ServerStream(SERVICE, "Watch", health.HealthCheckRequest, health.HealthCheckResponse)


SERVICES: tuple[type[Service], ...] = (
    Version,
    Introspection,
    Namespaces,
    Leases,
    Images,
    Content,
    Streaming,
    Transfer,
    Events,
    Snapshots,
    Diff,
    Containers,
    Health,
)


def methods() -> dict[str, Method[Message, Message]]:
    """Every method of every service, by its path."""
    found = (value for service in SERVICES for value in vars(service).values() if isinstance(value, Method))
    return {method.path: method for method in found}
