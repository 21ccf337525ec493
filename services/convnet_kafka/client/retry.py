"""When to try again, how long to wait before it, and when to give up."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from convnet_kafka.client.errors import BrokenAnswer, Unreachable
from convnet_kafka.errors import ServerError

# The statuses that mean "not now"; the others mean "never like this" (RFC 9110, RFC 6585).
_TEMPORARY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
# A server that names a longer time is asked again after this one: it may have been restarted since.
_LONGEST_RETRY_AFTER_S = 60.0
_RATE_LIMITED = "rate-limited"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient a client is.

    Attributes:
        give_up_s: seconds without any success after which one activity (uploads, or the stream of labels) is given up.
        first_pause_s: the longest first pause; each further failure doubles it.
        longest_pause_s: where doubling ends. Every pause is cut by chance to between its half and all of it, so that many clients do
            not come back together (the "jitter" of AWS's architecture blog, 2015).
        sleep: how time is passed; tests put their own.
        clock: seconds, monotonic.
    """

    give_up_s: float = 120.0
    first_pause_s: float = 0.2
    longest_pause_s: float = 5.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic


def is_temporary(error: ServerError) -> bool:
    """Whether the same request may succeed later: no answer, a broken one, or a status that says so."""
    return error.status is None or error.status in _TEMPORARY_STATUSES


class Patience:
    """The failures in a row of one activity. Owned by one event loop; several tasks may share it.

    Args:
        policy: how long to wait and when to give up.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._failures = 0
        self._failing_since: float | None = None

    def success(self) -> None:
        """Something went right: all is forgotten."""
        self._failures, self._failing_since = 0, None

    async def wait(self, error: ServerError) -> None:
        """Pass the time until the next try.

        Raises:
            ServerError: the error itself, when it will not go away, or when nothing has gone right for as long as the policy allows.
        """
        now = self._policy.clock()
        if self._failing_since is None:
            self._failing_since = now
        left = self._failing_since + self._policy.give_up_s - now
        if not is_temporary(error) or left <= 0:
            raise error
        pause = self.pause_s(self._failures, error.retry_after_s)
        self._failures += 1
        # A key's rate is no failure of the server, which says when there is room again: that time does not count.
        asked_s = min(error.retry_after_s or 0.0, _LONGEST_RETRY_AFTER_S) if error.slug == _RATE_LIMITED else 0.0
        self._failing_since += asked_s
        # The last try is made when the time is up, not before.
        await self._policy.sleep(min(pause, left + asked_s))

    def pause_s(self, failures: int, retry_after_s: float | None = None) -> float:
        """Seconds to wait after so many earlier failures in a row; never less than the server asked for."""
        longest = min(self._policy.longest_pause_s, self._policy.first_pause_s * 2.0 ** min(failures, 30))
        pause = longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients, guards nothing
        if retry_after_s is None:
            return pause
        return min(retry_after_s, _LONGEST_RETRY_AFTER_S) + pause


async def patiently(call: Callable[[], Awaitable[T]], policy: RetryPolicy, *, must_answer: bool = False) -> T:
    """The result of a call that may be made again, tried as the policy allows.

    Args:
        call: makes the request.
        policy: how long to wait and when to give up.
        must_answer: a server that cannot be reached at all, or is another program, is told at once. One that breaks off is not: it may
            be one of several.

    Raises:
        ServerError: the last one.
    """
    patience = Patience(policy)
    while True:
        try:
            return await call()
        except ServerError as error:
            if must_answer and isinstance(error, Unreachable | BrokenAnswer):
                raise
            await patience.wait(error)
