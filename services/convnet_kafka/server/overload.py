"""What is refused under load, before a body is sent: more uploads than a process may hold, and more work than the lane can do in time.

Memory stays bounded, nothing that is accepted expires unseen, and a caller is told when to come back. Never asked for probes and for
reads of labels. Lives on the event loop, waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import Gauge

from convnet_kafka.messages import Lane
from convnet_kafka.server.backlog import LaneBacklog
from convnet_kafka.server.problems import Problem
from convnet_kafka.settings import ServerSettings

# A caller that is refused for a backlog whose end nobody can tell asks again after a minute, and never later than after an hour.
UNKNOWN_RETRY_S = 60.0
LONGEST_RETRY_S = 3600.0


class UploadSlots:
    """Counts uploads in progress. Belongs to the event loop.

    Args:
        limit: uploads at once, 1 or more.
        gauge: shows how many there are.
    """

    def __init__(self, limit: int, gauge: Gauge) -> None:
        self._limit = limit
        self._gauge = gauge
        self._taken = 0

    def check(self) -> None:
        """There is room for one more.

        Raises:
            Problem: there is none.
        """
        if self._taken >= self._limit:
            raise Problem("too-many-uploads", f"{self._limit} uploads are in progress in this process: try again in a moment")

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take a slot for the time of one upload.

        Raises:
            Problem: there is none.
        """
        self.check()
        self._taken += 1
        self._gauge.inc()
        try:
            yield
        finally:
            self._taken -= 1
            self._gauge.dec()


@dataclass(frozen=True, slots=True)
class BacklogLimits:
    """How much work may wait; 0 switches a limit off.

    Attributes:
        drain_s: seconds until all that waits in a lane is done.
        most_images: images that wait in a lane.
    """

    drain_s: Mapping[Lane, float]
    most_images: int

    @classmethod
    def of(cls, settings: ServerSettings) -> BacklogLimits:
        """As they are set."""
        return cls(
            {Lane.BULK: settings.bulk_drain_limit_s, Lane.FAST: settings.fast_drain_limit_s},
            settings.max_waiting_images,
        )


class BacklogGate:
    """Refuses new images while too much waits in their lane. What is not known is no reason to refuse.

    Args:
        limits: how much may wait.
        backlog: what waits in a lane, None when that is not known.
    """

    def __init__(self, limits: BacklogLimits, backlog: Callable[[Lane], LaneBacklog | None]) -> None:
        self._limits = limits
        self._backlog = backlog

    def check(self, lane: Lane) -> None:
        """The lane takes new images. Costs nothing.

        Raises:
            Problem: it does not, until later.
        """
        found = self._backlog(lane)
        if found is None:
            return
        if found.overdue:
            raise Problem(
                "backlog-too-old",
                f"{found.overdue} images of the {lane} lane have waited for more than half of the time that Kafka keeps them: "
                "nothing new is taken until they are classified, so that none is lost",
                retry_after_s=_retry_s(found.overdue, found.rate),
            )
        most, limit_s = self._limits.most_images, self._limits.drain_s[lane]
        if most and found.waiting > most:
            raise Problem(
                "backlog-too-long",
                f"{found.waiting} images wait in the {lane} lane; uploads are taken again below {most}",
                retry_after_s=_retry_s(found.waiting - most, found.rate),
            )
        if limit_s and found.rate and (found.drain_s or 0.0) > limit_s:
            raise Problem(
                "backlog-too-long",
                f"{found.waiting} images wait in the {lane} lane, which takes {found.drain_s:.0f} s at {found.rate:.0f} images/s; "
                f"uploads are taken again below {limit_s:.0f} s",
                retry_after_s=_retry_s(found.waiting - limit_s * found.rate, found.rate),
            )


def _retry_s(images: float, rate: float | None) -> float:
    """Seconds until so many images are done, while nothing new comes: what a caller is told, truthfully as far as is known."""
    return min(LONGEST_RETRY_S, images / rate) if rate else UNKNOWN_RETRY_S
