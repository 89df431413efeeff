"""Blobs on their way into repositories: is it there, can it be had from another repository, or must its bytes go over?

One request asks whether a blob is there and opens its upload if it is not: a mount from the repository into itself. A registry
that answers 201 knows that trick. One that opens an upload may lack the blob, or not know the trick: as long as that is open, a
blob that is worth a request is asked for with HEAD as well.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING

from tranship.errors import Cancelled, TranshipError
from tranship.formats.upload import Session as Upload
from tranship.formats.upload import cancel, mount, upload
from tranship.model.naming import source_label
from tranship.model.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tranship.endpoints.registry.session import Session
    from tranship.engine.run import Run
    from tranship.formats.distribution import Repository
    from tranship.formats.hosts import Host
    from tranship.http.payload import Payload
    from tranship.model.descriptor import Descriptor
    from tranship.model.digest import Digest

log = logging.getLogger(__name__)
_WORTH_ASKING = 64 * 1024  # bytes; a smaller blob is sooner sent again than asked for


class Uploads:
    """What is known of the blobs in the repositories of a registry, and how they get there. Threads share it.

    chunk  bytes of one request of an upload; None: a blob goes in one
    """

    def __init__(self, session: Session, run: Run, chunk: int | None) -> None:
        self._session = session
        self._run = run
        self._chunk = chunk
        self._there: dict[Digest, set[str]] = {}  # the repositories known to hold a blob
        self._doubted: set[Digest] = set()  # blobs that the registry was wrong about
        self._opened: dict[tuple[str, Digest], Upload] = {}  # uploads opened by mounts, and empty
        self._running: dict[tuple[str, Digest], Upload] = {}  # uploads under way
        self._knows: dict[str, bool] = {}  # of each registry: does it know the trick?
        self._large = 0  # blobs worth asking for that have not been asked for yet
        self._lock = threading.Lock()

    def expect(self, blobs: Iterable[Descriptor]) -> None:
        """Take notice of what will be asked for."""
        self._large = sum(blob.size >= _WORTH_ASKING for blob in blobs)

    def is_there(self, home: Reference, blob: Descriptor) -> bool:
        """Has the repository `home` the blob?"""
        if home.repository in self._there.get(blob.digest, ()):
            return True
        if blob.digest in self._doubted:
            return False
        with self._lock:
            self._large -= blob.size >= _WORTH_ASKING
        host, place = self._session.target(home)
        asked = self._ask_by_mount(host, place, home, blob)
        if asked is not None:
            return asked
        response = self._session.client.send(host, place.head_blob(blob.digest))
        if response.status != 200:
            return False
        opened = self._opened.pop((home.repository, blob.digest), None)
        if opened is not None:
            self._cancel(host, place, opened)
        self._note(home, blob)
        return True

    def _ask_by_mount(self, host: Host, place: Repository, home: Reference, blob: Descriptor) -> bool | None:
        """The trick; None when it does not tell. An upload that another mount has opened says nothing about this repository."""
        key = (home.repository, blob.digest)
        knows = self._knows.get(home.domain)
        if key not in self._opened and knows is not False and not self._run.dry:
            answer = self._session.run(host, mount(place, blob, home.path))
            if not isinstance(answer, Upload):
                self._knows[home.domain] = answer
                if answer:
                    self._note(home, blob)
                return answer or None
            self._opened[key] = answer
            if knows:
                return False
        return False if key in self._opened and blob.size < _WORTH_ASKING else None

    def mount(self, home: Reference, blob: Descriptor, repository: str) -> bool:
        """Take the blob from `repository` (`host/path`) into `home`; False when that cannot be."""
        key = (home.repository, blob.digest)
        if home.repository in self._there.get(blob.digest, ()):
            return True
        domain, _, path = repository.partition("/")
        same = source_label(domain) == source_label(home.domain)  # a store's note has no port
        if not same or path == home.path or key in self._opened or blob.digest in self._doubted or self._run.dry:
            return False
        host, place = self._session.target(home)
        answer = self._session.run(host, mount(place, blob, path))
        if isinstance(answer, Upload):
            self._opened[key] = answer
        elif answer:
            self._note(home, blob)
        return answer is True

    def bring(self, homes: Sequence[Reference], blob: Descriptor, payload: Payload) -> None:
        """Send the bytes to the first repository that lacks them, and let the others have them from there."""
        for home in homes:
            there = self._there.get(blob.digest, set())
            if home.repository in there:
                continue
            if any(self.mount(home, blob, source) for source in tuple(there)):
                continue
            host, place = self._session.target(home)
            key = (home.repository, blob.digest)
            opened, broken = self._opened.pop(key, None), self._running.pop(key, None)
            if broken is not None:  # what it holds was wrong, or came from another place than what comes now
                self._cancel(host, place, broken)
            if opened is not None:
                self._running[key] = opened

            def note(session: Upload, key: tuple[str, Digest] = key) -> None:
                self._running[key] = session

            flow = upload(place, blob, session=opened, fresh=True, chunk=self._chunk, opened=note)
            self._session.run(host, flow, payload)
            self._running.pop(key, None)
            self._note(home, blob)
            self._learn(host, place, home, blob)

    def _learn(self, host: Host, place: Repository, home: Reference, blob: Descriptor) -> None:
        """Find out, once, whether the registry knows the trick: of this blob it is certain that it is there."""
        with self._lock:
            if self._large <= 0 or home.domain in self._knows:
                return
            self._knows[home.domain] = True  # nobody else asks meanwhile; that it is true is likely
        answer: Upload | bool = False
        try:
            answer = self._session.run(host, mount(place, blob, home.path))
        except Cancelled:
            raise
        except TranshipError as error:  # it was for the blobs to come: this one is there
            log.info("%s does not tell whether it knows mounts: %s", host.authority, error)
        self._knows[home.domain] = answer is True
        if isinstance(answer, Upload):
            self._cancel(host, place, answer)

    def _cancel(self, host: Host, place: Repository, session: Upload) -> None:
        """Let the registry forget an upload; that it cannot is its own affair."""
        with contextlib.suppress(TranshipError):
            self._session.run(host, cancel(place, session))

    def abort(self) -> None:
        """Give up what is open, so that the registry need not keep it; the first failure to do so ends it."""
        with contextlib.suppress(TranshipError):
            for (repository, _), opened in (*self._opened.items(), *self._running.items()):
                host, place = self._session.target(Reference.parse(repository))
                self._session.run(host, cancel(place, opened))

    def forget(self, home: Reference, blob: Descriptor) -> None:
        """The registry was wrong about a blob: it is sent whatever the registry says."""
        self._doubted.add(blob.digest)
        self._there.get(blob.digest, set()).discard(home.repository)

    def _note(self, home: Reference, blob: Descriptor) -> None:
        with self._lock:
            self._there.setdefault(blob.digest, set()).add(home.repository)
