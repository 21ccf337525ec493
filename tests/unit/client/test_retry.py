"""When the client tries again, and when it gives up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from convnet_kafka.client.api import _retry_after_s
from convnet_kafka.client.retry import Patience, RetryPolicy
from convnet_kafka.client.uploads import RequestSize
from convnet_kafka.errors import ServerError

BUSY = ServerError("busy", status=503)


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def policy(self, give_up_s: float = 120.0) -> RetryPolicy:
        return RetryPolicy(give_up_s=give_up_s, sleep=self.sleep, clock=lambda: self.now)


async def test_pauses_double_up_to_the_longest_and_are_never_all_alike() -> None:
    time = Time()
    patience = Patience(time.policy())
    for _ in range(12):
        await patience.wait(BUSY)
    for number, seconds in enumerate(time.slept):
        longest = min(5.0, 0.2 * 2**number)
        assert longest / 2 <= seconds <= longest
    assert len(set(time.slept)) == 12


async def test_it_gives_up_after_the_policys_time_without_success_with_the_last_error() -> None:
    time = Time()
    patience = Patience(time.policy(60))

    async def try_on() -> None:
        while True:
            await patience.wait(BUSY)

    with pytest.raises(ServerError, match="busy"):
        await try_on()
    assert time.now == pytest.approx(60)


async def test_success_starts_the_time_anew() -> None:
    time = Time()
    patience = Patience(time.policy(10))
    for _ in range(100):
        await patience.wait(BUSY)
        patience.success()
    assert time.now > 10


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 415])
async def test_what_will_not_go_away_is_raised_at_once(status: int) -> None:
    time = Time()
    with pytest.raises(ServerError, match="never"):
        await Patience(time.policy()).wait(ServerError("never", status=status))
    assert time.slept == []


async def test_the_servers_own_time_is_kept_within_reason() -> None:
    time = Time()
    await Patience(time.policy()).wait(ServerError("busy", status=429, retry_after_s=10))
    await Patience(time.policy()).wait(ServerError("busy", status=429, retry_after_s=86_400))
    assert 10 < time.slept[0] < 11
    assert 60 < time.slept[1] < 61


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    assert _retry_after_s("7") == 7
    assert _retry_after_s("1.5") == 1.5
    assert _retry_after_s("-3") == 0
    assert _retry_after_s(format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)) == pytest.approx(30, abs=2)
    assert _retry_after_s("soon") is _retry_after_s(None) is None


def test_requests_grow_while_they_are_quick_and_shrink_to_what_the_line_carries() -> None:
    size = RequestSize()
    for _ in range(10):
        size.took(size.size, 0.2)
    assert (size.images, size.size) == (4096, 32_000_000)
    for _ in range(3):
        # 100 KB/s: 5 s carry 500 KB, and half of that is aimed at.
        size.took(size.size, size.size / 100_000)
    assert size.size == pytest.approx(250_000, rel=0.1)
    size.took(100, 30)
    assert size.size == 64 * 1024


def test_a_request_never_grows_past_what_somebody_refused() -> None:
    size = RequestSize()
    size.refused(1_000_000)
    for _ in range(10):
        size.took(size.size, 0.1)
    assert size.size == 500_000
