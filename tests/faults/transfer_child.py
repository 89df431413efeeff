"""One transfer in a process of its own, to be measured, limited, interrupted or killed.

    transfer_child.py '{"source": ["archive", {"file": "a.tar"}], "destination": ["store", {"root": "s"}], …}'

An end is a scheme and the fields of its value; a `file` of "-" is standard input or output. More fields of the request:
`limits` (of the engine), `file_size` (bytes, of any file that the process writes), `address_space` (bytes), `ready` (say so at the
first progress of a blob), `slow` (seconds to wait at each piece of progress), `signal` and `after` (send it to ourselves at the n-th piece of progress).
What happened is said on stderr, as JSON in one line.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any

from tranship import Archive, Layout, Limits, Progress, Registry, Reporter, Stage, Store, TranshipError, transfer
from tranship.model.secret import Credential, Secret

KINDS = {"archive": Archive, "layout": Layout, "store": Store, "registry": Registry}


def end(scheme: str, fields: dict[str, Any], fd: int) -> Any:
    if fields.get("file") == "-":
        fields = {**fields, "file": open(fd, "wb" if fd else "rb", buffering=0, closefd=False)}  # noqa: SIM115  # to our end
    if "credential" in fields:
        user, password = fields["credential"]
        fields = {**fields, "credential": Credential(username=user, password=Secret(password))}
    return KINDS[scheme](**fields)


class Interfering(Reporter):
    """Says that blobs have begun to move, gives others time to interfere, or does so itself."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.heard = 0

    def report(self, event: Progress) -> None:
        if event.stage not in (Stage.BLOB, Stage.RECEIVING):
            return
        self.heard += 1
        if self.request.get("ready") and self.heard == 1:
            tell({"ready": True})
        if self.heard == self.request.get("after"):
            os.kill(os.getpid(), self.request["signal"])
        time.sleep(self.request.get("slow", 0))


def tell(what: dict[str, Any]) -> None:
    os.write(2, json.dumps(what).encode() + b"\n")


def peak() -> int:
    """The most memory that this process had in use, in MiB."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) // 1024 for line in file if line.startswith("VmHWM:"))


def main(request: dict[str, Any]) -> None:
    if "file_size" in request:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size"], request["file_size"]))
    if "address_space" in request:
        resource.setrlimit(resource.RLIMIT_AS, (request["address_space"], request["address_space"]))
    source = end(*request["source"], 0)
    destination = end(*request["destination"], 1)
    said: dict[str, Any] = {}
    try:
        limits = Limits(**request.get("limits", {}))
        summary = transfer(source, destination, reporter=Interfering(request), limits=limits)
        said["outcomes"] = {str(outcome): count for outcome, count in summary.counts.items()}
    except TranshipError as error:
        said.update(error=type(error).__name__, exit=error.exit_code, message=str(error), side=error.side)
    except OSError as error:
        said.update(error=type(error).__name__, errno=error.errno)
    except KeyboardInterrupt:
        said.update(error="KeyboardInterrupt")
    if sys.platform == "linux":
        said["peak"] = peak()
    tell(said)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
