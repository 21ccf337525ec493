"""Which partition a record without a key goes to: one after the other, for as long as a request to the broker waits for company.

librdkafka's own sticky choice takes them by chance, and changes its mind while a request still fills. What ends, a job of some thousand
images, is then spread unevenly, and one replica works alone at its end.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence

# The producer chooses, from those that have a leader.
PRODUCER_CHOOSES = -1
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


class RoundRobinPartitioner:
    """Takes turns among partitions, each for a while. Belongs to one thread.

    Neighbours in number often have one owner, so a turn goes to one far from the last: the first few turns meet every owner, too.

    Args:
        partitions: those that can be written to now, asked at each turn; none when nobody knows, then the producer chooses.
        hold_s: seconds of a turn, 0 or more: as long as the producer's records wait for company, so that a request holds one partition.
        clock: monotonic seconds.
    """

    def __init__(self, partitions: Callable[[], Sequence[int]], hold_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._partitions = partitions
        self._hold_s = hold_s
        self._clock = clock
        # Processes begin at places of their own.
        self._place = random.randrange(2**16)  # noqa: S311 - spreads work, hides nothing
        self._until = 0.0
        self._partition = PRODUCER_CHOOSES

    def __call__(self) -> int:
        """The partition of the next record, or `PRODUCER_CHOOSES`."""
        now = self._clock()
        if now >= self._until:
            self._until = now + self._hold_s
            self._partition = self._next()
        return self._partition

    def _next(self) -> int:
        partitions = self._partitions()
        if not partitions:
            return PRODUCER_CHOOSES
        self._place = (self._place + _stride(len(partitions))) % len(partitions)
        return partitions[self._place]


def _stride(count: int) -> int:
    """A step that meets each of so many places once in a round, and is nearest below the golden ratio of it."""
    return next(step for step in range(max(1, round(count * _GOLDEN_RATIO)), 0, -1) if math.gcd(step, count) == 1)
