"""When what was put into an outbox counts as gone: once its taker came back for more, or left."""

import threading

from tranship.containerd.outbox import Outbox


def test_drained_when_the_taker_comes_back_for_more():
    box = Outbox()
    passing, passed = threading.Event(), threading.Event()

    def take():
        for _ in box:
            passing.set()
            passed.wait(20)

    taker = threading.Thread(target=take)
    taker.start()
    assert box.drained(20)
    box.put("last words")
    assert passing.wait(20)
    assert not box.drained(0.01)  # taken, and not yet passed on
    passed.set()
    assert box.drained(20)
    box.end()
    taker.join(20)
    assert box.drained(0)


def test_drained_when_the_taker_leaves():
    box = Outbox()
    box.put("heard")
    box.put("not heard")
    taking = iter(box)
    assert next(taking) == "heard"
    assert not box.drained(0.01)
    taking.close()
    assert box.drained(0)


def test_not_drained_while_nobody_takes_anything():
    box = Outbox()
    box.put("waits")
    assert not box.drained(0.01)


def test_nothing_waits_for_a_taker_that_has_left():
    box = Outbox()
    for encoded in (b"heard", b"not heard"):
        box.put(encoded)
    taking = iter(box)
    next(taking)
    box.put(b"not heard either")  # there is no room for another
    taking.close()
    took = []
    putting = threading.Thread(target=lambda: took.append(box.put(b"late")), daemon=True)
    putting.start()
    putting.join(2)
    assert took == [False]
