"""Whose batch is next: the fast lane's, while bulk keeps its share; and no more than one batch of a lane waits."""

from __future__ import annotations

import threading

import pytest

from convnet_kafka.classifier.batching import FIRST_BATCH, LATELY_S, BatchSizer
from convnet_kafka.classifier.handoff import Batch, Handoff, Turns
from convnet_kafka.messages import Lane
from support.waiting import until

BOTH = [Lane.BULK, Lane.FAST]


def shares(turns: Turns, bulk_s: float, fast_s: float, rounds: int) -> dict[Lane, float]:
    """Seconds each lane gets when both always have work."""
    used = dict.fromkeys(Lane, 0.0)
    for _ in range(rounds):
        lane = turns.choose(BOTH)
        seconds = bulk_s if lane is Lane.BULK else fast_s
        used[lane] += seconds
        turns.served(lane, seconds)
    return used


@pytest.mark.parametrize(("bulk_s", "fast_s"), [(0.040, 0.001), (0.001, 0.001), (0.005, 0.040)])
def test_bulk_gets_its_share_however_busy_the_fast_lane_is(bulk_s: float, fast_s: float) -> None:
    used = shares(Turns(0.2), bulk_s, fast_s, 5000)
    assert used[Lane.BULK] / sum(used.values()) == pytest.approx(0.2, abs=0.02)


def test_the_fast_lane_goes_first() -> None:
    turns = Turns(0.2)
    assert turns.choose(BOTH) is Lane.FAST


def test_what_bulk_did_while_the_fast_lane_was_idle_is_not_held_against_it() -> None:
    turns = Turns(0.5)
    for _ in range(100):
        turns.served(turns.choose([Lane.BULK]), 1.0)
    assert turns.choose(BOTH) is Lane.FAST
    turns.served(Lane.FAST, 0.01)
    assert turns.choose(BOTH) is Lane.BULK


def batch(lane: Lane = Lane.BULK) -> Batch:
    return Batch(lane, [])


def test_a_batch_waits_until_it_is_taken() -> None:
    handoff = Handoff(Turns(0.2))
    first = batch()
    handoff.offer(first)
    assert not handoff.taken(first, 0.01)
    taken = threading.Event()
    waiting = threading.Thread(target=lambda: handoff.taken(first, 20) and taken.set())
    waiting.start()
    assert handoff.take(1.0, BOTH) is first
    assert taken.wait(5)
    waiting.join()
    assert handoff.take(0.01, BOTH) is None


def test_a_lane_that_may_not_be_served_waits() -> None:
    handoff = Handoff(Turns(0.2))
    bulk, fast = batch(), batch(Lane.FAST)
    handoff.offer(bulk)
    handoff.offer(fast)
    assert handoff.take(0.01, [Lane.BULK]) is bulk
    assert handoff.take(0.01, [Lane.BULK]) is None
    assert handoff.take(0.01, BOTH) is fast


def test_closing_lets_everyone_go() -> None:
    handoff = Handoff(Turns(0.2))
    offered = batch()
    handoff.offer(offered)
    answers: list[object] = []
    threads = [
        threading.Thread(target=lambda: answers.append(handoff.taken(offered, 20))),
        threading.Thread(target=lambda: answers.append(handoff.take(20, [Lane.FAST]))),
    ]
    for thread in threads:
        thread.start()
    handoff.close()
    until(lambda: len(answers) == 2, 5)
    assert set(answers) == {False, None}
    for thread in threads:
        thread.join()


def test_a_batch_holds_what_takes_the_time_it_may_take() -> None:
    sizer = BatchSizer(64, max_seconds=0.040, undisturbed_seconds=0.040)
    assert sizer.limit() == FIRST_BATCH
    for _ in range(30):
        sizer.measured(10, 0.001, 1000)
    assert sizer.limit() == 64
    sizer.measured(4, 0.040, 4000)  # photos: known at once
    assert sizer.limit() == 4
    sizer.measured(1, 10.0, 1000)
    assert sizer.limit() == 1


def test_a_batch_may_take_longer_while_nobody_uses_the_other_lane() -> None:
    now = 1000.0
    sizer = BatchSizer(64, max_seconds=0.040, undisturbed_seconds=0.100, clock=lambda: now)
    sizer.measured(4, 0.080, 4000)
    assert sizer.limit() == 5
    sizer.disturbed()
    assert sizer.limit() == 2
    now += LATELY_S - 0.1
    assert sizer.limit() == 2
    now += 0.1
    assert sizer.limit() == 5


def test_a_batch_is_bounded_in_bytes() -> None:
    sizer = BatchSizer(64, undisturbed_seconds=1000, max_bytes=10_000_000)
    sizer.measured(1, 0.001, 4_000_000)
    assert sizer.limit() == 2


def test_images_far_larger_than_those_before_are_not_begun_together() -> None:
    sizer = BatchSizer(256)
    assert sizer.fits([50_000] * 8) == 8  # nothing is known yet
    for _ in range(40):
        sizer.measured(100, 0.001, 50_000)
    assert sizer.limit() == 256
    assert sizer.fits([500] * 256) == 256
    assert sizer.fits([800] * 256) == 256  # images of one job differ
    assert sizer.fits([100_000] * 256) == 2
    assert sizer.fits([9_000_000] * 256) == 1
    assert sizer.fits([500] * 100 + [100_000] * 156) == 102


def test_what_could_not_be_decoded_makes_no_batch_larger_but_may_make_it_smaller() -> None:
    sizer = BatchSizer(64, max_seconds=0.040, undisturbed_seconds=0.040)
    sizer.measured(4, 0.040, 4000)
    for _ in range(50):
        sizer.wasted(4, 0.0001)
    assert sizer.limit() == 4
    sizer.wasted(4, 0.160)
    assert sizer.limit() == 1


def test_nothing_that_was_read_makes_a_batch_of_more_bytes_than_one_may_have() -> None:
    sizer = BatchSizer(64, max_bytes=10_000_000)
    assert sizer.fits([4_000_000] * 64) == 2
    sizer.measured(2, 0.002, 8_000_000)
    assert sizer.fits([4_000_000] * 64) == 2
