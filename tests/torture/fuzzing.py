"""Arbitrary bytes for everything that reads bytes of others: only our own errors may come out, and soon.

`fuzz` mutates good samples by chance; `atheris` (where it is installed) is led by the branches that an input reaches. Both call
the same targets.

    python -m torture.fuzzing TARGET SECONDS SEED        a process of atheris's own, as `atheris` starts it
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from support.disks import Impossible
from torture.box import part

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from torture.box import Box

SLOW = 5.0  # seconds that no input may take, on a busy machine
ACTION = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"a","digest":"sha256:'
ACTION += b"0" * 64 + b'","size":2},"layers":[]}'
HOSTS = b'server = "https://r.example"\n[host."https://m.example"]\n  capabilities = ["pull"]\n  ca = ["a.pem"]\n'


def _tar(data: bytes) -> None:
    from tranship.formats.tar import TarStream, read_index
    from tranship.pump import pump

    with _ours():
        read_index(lambda at, count: data[at : at + count], len(data))
    with _ours():
        stream = TarStream(io.BytesIO(data))  # type: ignore[arg-type]  # BytesIO.readinto takes any buffer
        for _ in stream:
            pump(stream, lambda _chunk: None)


def _document(data: bytes) -> None:
    from tranship.model import manifest

    with _ours():
        manifest.parse(data, manifest.describe(data))


def _layout(data: bytes) -> None:
    from tranship.formats import docker_archive, layout

    for read in (layout.parse_index, layout.check_marker, docker_archive.parse_manifest):
        with _ours():
            read(data)
    with _ours():
        docker_archive.read_config(data, 1)


def _references(data: bytes) -> None:
    from tranship.model.digest import Digest
    from tranship.model.platform import Platform
    from tranship.model.reference import Reference

    text = data.decode("utf-8", "replace")
    for read in (Reference.parse, Digest.parse, Platform.parse):
        with _ours():
            found = read(text)
            assert read(str(found)) == found, (text, str(found))


def _challenges(data: bytes) -> None:
    from tranship.formats import challenge, scopes

    text = data.decode("latin-1")
    for one in challenge.parse([text]):
        scopes.parse(one.parameters.get("scope", ""))


def _locations(data: bytes) -> None:
    from tranship.formats.messages import Headers, join, redacted, retry_after
    from tranship.formats.pages import next_link

    text = data.decode("latin-1")
    with _ours():
        redacted(join("https://r.example/v2/a/blobs/uploads/1?x=1", text, "the registry"))
    with _ours():
        next_link(Headers([("Link", text)]))
    with _ours():
        retry_after(text, 0.0)


def _answers(data: bytes) -> None:
    from tranship.formats.distribution import claims, content_range, rate_limit, warnings
    from tranship.formats.messages import Headers
    from tranship.formats.refusals import errors
    from tranship.formats.response_head import framing, parse

    text = data.decode("latin-1")
    headers = Headers(
        [
            (name, text)
            for name in ("Content-Type", "Content-Length", "Docker-Content-Digest", "Warning", "RateLimit-Limit")
        ]
    )
    for read in (claims, warnings, rate_limit):
        with _ours():
            read(headers)
    with _ours():
        content_range(text)
    with _ours():
        errors(data)
    with _ours():
        framing(parse(b"HTTP/1.1 200 OK\r\n" + data + b"\r\n\r\n"), "GET")


def _connection(data: bytes) -> None:
    """As what a server sends in answer to one request."""
    from tranship.http.connection import Connection
    from tranship.http.failures import FAILURES
    from tranship.http.limits import Timeouts

    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data[:60_000])  # what a socket holds
        theirs.shutdown(socket.SHUT_WR)
        connection = Connection(ours, Timeouts(headers=1, stall=1), lambda _: None)
        view, got = memoryview(bytearray(100)), 0
        with contextlib.suppress(*FAILURES):
            incoming = connection.ask(b"GET / HTTP/1.1\r\n\r\n", None, "GET", 1)
            while count := incoming.readinto(view):
                got += count
            incoming.close()
        assert got <= len(data), "more than was sent"


def _filters(data: bytes) -> None:
    from tranship.formats import filters

    with _ours():
        wanted = filters.parse([data.decode("utf-8", "replace")])
        wanted.matches(filters.adaptor({"name": "docker.io/library/a" * 10}, {"labels": {"a": "b" * 100}}))


def _hosts(data: bytes) -> None:
    from tranship.formats import hosts

    with _ours():
        hosts.configured("r.example", toml=data.decode("utf-8", "replace"), names=["hosts.toml"], folder="/etc")


def _credentials(data: bytes) -> None:
    from tranship.http.credential_file import CredentialFile

    with _ours():
        file = CredentialFile(data.replace(b"cred", b"kred"), "a file", {})  # helpers are programs: none is to be run
        file.find("ghcr.io", "acme/app")


def _compressed(data: bytes) -> None:
    from tranship.formats import compression
    from tranship.pump import pump

    with _ours():
        pump(compression.opened(io.BytesIO(data))[1], lambda _chunk: None, limit=1 << 24)  # type: ignore[arg-type]  # as above


def _messages(data: bytes) -> None:
    from google.protobuf.message import DecodeError

    from tranship._api.services.transfer.v1.transfer_pb2 import TransferRequest
    from tranship._api.wellknown import Any as Wrapped
    from tranship.containerd import codec, progress
    from tranship.containerd.ends import decode_end

    with contextlib.suppress(DecodeError):
        request = TransferRequest.FromString(data)
        for wrapped, side in ((request.source, "source"), (request.destination, "destination")):
            with _ours():
                decode_end(wrapped, side)
    with contextlib.suppress(DecodeError):
        wrapped = Wrapped.FromString(data)
        for read in (codec.unpack_flow, progress.decode):
            with _ours():
                read(wrapped)


@contextlib.contextmanager
def _ours() -> Any:
    from tranship.errors import TranshipError

    with contextlib.suppress(TranshipError):
        yield


TARGETS: Mapping[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]] = {
    "tar": (_tar, ()),
    "document": (_document, (ACTION,)),
    "layout": (
        _layout,
        (b'{"imageLayoutVersion":"1.0.0"}', b'[{"Config":"a.json","RepoTags":["a:1"],"Layers":["l.tar"]}]'),
    ),
    "references": (
        _references,
        (b"ghcr.io/acme/app:1@sha256:" + b"0" * 64, b"linux(10.0+win32k)/arm64/v8", b"[::1]:5000/a/b_c.d__e-f:T"),
    ),
    "challenges": (
        _challenges,
        (b'Bearer realm="https://a/b",service="c",scope="repository:a/b:pull,push"', b"Basic realm=x"),
    ),
    "locations": (
        _locations,
        (
            b"/v2/a?b=c#d",
            b"https://u:p@h:1/x;y",
            b'<https://r/v2/_catalog?n=1>; rel="next"',
            b"Wed, 21 Oct 2015 07:28:00 GMT",
        ),
    ),
    "answers": (
        _answers,
        (
            b"bytes 1-2/3",
            b'{"errors":[{"code":"DENIED","message":"x","detail":{}}]}',
            b'299 - "old"',
            b"100;w=21600",
            b"Content-Length: 5",
        ),
    ),
    "connection": (
        _connection,
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
            b"HTTP/1.0 206 Partial\r\nConnection: keep-alive\r\n\r\nhello",
        ),
    ),
    "filters": (_filters, (b'name==foo,labels."a b"~=/x+y*/', b"labels.a!=b", b"name~=^docker")),
    "hosts": (_hosts, (HOSTS,)),
    "credentials": (_credentials, (b'{"auths":{"ghcr.io":{"auth":"dTpw"}}}',)),
    "compressed": (
        _compressed,
        (b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0", b"(\xb5/\xfd\x04\0\x01\0\0\x99\xe9\xd8Q"),
    ),
    "messages": (_messages, ()),
}


def samples(target: str, chance: random.Random) -> list[bytes]:
    """Good inputs to begin with."""
    from torture.tars import archive

    if target == "tar":
        return [archive(chance) for _ in range(8)]
    if target == "messages":
        from tranship.containerd.ends import transfer_request
        from tranship.containerd.wire import WireImageStore, WireImportStream

        return [transfer_request(WireImportStream(stream="s"), WireImageStore(name="a:1")).SerializeToString()]
    return list(TARGETS[target][1])


def changed(data: bytes, chance: random.Random) -> bytes:
    """A few changes of any bytes."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(out) + 1)
        kind = chance.random()
        if kind < 0.4 and at < len(out):
            out[at] = chance.randrange(256)
        elif kind < 0.6:
            out[at:at] = chance.choice(
                (b"\0", b"\xff", b"\n", b'"', b"\\", b"[" * 50, b"{", b"%2f", b"..", b"\xed\xa0\x80", b"9" * 30, b"-")
            )
        elif kind < 0.8:
            del out[at : at + chance.randint(1, 20)]
        else:
            start = chance.randrange(len(out) + 1)
            out[at:at] = out[start : start + chance.randint(1, 40)]
    return bytes(out)


@part("fuzz")
def fuzz(box: Box) -> None:
    """All targets in turn, a hundred inputs each."""
    from torture.inputs import mutated

    pool = {target: samples(target, box.chance) for target in TARGETS}
    names = list(TARGETS)
    for number in box.rounds():
        target = names[number % len(names)]
        read = TARGETS[target][0]
        for _ in range(100):
            change = mutated if target == "tar" and box.chance.random() < 0.7 else changed
            data = change(box.chance.choice(pool[target]), box.chance)
            with box.unbroken(f"{target} of {data.hex()[:4096]}"):
                began = time.monotonic()
                read(data)
                assert time.monotonic() - began < SLOW, "too slow"
            box.count(f"inputs of {target}")
            if box.chance.random() < 0.02:
                pool[target].append(data[:20_000])


@part("atheris")
def atheris(box: Box) -> None:
    """Each target by atheris, for an equal share of the time."""
    if importlib.util.find_spec("atheris") is None:
        raise Impossible("atheris is not installed: pip install --group fuzz")
    share = max(2, int(box.left / len(TARGETS)) - 2)  # a process takes a moment to start
    with box.scratch() as folder:
        for target, _ in zip(TARGETS, box.rounds(), strict=False):
            corpus = folder / target
            corpus.mkdir()
            for number, sample in enumerate(samples(target, box.chance)):
                (corpus / str(number)).write_bytes(sample)
            words = [sys.executable, "-m", "torture.fuzzing", target, str(share), str(box.seed), str(corpus)]
            done = subprocess.run(
                words,
                capture_output=True,
                text=True,
                errors="replace",
                cwd=folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                check=False,
            )
            runs = [line for line in done.stderr.splitlines() if line.startswith("Done ")]
            box.count(f"inputs of {target}", int(runs[-1].split()[1]) if runs else 0)
            with box.unbroken(f"atheris on {target}"):
                assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def main(target: str, seconds: str, seed: str, corpus: str) -> None:
    """Run atheris on one target; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=["tranship"]):
        TARGETS[target][0](b"")  # imports what it uses
    options = [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=8192", "-timeout=20", "-rss_limit_mb=1024"]
    atheris.Setup([sys.argv[0], *options, corpus], TARGETS[target][0])
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
