"""Time, turns and bytes a second, with a clock that moves when it is told to."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from tranship.http.limits import Clock, Progress, Slots, Throttle, Timeouts
from tranship.http.retry import Pace, Retry


class Time:
    """A clock of the test's own; sleeping moves it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: self.now, self.sleep)


# ------------------------------------------------------------------------------------------------------------- progress


def test_a_server_that_drips_is_given_up_after_the_stall_time() -> None:
    progress = Progress(Timeouts(stall=60, floor=1024))
    for _ in range(59):
        progress.moved(100, 1.0)
    with pytest.raises(TimeoutError, match="6000 bytes in 60 seconds"):
        progress.moved(100, 1.0)


def test_a_server_above_the_floor_may_take_all_day() -> None:
    progress = Progress(Timeouts(stall=60, floor=1024))
    for _ in range(10_000):
        progress.moved(2048, 1.0)


def test_only_waiting_counts() -> None:
    progress = Progress(Timeouts(stall=60, floor=1024))
    for _ in range(10_000):
        progress.moved(1, 0.0)


def test_each_stretch_is_judged_by_itself() -> None:
    progress = Progress(Timeouts(stall=60, floor=1024))
    progress.moved(1 << 30, 60.0)
    with pytest.raises(TimeoutError):
        progress.moved(0, 60.0)


# ---------------------------------------------------------------------------------------------------------------- rate


def test_the_rate_holds_over_all_takers() -> None:
    time = Time()
    throttle = Throttle(1000, time.clock)
    for _ in range(10):
        throttle.take(500)
    assert time.now == pytest.approx(1005.0)


def test_a_pause_is_not_saved_up() -> None:
    time = Time()
    throttle = Throttle(1000, time.clock)
    throttle.take(1000)
    time.now += 100
    throttle.take(1000)
    assert time.slept == [pytest.approx(1.0), pytest.approx(1.0)]


def test_without_a_rate_nobody_waits() -> None:
    time = Time()
    Throttle(None, time.clock).take(1 << 40)
    assert time.slept == []
    assert Throttle(None, time.clock).share(1 << 20) == 1 << 20


def test_a_limited_stream_moves_in_small_pieces() -> None:
    assert Throttle(800_000, Time().clock).share(1 << 20) == 100_000
    assert Throttle(10, Time().clock).share(1 << 20) == 4096


# --------------------------------------------------------------------------------------------------------------- slots


def test_no_more_threads_than_slots_talk_to_a_host() -> None:
    slots, lock = Slots(2), threading.Lock()
    now, most = 0, 0
    ready = threading.Barrier(2, timeout=10)

    def work() -> None:
        nonlocal now, most
        with slots.slot("a"):
            with lock:
                now += 1
                most = max(most, now)
            ready.wait()  # two are inside at once, or this breaks
            with lock:
                now -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == 2


def test_who_holds_a_slot_never_waits_for_another() -> None:
    slots, done = Slots(1), []
    inside = threading.Barrier(2, timeout=10)

    def work(first: str, second: str) -> None:
        with slots.slot(first):
            inside.wait()
            with slots.slot(second), slots.slot(first):
                done.append(first)

    threads = [threading.Thread(target=work, args=pair) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(done) == ["a", "b"]


def test_hosts_do_not_share_their_slots() -> None:
    slots = Slots(1)
    with slots.slot("a"):
        entered = threading.Event()

        def work() -> None:
            with slots.slot("b"):
                entered.set()

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(10)
        assert entered.is_set()


# --------------------------------------------------------------------------------------------------------------- retry


def test_waits_double_up_to_a_limit_and_half_of_each_is_chance() -> None:
    retry = Retry(base=1.0, longest=10.0)
    assert [retry.delay(attempt, None, 0.0) for attempt in (1, 2, 3, 4, 5, 500)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert [retry.delay(attempt, None, 1.0) for attempt in (1, 2, 3, 4, 5, 500)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_the_servers_wish_is_obeyed_up_to_our_patience() -> None:
    retry = Retry(patience=60.0)
    assert retry.delay(1, 3.0, 0.0) == 3.0
    assert retry.delay(1, 3.0, 1.0) == pytest.approx(3.3)
    assert retry.delay(1, 31_536_000.0, 0.0) == 60.0
    assert retry.delay(1, 0.0, 1.0) == 0.0


def test_a_held_host_is_asked_by_nobody_before_its_time() -> None:
    time = Time()
    pace = Pace(time.clock)
    pace.wait()
    assert time.slept == []
    pace.hold(5.0)
    pace.hold(2.0)
    pace.wait()
    assert time.now == 1005.0


def test_retries_are_a_budget_that_success_refills() -> None:
    pace = Pace(Time().clock, budget=3)
    assert [pace.may_retry() for _ in range(5)] == [True, True, True, False, False]
    pace.succeeded()
    assert not pace.may_retry()
    pace.succeeded()
    assert pace.may_retry()
    for _ in range(100):
        pace.succeeded()
    assert [pace.may_retry() for _ in range(4)] == [True, True, True, False]


def test_importing_the_client_imports_neither_sockets_nor_tls() -> None:
    code = "import sys, tranship.http.client, tranship.http.credentials; print([m for m in ('urllib3', 'ssl', 'http.client', 'tomllib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
