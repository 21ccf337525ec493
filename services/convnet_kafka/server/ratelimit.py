"""Rates of one key in one process: token buckets that may go into debt, because how many images an upload has is known only at its end.

Belongs to the event loop. Knows nothing of HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from convnet_kafka.apikeys import Rates
from convnet_kafka.messages import Lane

# So many seconds may pass in one step of arithmetic; a float's rounding must never make a caller wait for nothing.
_EPSILON = 1e-9


class TokenBucket:
    """Tokens that come at a rate and are saved up to a limit. Starts full.

    Args:
        rate: tokens a second, more than 0.
        burst_s: seconds of the rate that are saved up; one token at least.
        clock: monotonic seconds.
    """

    def __init__(self, rate: float, burst_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._capacity = max(1.0, rate * burst_s)
        self._clock = clock
        self._tokens = self._capacity
        self._at = clock()

    def wait_s(self) -> float:
        """Seconds until one token is there; 0 when it is."""
        missing = 1.0 - self._fill()
        return missing / self._rate if missing > _EPSILON else 0.0

    def take(self, tokens: float) -> None:
        """Take tokens, more than there are if need be: the debt is paid before anything else."""
        self._tokens = self._fill() - tokens

    def _fill(self) -> float:
        now = self._clock()
        self._tokens = min(self._capacity, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return self._tokens


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a request has to wait.

    Attributes:
        seconds: how long, from now.
        rate: which rate is used up, in words: `requests`, `images`, or `fast-lane images`.
        per_s: that rate.
    """

    seconds: float
    rate: str
    per_s: float


class Allowance:
    """What one key has left.

    Args:
        rates: the key's.
        clock: monotonic seconds.
    """

    def __init__(self, rates: Rates, clock: Callable[[], float] = time.monotonic) -> None:
        self.rates = rates
        named = (("requests", rates.requests_per_s), ("images", rates.images_per_s), ("fast-lane images", rates.fast_images_per_s))
        self._buckets = {name: (per_s, TokenBucket(per_s, rates.burst_s, clock)) for name, per_s in named if per_s}

    def admit(self, lane: Lane | None) -> Wait | None:
        """Take one request, or say why it has to wait; then nothing was taken.

        Args:
            lane: where its images go, None when it brings none.
        """
        found = self._longest("requests", *_rates_of(lane))
        if found is None:
            self._take("requests", 1)
        return found

    def wait(self, lane: Lane) -> Wait | None:
        """Why images of a lane have to wait, or None. Takes nothing."""
        return self._longest(*_rates_of(lane))

    def charge(self, images: int, lane: Lane) -> None:
        """Count the images of a request that was admitted."""
        for name in _rates_of(lane):
            self._take(name, images)

    def _longest(self, *names: str) -> Wait | None:
        waits = [wait for name in names if (wait := self._wait(name)) is not None]
        return max(waits, key=lambda wait: wait.seconds) if waits else None

    def _wait(self, name: str) -> Wait | None:
        if name not in self._buckets:
            return None
        per_s, bucket = self._buckets[name]
        seconds = bucket.wait_s()
        return Wait(seconds, name, per_s) if seconds else None

    def _take(self, name: str, tokens: float) -> None:
        if name in self._buckets:
            self._buckets[name][1].take(tokens)


def _rates_of(lane: Lane | None) -> tuple[str, ...]:
    """The rates that images of a lane count against."""
    if lane is None:
        return ()
    return ("images", "fast-lane images") if lane is Lane.FAST else ("images",)
