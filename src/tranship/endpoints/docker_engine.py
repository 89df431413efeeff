"""A docker engine, or podman's service, as an end: archives through its HTTP API, over its unix socket.

`GET /images/get` gives an archive of images, `POST /images/load` takes one (docker's Engine API, in which podman answers too).
What an engine can read depends on its age: before 23 docker knows no zstd, and before 25 no layouts.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlsplit

from tranship.endpoints.archive import Archive
from tranship.endpoints.choosing import patterns
from tranship.errors import (
    InvalidArgument,
    NotFound,
    PermissionDenied,
    TranshipError,
    Unavailable,
    Unsupported,
    printable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tranship.engine.plan import Plan
    from tranship.engine.protocols import Blob, Destination, Source
    from tranship.engine.run import Run
    from tranship.model.descriptor import Descriptor, Root

MAX_ANSWER = 16 << 20  # bytes of an answer that is no archive
_CONNECT = 10.0  # seconds
_CHUNK = 256 << 10  # bytes that are sent at a time, at least
_PODMAN = "/run/podman/podman.sock"


@dataclass(frozen=True, slots=True)
class DockerEngine:
    """Images of a docker engine.

    names    as a source: which images, as `docker save` takes them (none: all that have a name).
             As a destination: what the image is called there (none: as at the source)
    address  `unix:///path`, a path, or `tcp://host:port`, which is plain http; None: `DOCKER_HOST`, or /var/run/docker.sock
    """

    names: str | tuple[str, ...] = ()
    address: str | os.PathLike[str] | None = None

    kind: ClassVar[str] = "docker engine"
    scheme: ClassVar[str] = "docker-daemon"

    def __str__(self) -> str:
        return f"{self.scheme}:" + ",".join(map(printable, patterns(self.names)))

    @classmethod
    def default_address(cls, environ: Mapping[str, str]) -> str:
        """Where the engine listens when nobody says."""
        return environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"

    def _engine(self) -> _Engine:
        return _Engine(os.fspath(self.address) if self.address is not None else self.default_address(os.environ))

    @contextlib.contextmanager
    def open_source(self, run: Run) -> Iterator[Source]:
        """Open for reading: the engine puts an archive together, which is received into scratch."""
        engine = self._engine()
        names = patterns(self.names) or engine.names()
        if not names:
            raise NotFound(f"there is no image with a name in {self}", side="source")
        query = "&".join(f"names={quote(name, safe='')}" for name in names)
        with engine.get(f"/images/get?{query}") as archive, Archive(archive).open_source(run) as source:
            yield source

    @contextlib.contextmanager
    def open_destination(self, run: Run) -> Iterator[Destination]:
        """Open for writing: an archive goes to the engine as it is written."""
        engine = self._engine()
        age = engine.age()
        with engine.loading(run) as load:
            archive = Archive(
                load, self.names, format="auto" if age.reads_layouts else "docker", recompress=not age.zstd
            )
            with archive.open_destination(run) as inner:
                yield _Loading(inner, load, keeps_indexes=age.keeps_indexes)


@dataclass(frozen=True, slots=True)
class Podman(DockerEngine):
    """Images of podman, by its service.

    address  as of DockerEngine; None: `CONTAINER_HOST`, or root's or the user's own /run/…/podman/podman.sock
    """

    kind: ClassVar[str] = "podman"
    scheme: ClassVar[str] = "podman"

    @classmethod
    def default_address(cls, environ: Mapping[str, str]) -> str:
        """Where the service listens when nobody says."""
        if environ.get("CONTAINER_HOST"):
            return environ["CONTAINER_HOST"]
        folder = environ.get("XDG_RUNTIME_DIR")
        return f"unix://{folder}/podman/podman.sock" if folder and os.geteuid() else f"unix://{_PODMAN}"


class _Loading:
    """The writable side: an archive's, and the engine's answer at its end."""

    def __init__(self, inner: Destination, load: _Load, *, keeps_indexes: bool) -> None:
        self._inner = inner
        self._load = load
        self.workers = inner.workers
        self.single_images = not keeps_indexes  # a graph driver has no place for an index
        self.host_only = keeps_indexes

    def sequence(self) -> Sequence[Descriptor]:
        """The order of the archive."""
        order: Sequence[Descriptor] = self._inner.sequence()  # type: ignore[attr-defined]  # a stream has one
        return order

    def prepare(self, plan: Plan) -> None:
        """Lay out the archive."""
        self._inner.prepare(plan)

    def has(self, descriptor: Descriptor) -> bool:
        """An engine is not asked."""
        return self._inner.has(descriptor)

    def write(self, blob: Blob) -> None:
        """Send a blob in its place."""
        self._inner.write(blob)

    def publish(self, roots: Sequence[Root]) -> Sequence[Root]:
        """End the archive, and wait until the engine has taken it in."""
        named = self._inner.publish(roots)
        self._load.finish()
        return named


@dataclass(frozen=True, slots=True)
class _Age:
    """What an engine can do, by its version."""

    reads_layouts: bool
    zstd: bool
    keeps_indexes: bool


class _Engine:
    """The API of one engine. Each request has a connection of its own."""

    def __init__(self, address: str) -> None:
        self.address = address

    def names(self) -> tuple[str, ...]:
        """Every name of every image."""
        with self._understood("/images/json"):
            tags = [tag for image in self._json("/images/json") for tag in image.get("RepoTags") or ()]
            return tuple(tag for tag in dict.fromkeys(tags) if not tag.startswith("<none>"))

    def age(self) -> _Age:
        """What it can do."""
        with self._understood("/version"):
            version = self._json("/version")
            if any("podman" in str(part.get("Name", "")).lower() for part in version.get("Components") or ()):
                return _Age(reads_layouts=True, zstd=True, keeps_indexes=False)
            number = str(version.get("Version", "")).partition(".")[0]
            major = int(number) if number.isdecimal() else 0  # of a build that is no release
        with self._understood("/info"):
            driver = dict(pair for pair in self._json("/info").get("DriverStatus") or () if len(pair) == 2)
            snapshotter = "snapshotter" in str(driver.get("driver-type", ""))
        return _Age(reads_layouts=major >= 25, zstd=major >= 23, keeps_indexes=snapshotter and major >= 25)

    @contextlib.contextmanager
    def get(self, path: str) -> Iterator[http.client.HTTPResponse]:
        """The answer to a GET, while it is good."""
        connection = self.connected()
        try:
            with _told(self.address):
                connection.request("GET", path)
                response = connection.getresponse()
            _check(response, self.address)
            yield response
        finally:
            connection.close()

    @contextlib.contextmanager
    def loading(self, run: Run) -> Iterator[_Load]:
        """A POST of an archive; nothing is sent before its first byte."""
        load = _Load(self, run)
        try:
            yield load
        finally:
            load.close()

    def _json(self, path: str) -> Any:
        with self.get(path) as response, _told(self.address):
            return json.loads(response.read(MAX_ANSWER))

    @contextlib.contextmanager
    def _understood(self, path: str) -> Iterator[None]:
        """Within it an answer is read; what is no JSON, or of another shape, is the engine's fault."""
        try:
            yield
        except (AttributeError, RecursionError, TypeError, ValueError) as error:
            raise Unavailable(
                f"the engine at {printable(self.address)} answers {path} with what is not to be understood: {error}"
            ) from None

    def connected(self) -> http.client.HTTPConnection:
        """A new connection."""
        connection = _connection(self.address)
        with _told(self.address):
            connection.connect()
        return connection


class _Load:
    """An archive on its way into an engine, in chunks; an object with `write`."""

    def __init__(self, engine: _Engine, run: Run) -> None:
        self._engine = engine
        self._run = run
        self._connection: http.client.HTTPConnection | None = None
        self._pending = bytearray()

    def write(self, chunk: memoryview) -> None:
        """Send bytes. An engine that refuses in the middle is heard."""
        self._run.check()
        self._pending += chunk
        if len(self._pending) >= _CHUNK:
            self._send(self._open())

    def finish(self) -> None:
        """Say that this was all, and wait for the answer."""
        connection = self._open()
        self._send(connection)
        with _told(self._engine.address):
            connection.send(b"0\r\n\r\n")
        waiting = select.poll()
        waiting.register(connection.sock, select.POLLIN)
        while not waiting.poll(100):  # milliseconds
            self._run.check()
        self._answer(connection)

    def _open(self) -> http.client.HTTPConnection:
        if self._connection is None:
            self._connection = self._engine.connected()
            self._connection.putrequest("POST", "/images/load?quiet=1")
            self._connection.putheader("Content-Type", "application/x-tar")
            self._connection.putheader("Transfer-Encoding", "chunked")
            self._connection.endheaders()
        return self._connection

    def _send(self, connection: http.client.HTTPConnection) -> None:
        if not self._pending:
            return
        try:
            with _told(self._engine.address):
                connection.send(b"%x\r\n%b\r\n" % (len(self._pending), bytes(self._pending)))
        except Unavailable:
            self._answer(connection)
            raise
        self._pending.clear()

    def _answer(self, connection: http.client.HTTPConnection) -> None:
        """Raise what the engine complains of; it may do so in the lines of an answer that began well."""
        with _told(self._engine.address):
            response = connection.getresponse()
            _check(response, self._engine.address)
            lines = response.read(MAX_ANSWER).splitlines()
        for line in lines:
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                if isinstance(said, dict) and said.get("error"):
                    raise InvalidArgument(
                        f"the engine refuses the archive: {printable(str(said['error']), 500)}", side="destination"
                    )

    def close(self) -> None:
        """Let go; what was not finished the engine forgets."""
        if self._connection is not None:
            self._connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_CONNECT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        try:
            self.sock.settimeout(_CONNECT)
            self.sock.connect(self._path)
            self.sock.settimeout(None)
        except BaseException:
            self.sock.close()
            raise


def _connection(address: str) -> http.client.HTTPConnection:
    if "://" not in address:
        return _UnixConnection(address)
    place = urlsplit(address)
    if place.scheme == "unix":
        return _UnixConnection(address.removeprefix("unix://"))
    if place.scheme in ("tcp", "http") and place.hostname:
        return http.client.HTTPConnection(place.hostname, place.port or 2375)
    raise Unsupported(
        f"an engine cannot be reached by {printable(place.scheme)}://", hint="unix:///path and tcp://host:port can"
    )


@contextlib.contextmanager
def _told(address: str) -> Iterator[None]:
    """Turn what the socket says into an error that names the engine."""
    shown = printable(address)
    try:
        yield
    except PermissionError:
        raise PermissionDenied(
            f"the engine's socket {shown} may not be opened by this user", hint="run as root, or join its group"
        ) from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise Unavailable(
            f"no engine listens at {shown}", hint="is it running? DOCKER_HOST names another one"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"the engine at {shown} broke off: {type(error).__name__}: {error}") from error


def _check(response: http.client.HTTPResponse, address: str) -> None:
    if response.status < 300:
        return
    raw = response.read(64 << 10)
    try:
        said = str(json.loads(raw)["message"])
    except (ValueError, KeyError, TypeError):
        said = raw.decode("utf-8", "replace")
    said = printable(said.strip(), 500)
    absent = response.status == 404 or "image not known" in said  # podman's 500
    kind: type[TranshipError] = NotFound if absent else InvalidArgument if response.status < 500 else Unavailable
    raise kind(f"the engine at {printable(address)} answers {response.status}: {said}")
