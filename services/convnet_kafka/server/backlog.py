"""What waits for the classifiers: how many images in each lane, how fast they are done, how long the oldest has waited.

Owns one thread, which asks Kafka every few seconds; whoever asks here never waits. Decides nothing: `overload.py` and `fastlane.py` do.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.kafka.positions import Position
from convnet_kafka.messages import Lane, now_ms

logger = structlog.get_logger(__name__)

# The rate is that of so many looks in which work waited: half a minute with looks every 2 s.
WINDOW_LOOKS = 15
# A rate that is older says nothing of now.
RATE_LIFE_S = 60.0
# So many looks without an image done, and classifiers count as gone: what they did before is no rate any more.
STILL_LOOKS = 5
# With fewer waiting, a look may have met single images in flight: that shows how fast images come, not how fast they could be done.
LEAST_WAITING = 50
# Figures older than this are no reason to refuse anything.
STALE_S = 30.0
# So many looks that fail, and a partition may be without a leader.
LED_LOOKS = 2
# A topic that was just made has no leader for a moment: not worth a warning.
FAILURES_BEFORE_WARNING = 5
# The oldest image's wait is found by halving, to some 10 %: 7 halvings of the 19 doublings between 2 s and 7 days.
YOUNGEST_S = 2.0
AGE_STEPS = 7
MS = 1000


class Positions(Protocol):
    """Looks at one lane; `kafka.positions.GroupPositions` is the real one and documents the methods."""

    def look(self) -> Mapping[int, Position]: ...  # noqa: D102
    def first_since(self, partitions: Collection[int], at_ms: int) -> Mapping[int, int | None]: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class LaneBacklog:
    """One lane as it was a moment ago.

    Attributes:
        waiting: images that wait.
        rate: images a second that are done while images wait; None when that was not seen lately.
        still_s: seconds for which images have waited and none was done.
        overdue: images that have waited for longer than is allowed; 0 when nothing is disallowed.
        oldest_s: seconds that the oldest has waited, to some 10 %; 0 below 2 s.
        expired: images that retention removed before they were done.
        at: `time.monotonic()` of the look.
        partitions: of the lane's topic, each of which had a leader.
    """

    waiting: int
    rate: float | None
    still_s: float
    overdue: int
    oldest_s: float
    expired: int
    at: float
    partitions: tuple[int, ...] = ()

    @property
    def drain_s(self) -> float | None:
        """Seconds until all that wait are done; None when nobody knows."""
        if not self.waiting:
            return 0.0
        return self.waiting / self.rate if self.rate else None


class DrainRate:
    """How fast a lane is drained, from what has been committed. Fed after every look.

    Only looks count between which work waited all the time: an idle lane commits as fast as images come, which says nothing of how fast
    it could. So the rate is None until it is known, and again when classifiers are gone.
    """

    def __init__(self) -> None:
        self._last: tuple[float, int, int] | None = None
        # When, how long, how many were done.
        self._busy: deque[tuple[float, float, int]] = deque(maxlen=WINDOW_LOOKS)
        self._still_looks = 0
        self.still_s = 0.0

    def observe(self, at_s: float, done: int, waiting: int) -> None:
        """Take a look in.

        Args:
            at_s: when, monotonic seconds.
            done: images done since ever.
            waiting: images that wait.
        """
        last, self._last = self._last, (at_s, done, waiting)
        if last is None:
            return
        seconds, progress, fewest = at_s - last[0], done - last[1], min(waiting, last[2])
        if progress < 0:
            # The topic was made anew, or somebody set the group back.
            self._busy.clear()
            self._still_looks, self.still_s = 0, 0.0
            return
        if fewest and not progress:
            self._still_looks += 1
            self.still_s += seconds
        else:
            if progress and self._still_looks >= STILL_LOOKS:
                # Classifiers are back: how long they were away says nothing of how fast they are.
                self._busy.clear()
            self._still_looks, self.still_s = 0, 0.0
        if fewest >= max(progress, LEAST_WAITING):
            self._busy.append((at_s, seconds, progress))
        while self._busy and at_s - self._busy[0][0] > RATE_LIFE_S:
            self._busy.popleft()

    @property
    def rate(self) -> float | None:
        """Images a second, None when it is not known."""
        done = sum(progress for _, _, progress in self._busy)
        if len(self._busy) < 2 or not done or self._still_looks >= STILL_LOOKS:
            return None
        return done / sum(seconds for _, seconds, _ in self._busy)


class LaneWatch:
    """One lane, looked at again and again. Belongs to one thread.

    Args:
        lane: which, for the log.
        positions: asks Kafka.
        overdue_s: seconds an image may wait; None: as long as it likes.
        longest_s: seconds after which retention removes an image.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        lane: Lane,
        positions: Positions,
        *,
        overdue_s: float | None,
        longest_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lane = lane
        self._positions = positions
        self._overdue_s = overdue_s
        self._longest_s = longest_s
        self._clock = clock
        self._rate = DrainRate()
        self._expired = 0

    def look(self) -> LaneBacklog:
        """Ask Kafka once.

        Raises:
            KafkaUnavailable: it did not answer.
        """
        found = self._positions.look()
        at = self._clock()
        waiting = sum(position.waiting for position in found.values())
        # What is committed, not where the group would go on: what expires is not done.
        self._rate.observe(at, sum(position.committed or 0 for position in found.values()), waiting)
        behind = {partition: position for partition, position in found.items() if position.waiting}
        overdue = 0 if self._overdue_s is None else self._older(behind, self._overdue_s)
        expired = sum(position.expired for position in found.values())
        self._tell_expired(expired)
        return LaneBacklog(waiting, self._rate.rate, self._rate.still_s, overdue, self._oldest_s(behind), expired, at, tuple(sorted(found)))

    def close(self) -> None:
        """Let Kafka go."""
        self._positions.close()

    def _older(self, behind: Mapping[int, Position], age_s: float) -> int:
        """Waiting images that are older than this."""
        if not behind:
            return 0
        since = self._positions.first_since(behind.keys(), now_ms() - int(age_s * MS))
        older = 0
        for partition, position in behind.items():
            first = since[partition]
            older += max(0, (position.end if first is None else min(first, position.end)) - position.next)
        return older

    def _oldest_s(self, behind: Mapping[int, Position]) -> float:
        """Seconds that the oldest waiting image has waited at least; one question when it is young, a few more when it is not."""
        if not self._older(behind, YOUNGEST_S):
            return 0.0
        low, high = YOUNGEST_S, max(self._longest_s, 2 * YOUNGEST_S)
        for _ in range(AGE_STEPS):
            middle = (low * high) ** 0.5
            if self._older(behind, middle):
                low = middle
            else:
                high = middle
        return low

    def _tell_expired(self, expired: int) -> None:
        if expired > self._expired:
            logger.error("images expired before they were classified", lane=self._lane, images=expired, before=self._expired)
        self._expired = expired


class BacklogWatch:
    """Looks at all lanes in the background.

    Args:
        lanes: how to look at each; called in the thread.
        look_s: seconds between looks.
    """

    def __init__(self, lanes: Mapping[Lane, LaneWatch], look_s: float) -> None:
        self._lanes = lanes
        self._look_s = look_s
        self._found: dict[Lane, LaneBacklog] = {}
        self._failures = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start looking. Does not wait for Kafka."""
        self._thread = threading.Thread(target=self._run, name="backlog", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Stop looking, after the look under way."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def lane(self, lane: Lane) -> LaneBacklog | None:
        """The lane as it was a moment ago; None when it could not be seen lately."""
        return self._found.get(lane) if self.silent_s(lane) <= STALE_S else None

    def partitions(self, lane: Lane) -> tuple[int, ...]:
        """Those of the lane's topic, if all had a leader a moment ago; none when that is not known."""
        found = self._found.get(lane)
        return found.partitions if found is not None and self.silent_s(lane) <= LED_LOOKS * self._look_s else ()

    def silent_s(self, lane: Lane) -> float:
        """Seconds since the lane was last seen; infinite before the first time."""
        found = self._found.get(lane)
        return time.monotonic() - found.at if found is not None else float("inf")

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                for lane, watch in self._lanes.items():
                    self._found[lane] = watch.look()
                self._failures = 0
            except KafkaUnavailable as error:
                self._failures += 1
                if self._failures == FAILURES_BEFORE_WARNING:
                    # Uploads go on, but nobody knows whether they will be classified in time.
                    logger.warning("the backlog is not watched", reason=str(error))
            except Exception:
                # A mistake of ours must not end the watch unheard: its figures get old, which the metric shows.
                logger.exception("the backlog could not be looked at")
            self._stop.wait(self._look_s)
        for watch in self._lanes.values():
            watch.close()
