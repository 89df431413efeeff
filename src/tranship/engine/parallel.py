"""Doing one thing to many items in threads, of which a failure or a Ctrl-C stops all before anybody goes on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from tranship.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tranship.engine.run import Run

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(function: Callable[[Item], Result], items: Iterable[Item], workers: int, run: Run) -> list[Result]:
    """Run `function` over the items in threads; on a failure stop them all, give the run up, and raise its first cause.

    Results come in the order in which they were had. No thread is left when this returns or raises.

    Threads of our own rather than an executor's: a queue of futures cannot be stopped in the middle of its items, and a
    Ctrl-C in the main thread must reach the workers before it is waited for.
    """
    queue = iter(items)
    results: list[Result] = []
    failures: list[BaseException] = []
    lock = threading.Lock()

    def work() -> None:
        while not failures:
            with lock:
                try:
                    item = next(queue)
                except StopIteration:
                    return
            try:
                results.append(function(item))
            except BaseException as error:  # noqa: BLE001  # carried to the caller's thread, whatever it is
                failures.append(error)
                run.give_up()

    threads = [threading.Thread(target=work, name=f"tranship-{n}", daemon=True) for n in range(workers)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException as error:  # Ctrl-C, or no thread to be had: what the workers use is about to be closed
        failures.append(error)  # for a thread that is only being born, and of which nobody knows yet whether it lives
        run.give_up()
        for thread in threads:
            if thread.is_alive():
                thread.join()
        raise
    if failures:
        raise next((e for e in failures if not isinstance(e, Cancelled)), failures[0])
    return results
