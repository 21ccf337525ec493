"""Rates of a key: what is saved up, what is owed, and that the time told is the time it takes."""

from __future__ import annotations

import pytest

from convnet_kafka.apikeys import Rates
from convnet_kafka.messages import Lane
from convnet_kafka.server.ratelimit import Allowance, TokenBucket


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_bucket_gives_what_was_saved_up_and_then_its_rate(clock: Clock) -> None:
    bucket = TokenBucket(2.0, burst_s=3.0, clock=clock)
    taken = 0
    while not bucket.wait_s():
        bucket.take(1)
        taken += 1
    assert taken == 6
    for _ in range(10):
        clock.now += bucket.wait_s()
        assert bucket.wait_s() == 0
        bucket.take(1)
    assert clock.now == pytest.approx(1000.0 + 10 / 2.0)


def test_no_more_is_saved_up_than_the_burst(clock: Clock) -> None:
    bucket = TokenBucket(2.0, burst_s=3.0, clock=clock)
    clock.now += 1e6
    bucket.take(6)
    assert bucket.wait_s() == pytest.approx(0.5)


def test_a_slow_rate_still_lets_one_through(clock: Clock) -> None:
    bucket = TokenBucket(0.01, burst_s=1.0, clock=clock)
    assert bucket.wait_s() == 0
    bucket.take(1)
    assert bucket.wait_s() == pytest.approx(100)


@pytest.mark.parametrize("debt", [11, 500, 100_000])
def test_the_time_told_is_exactly_the_time_it_takes(clock: Clock, debt: int) -> None:
    allowance = Allowance(Rates(images_per_s=10, burst_s=1), clock)
    assert allowance.admit(Lane.BULK) is None
    allowance.charge(debt, Lane.BULK)
    wait = allowance.admit(Lane.BULK)
    assert wait is not None
    assert wait.seconds == pytest.approx((debt - 10 + 1) / 10)
    clock.now += wait.seconds - 0.01
    assert allowance.admit(Lane.BULK) is not None
    clock.now += 0.01
    assert allowance.admit(Lane.BULK) is None


def test_images_do_not_hold_up_requests_that_bring_none(clock: Clock) -> None:
    allowance = Allowance(Rates(images_per_s=10), clock)
    allowance.charge(100_000, Lane.BULK)
    assert allowance.admit(Lane.BULK) is not None
    assert allowance.admit(Lane.FAST) is not None
    assert allowance.admit(None) is None


def test_the_fast_lane_has_a_rate_of_its_own_below_the_common_one(clock: Clock) -> None:
    allowance = Allowance(Rates(images_per_s=1000, fast_images_per_s=5, burst_s=1), clock)
    allowance.charge(6, Lane.FAST)
    wait = allowance.admit(Lane.FAST)
    assert wait is not None
    assert (wait.rate, wait.per_s, wait.seconds) == ("fast-lane images", 5, pytest.approx(0.4))
    assert allowance.admit(Lane.BULK) is None
    allowance.charge(2000, Lane.BULK)
    assert allowance.admit(Lane.BULK) is not None


def test_a_refused_request_takes_nothing(clock: Clock) -> None:
    allowance = Allowance(Rates(requests_per_s=1, images_per_s=10, burst_s=1), clock)
    allowance.charge(20, Lane.BULK)
    for _ in range(100):
        assert allowance.admit(Lane.BULK) is not None
    assert allowance.admit(None) is None


def test_the_longest_wait_is_told(clock: Clock) -> None:
    allowance = Allowance(Rates(requests_per_s=1, images_per_s=10, burst_s=1), clock)
    assert allowance.admit(None) is None
    allowance.charge(1010, Lane.BULK)
    wait = allowance.admit(Lane.BULK)
    assert wait is not None
    assert wait.rate == "images"
    assert wait.seconds == pytest.approx(100.1)


def test_a_key_without_rates_never_waits(clock: Clock) -> None:
    allowance = Allowance(Rates(), clock)
    allowance.charge(10**9, Lane.FAST)
    assert allowance.admit(Lane.FAST) is None
