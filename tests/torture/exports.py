"""Exports through a stream, one after another: by ctr from our daemon, and by our client from a real containerd.

Neither side of containerd's own says when an archive has arrived, and between its two ends one in ten is cut short without an error.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from support.daemons import containerd
from support.disks import Impossible
from support.peers import PeerMissing, Peers, find, temporary_home
from torture.box import part
from torture.content import in_memory
from torture.daemons import serving
from tranship import Archive, Containerd, Layout, transfer
from tranship.model.digest import Digest

if TYPE_CHECKING:
    from torture.box import Box

LARGE = (
    Path(__file__).resolve().parents[2] / ".cache/images/python"
)  # a layout of 100 MB, where bench/images.py has made it


@part("exports")
def exports(box: Box) -> None:
    """The same images exported by ctr from our daemon and by our client from containerd; each archive is whole, its last byte too."""
    try:
        find("ctr")
        find("containerd")
    except PeerMissing as reason:
        raise Impossible(str(reason)) from None
    images = {"localhost/small:1": in_memory("localhost/small:1")}
    if LARGE.is_dir() and not box.is_slice:
        images["localhost/python:1"] = Layout(LARGE)
    with box.scratch() as folder, temporary_home() as home, serving(box) as ours, containerd(collects=True) as real:
        peers, out = Peers(home), folder / "out.tar"
        content: dict[str, set[str]] = {}
        for name, source in images.items():
            for address in (ours.socket, real.address):
                transfer(source, Containerd(name, address=os.fspath(address)))
            transfer(source, Archive(folder / "whole.tar", name))
            content[name] = _blobs(folder / "whole.tar")
        for number in box.rounds():
            for name, blobs in content.items():
                with box.unbroken(f"export {number} of {name} by ctr"):
                    peers.run("ctr", "--address", ours.socket, "images", "export", out, name, timeout=60)
                    assert _blobs(out) == blobs
                    box.count("by ctr from our daemon")
                with box.unbroken(f"export {number} of {name} by our client"):
                    transfer(Containerd(name, address=os.fspath(real.address)), Archive(out))
                    assert _blobs(out) == blobs
                    box.count("by our client from containerd")


def _blobs(path: Path) -> set[str]:
    """The digests of an archive that is whole: each blob has the bytes of its name, and the end is there."""
    found = set()
    with tarfile.open(path) as tar:
        for member in tar:
            if member.name.startswith("blobs/sha256/") and member.isfile():
                digest = Digest.of(tar.extractfile(member).read()).hex  # type: ignore[union-attr]  # it is a file
                assert member.name.endswith(digest), f"{member.name} has other bytes"
                found.add(digest)
    with path.open("rb") as file:
        file.seek(-1024, os.SEEK_END)
        assert file.read() == bytes(1024), "the archive has no end"
    return found
