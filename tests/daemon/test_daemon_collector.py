"""When the daemon collects: soon after deletions, seldom otherwise, and at once for whoever waits."""

import threading

import pytest

from tranship.daemon import collector as module
from tranship.daemon.collector import MUTATIONS, Collector
from tranship.errors import Unavailable


class Work:
    """Counts the runs; may be held up, or made to fail."""

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.runs = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.error = None

    def __call__(self):
        self.begun.release()
        self.gate.wait(30)
        self.runs.release()
        if self.error:
            raise self.error

    def ran(self, timeout=30.0):
        return self.runs.acquire(timeout=timeout)


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def collector(work, monkeypatch):
    monkeypatch.setattr(module, "STARTUP_DELAY", 0.0)
    collector = Collector(work)
    collector.start()
    assert work.ran()  # the one at the start
    work.begun.acquire()
    yield collector
    work.gate.set()
    collector.stop()


def test_deletion_brings_a_run_about(collector, work):
    collector.deleted()
    assert work.ran()


def test_deletions_during_a_run_are_collected_by_one_more(collector, work):
    work.gate.clear()
    collector.deleted()
    work.begun.acquire(timeout=30)
    for _ in range(50):
        collector.deleted()
    work.gate.set()
    assert work.ran()  # that of the first deletion
    assert work.ran()  # that of all others
    assert not work.ran(timeout=0.6)


def test_few_changes_bring_no_run_about_and_many_do(collector, work):
    for _ in range(MUTATIONS - 1):
        collector.changed()
    assert not work.ran(timeout=0.6)
    collector.changed()
    assert work.ran()


def test_run_returns_after_a_collection_that_began_later(collector, work):
    collector.run()
    assert work.ran(timeout=0)


def test_failure_is_told_to_whoever_waits_and_the_next_run_works(collector, work):
    work.error = RuntimeError("disk on fire")
    with pytest.raises(RuntimeError, match="disk on fire"):
        collector.run()
    work.error = None
    collector.run()


def test_run_after_the_end_does_not_hang(work):
    collector = Collector(work)
    collector.start()
    collector.stop()
    with pytest.raises(Unavailable, match="stopping"):
        collector.run()
