"""Who may use the fast lane: a caller of `classify` is refused at once when its labels would not come within its time-out.

A job that asks for the lane is held back before those callers wait behind it. Knows the calls in progress in this process and what the
backlog watch has seen of all. Lives on the event loop, waits for nothing.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager

from prometheus_client import Gauge

from convnet_kafka.server.backlog import LaneBacklog
from convnet_kafka.server.problems import Problem

# What answers took is known from those of the last seconds, and of the last few of them.
RECENT_S = 5.0
RECENT_ANSWERS = 64
# A lane counts as standing still after at least this: two looks of the watch and the time between commits.
STILL_S = 5.0
# What the backlog says is believed unless answers come in less than this part of the caller's time: then no queue stands before it.
PROVEN_PART = 4
# A caller that is refused because nothing moves may ask again after this.
STILL_RETRY_S = 5.0
MAX_RETRY_S = 30.0
# In one request: more belong into several, so that each is judged by what waits then. It bounds what all of them may bring at once.
MOST_IMAGES = 100
# While nobody knows how fast the lane is, jobs may have so many images in it, or sent since it was looked at last.
UNJUDGED_IMAGES = 1000
# Then they are asked to come back when it has been looked at again.
UNJUDGED_RETRY_S = 1.0


class FastLane:
    """Admission to the fast lane, in this process.

    Args:
        limit: calls in progress at once.
        backlog: what waits in the lane, None when that is not known.
        gauge: shows how many calls there are.
        jobs_wait_s: seconds that images of jobs may wait in the lane.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        limit: int,
        backlog: Callable[[], LaneBacklog | None],
        gauge: Gauge,
        *,
        jobs_wait_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._backlog = backlog
        self._gauge = gauge
        self._clock = clock
        self._calls: dict[int, Sized] = {}
        self._next_call = 0
        self._answers: deque[tuple[float, float]] = deque(maxlen=RECENT_ANSWERS)
        self._label_at = float("-inf")
        self._jobs_wait_s = jobs_wait_s
        self._sent: deque[tuple[float, int]] = deque()

    def check(self, timeout_s: float) -> None:
        """The lane can answer within this time, as far as is known. A caller that waits for nothing (0) is not refused for time.

        Raises:
            Problem: it cannot.
        """
        if len(self._calls) >= self._limit:
            raise _busy(f"{self._limit} calls wait for their labels in this process", 1.0)
        if timeout_s <= 0:
            return
        found = self._backlog()
        still_s = max(timeout_s, STILL_S)
        if found is not None and found.waiting and found.still_s > still_s and self._clock() - self._label_at > still_s:
            raise _busy(f"no image of the lane has been classified for {found.still_s:.0f} s: is a classifier running?", STILL_RETRY_S)
        wait_s = self._expected_s(found, timeout_s)
        if wait_s > timeout_s:
            raise _busy(f"labels take about {wait_s:.1f} s at the moment, longer than the {timeout_s:g} s you wait", wait_s - timeout_s)

    @contextmanager
    def call(self, images: Sized) -> Iterator[None]:
        """Count a call for as long as it takes.

        Args:
            images: what it waits for; looked at again and again.

        Raises:
            Problem: there are too many.
        """
        if len(self._calls) >= self._limit:
            raise _busy(f"{self._limit} calls wait for their labels in this process", 1.0)
        number = self._next_call = self._next_call + 1
        self._calls[number] = images
        self._gauge.inc()
        try:
            yield
        finally:
            del self._calls[number]
            self._gauge.dec()

    def answered(self, seconds: float, labels: int) -> None:
        """A call has waited so long for its labels, or given up after it."""
        now = self._clock()
        self._answers.append((now, seconds))
        if labels:
            self._label_at = now

    def check_job(self) -> None:
        """An upload of a job on this lane may come: who calls `classify` next will not stand behind more than a moment's work.

        Raises:
            Problem: it may not, until later.
        """
        found, now = self._backlog(), self._clock()
        if found is not None and found.waiting and found.still_s > STILL_S and now - self._label_at > STILL_S:
            raise _busy(f"no image of the lane has been classified for {found.still_s:.0f} s: is a classifier running?", STILL_RETRY_S)
        looked_at = found.at if found is not None else now - RECENT_S
        while self._sent and self._sent[0][0] < looked_at:
            self._sent.popleft()
        waiting = (found.waiting if found is not None else 0) + sum(images for _, images in self._sent)
        if found is None or not found.rate:
            if waiting >= UNJUDGED_IMAGES:
                raise _busy(f"{waiting} images are on their way, and how fast they are done is not known yet", UNJUDGED_RETRY_S)
            return
        wait_s = waiting / found.rate - (now - looked_at)
        if wait_s > self._jobs_wait_s:
            raise _busy(f"its images wait {wait_s:.1f} s, and those of jobs may wait {self._jobs_wait_s:g} s", wait_s - self._jobs_wait_s)

    def job_sent(self, images: int) -> None:
        """A job has sent so many images to the lane."""
        if images:
            self._sent.append((self._clock(), images))

    def _expected_s(self, found: LaneBacklog | None, timeout_s: float) -> float:
        """Seconds until a label would come; 0 when nothing speaks against at once."""
        waiting = sum(map(len, self._calls.values()))
        if not waiting and (found is None or not found.rate or found.waiting <= timeout_s * found.rate):
            return 0.0  # whatever it took before: a caller who comes alone is spared the look
        now = self._clock()
        recent = [seconds for at, seconds in self._answers if now - at <= RECENT_S]
        usual_s = statistics.median(recent) if recent else None
        # Without others in line here nobody is in the way, whatever it took before: so a refusal never outlives its reason.
        expected_s = usual_s if usual_s is not None and waiting else 0.0
        if found is None or not found.rate or (usual_s is not None and usual_s < timeout_s / PROVEN_PART):
            return expected_s
        return max(expected_s, max(waiting, found.waiting) / found.rate)


def _busy(reason: str, retry_after_s: float) -> Problem:
    return Problem(
        "fast-lane-busy",
        f"the fast lane cannot answer in time: {reason}. Nothing was stored: try again later, or send the images to a job on the bulk lane",
        retry_after_s=min(retry_after_s, MAX_RETRY_S),
    )
