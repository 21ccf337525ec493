"""Which partition a record without a key goes to: the one that was given least lately, until a request to the broker is sent.

librdkafka's own sticky choice takes them by chance, and changes its mind while a request still fills. What ends, a job of some thousand
images, is then spread unevenly, and one replica works alone at its end. Turns of equal length are not even either: a body comes in bursts.
"""

from __future__ import annotations

import heapq
import math
import random
import time
from collections.abc import Callable, Sequence

# The producer chooses, from those that have a leader.
PRODUCER_CHOOSES = -1
# A request to the broker with so much in it costs little beside its bytes; a job of a thousand photos then has some two hundred turns.
TURN_BYTES = 256 * 1024
# What was given counts half as much after so long: its images are done by then, and a partition that came off badly once is not to be given
# everything that comes, which may be little, until it has caught up. A minute of uneven bursts is even to 2 % all the same.
HALF_LIFE_S = 5.0
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
        # Those that wait for a turn, a heap: records given, the turn before which it had its last, and its number.
        self._waiting: list[tuple[float, int, int]] = []
        self._turn = 0
        self._partition = PRODUCER_CHOOSES
        self._given = 0.0  # to the one whose turn it is
        self._given_before = 0.0  # the last record, to the digit: equals are to stay equals
        self._until = 0.0
        self._room = 0
        self._aged_at = 0.0

    def take(self, size: int) -> int:
        """The partition of the next record, which has so many bytes, or `PRODUCER_CHOOSES`."""
        now = self._clock()
        if now >= self._until or self._room <= 0:
            self._until = now + self._hold_s
            self._room = self._hold_bytes
            self._next(now)
        self._room -= size
        self._given_before = self._given
        self._given += 1
        return self._partition

    def give_back(self, size: int) -> None:
        """The producer had no room for the record that was taken last: it counts for no partition."""
        self._room += size
        self._given = self._given_before

    def _next(self, now: float) -> None:
        partitions = tuple(self._partitions())
        if partitions != self._known:
            self._begin(partitions, now)
        elif self._known:
            heapq.heappush(self._waiting, (self._given, self._turn, self._partition))
        if not partitions:
            self._partition = PRODUCER_CHOOSES
            return
        self._age(now)
        self._turn += 1
        self._given, _, self._partition = heapq.heappop(self._waiting)

    def _begin(self, partitions: tuple[int, ...], now: float) -> None:
        """All are equals: one that was added is not to catch up with the others. Processes begin at places of their own."""
        self._known = partitions
        self._aged_at = now
        count, stride = len(partitions), _stride(len(partitions))
        first = random.randrange(count) if count else 0  # noqa: S311 - spreads work, hides nothing
        self._waiting = [(0.0, self._turn - count + step, partitions[(first + step * stride) % count]) for step in range(count)]

    def _age(self, now: float) -> None:
        if now >= self._aged_at + HALF_LIFE_S:
            left = 0.5 ** ((now - self._aged_at) / HALF_LIFE_S)
            self._waiting = [(given * left, turn, partition) for given, turn, partition in self._waiting]
            heapq.heapify(self._waiting)  # what was a hair apart may have become equal
            self._aged_at = now


def _stride(count: int) -> int:
    """A step that meets each of so many places once in a round, and is nearest below the golden ratio of it; 1 of none."""
    return next((step for step in range(round(count * _GOLDEN_RATIO), 1, -1) if math.gcd(step, count) == 1), 1)
