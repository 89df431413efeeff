"""Requests as plain as can be, for testing servers: no retries, no redirects, no verification, nothing added.

    with Client(registry.port) as client:
        answer = client.ask("GET", "/v2/")
        assert (answer.status, answer.json()) == (200, {})

`exchange` sends bytes and returns what comes back until the server closes.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


def digest(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def codes(self) -> list[str]:
        """The codes of an error body."""
        return [error["code"] for error in self.json()["errors"]]

    def __getitem__(self, name: str) -> str | None:
        return self.headers[name]


class Client:
    """One kept connection. A Location may be given as target, also an absolute one of the same host."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, timeout: float = 20) -> None:
        if tls is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        else:
            self.connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout, context=tls)

    def ask(self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        if "://" in target:
            parts = urlsplit(target)
            target = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            self.connection.request(method, target, body, headers or {})
            response = self.connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        except BaseException:
            self.connection.close()
            raise

    def push_blob(self, repository: str, data: bytes, algorithm: str = "sha256") -> str:
        """POST, then PUT; gives the digest."""
        started = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        assert started.status == 202, started
        name = digest(data, algorithm)
        location = str(started["Location"])
        done = self.ask("PUT", f"{location}{'&' if '?' in location else '?'}digest={name}", data)
        assert done.status == 201, done
        return name

    def push_manifest(self, repository: str, value: Any, reference: str | None = None) -> Answer:
        """PUT a document by its own media type, by digest unless a tag is given."""
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        media_type = json.loads(raw).get("mediaType", OCI_MANIFEST)
        target = f"/v2/{repository}/manifests/{reference or digest(raw)}"
        return self.ask("PUT", target, raw, {"Content-Type": media_type})

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def exchange(port: int, data: bytes, timeout: float = 10) -> bytes:
    """Send these bytes, and return everything that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as sock:
        sock.sendall(data)
        parts = []
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts)


def image(config: bytes, *layers: bytes, **fields: Any) -> dict[str, Any]:
    """An image manifest of these blobs."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", layer) for layer in layers],
        **fields,
    }


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def describe(value: Any, **fields: Any) -> dict[str, Any]:
    """The descriptor of a document as `Client.push_manifest` encodes it."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return {"mediaType": json.loads(raw)["mediaType"], "digest": digest(raw), "size": len(raw), **fields}
