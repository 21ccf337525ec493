"""Which partition a record without a key goes to: the one that was given least so far, until a request to the broker is sent.

librdkafka's own sticky choice takes them by chance, and changes its mind while a request still fills. What ends, a job of some thousand
images, is then spread unevenly, and one replica works alone at its end. Turns of equal length are not even either: a body comes in bursts.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence

# The producer chooses, from those that have a leader.
PRODUCER_CHOOSES = -1
# A request to the broker with so much in it costs little beside its bytes; a job of a thousand photos then has some two hundred turns.
TURN_BYTES = 256 * 1024
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


class BalancedPartitioner:
    """Takes turns among partitions, each for a while; the next is one that was given the fewest records. Belongs to one thread.

    Neighbours in number often have one owner, so of equals a turn goes to one far from the last: the first few turns meet every owner, too.

    Args:
        partitions: those that can be written to now, asked at each turn; none when nobody knows, then the producer chooses.
        hold_s: seconds of a turn at most, 0 or more: as long as the producer's records wait for company, so that a request holds one
            partition.
        hold_bytes: bytes after which a turn ends earlier, because a request of the producer's is large enough.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        partitions: Callable[[], Sequence[int]],
        hold_s: float,
        hold_bytes: int = TURN_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._partitions = partitions
        self._hold_s = hold_s
        self._hold_bytes = hold_bytes
        self._clock = clock
        self._known: tuple[int, ...] = ()
        self._given: list[int] = []  # by place among the known
        self._stride = 1
        # Processes begin at places of their own.
        self._place = random.randrange(2**16)  # noqa: S311 - spreads work, hides nothing
        self._until = 0.0
        self._room = 0

    def __call__(self, size: int) -> int:
        """The partition of the next record, of so many bytes, or `PRODUCER_CHOOSES`."""
        now = self._clock()
        if now >= self._until or self._room <= 0:
            self._until = now + self._hold_s
            self._room = self._hold_bytes
            self._next()
        self._room -= size
        if not self._known:
            return PRODUCER_CHOOSES
        self._given[self._place] += 1
        return self._known[self._place]

    def _next(self) -> None:
        partitions = tuple(self._partitions())
        if partitions != self._known:  # all are equals again: one that was added is not to catch up with the others
            self._known = partitions
            self._given = [0] * len(partitions)
            self._stride = _stride(len(partitions))
        if count := len(partitions):
            turns = [(self._place + step * self._stride) % count for step in range(1, count + 1)]
            self._place = min(turns, key=self._given.__getitem__)


def _stride(count: int) -> int:
    """A step that meets each of so many places once in a round, and is nearest below the golden ratio of it; 1 of none."""
    return next((step for step in range(round(count * _GOLDEN_RATIO), 1, -1) if math.gcd(step, count) == 1), 1)
