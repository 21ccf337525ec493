"""A key with a low rate makes a client slow, not give up: the time that the server names is waited for and does not count."""

from __future__ import annotations

import pytest

from convnet_kafka.client.errors import RateLimited, Unavailable
from convnet_kafka.client.retry import Patience, RetryPolicy
from convnet_kafka.errors import ServerError


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def policy(self, give_up_s: float) -> RetryPolicy:
        return RetryPolicy(give_up_s=give_up_s, sleep=self.sleep, clock=lambda: self.now)


async def tries(error: ServerError, give_up_s: float) -> tuple[int, float]:
    """How often a request that always fails is tried again, and for how long."""
    time = Time()
    patience = Patience(time.policy(give_up_s))
    for count in range(1000):
        try:
            await patience.wait(error)
        except ServerError:
            return count, time.now
    pytest.fail("it never gave up")


async def test_waiting_for_a_rate_is_not_failing() -> None:
    count, seconds = await tries(RateLimited("slow down", status=429, slug="rate-limited", retry_after_s=300.0), 120)
    # Each wait asked for is 60 s of it at most; only the pauses on top count, and they are what ends it.
    assert seconds > 1000
    assert count > 20


async def test_a_server_that_is_too_busy_is_given_up_in_time() -> None:
    _, seconds = await tries(Unavailable("busy", status=503, slug="backlog-too-long", retry_after_s=300.0), 120)
    assert seconds <= 120


async def test_who_wants_one_try_gets_one() -> None:
    assert await tries(RateLimited("slow down", status=429, slug="rate-limited", retry_after_s=300.0), 0) == (0, 0)
