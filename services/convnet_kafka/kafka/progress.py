"""How far a member of a consumer group has come in its partitions, and what of that its next commit says.

Owns no client; any thread may use it.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple


class Position(NamedTuple):
    """What a commit says of a partition.

    Attributes:
        partition: its number.
        offset: every record before it has its result in Kafka.
        text: for the partition's next owner; may be empty.
    """

    partition: int
    offset: int
    text: str


class Progress:
    """Positions of the partitions that are ours, never going backwards, and which of them are to be committed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._assigned: frozenset[int] = frozenset()
        self._done: dict[int, int] = {}
        self._texts: dict[int, str] = {}
        self._without_texts = False
        self._due: set[int] = set()

    @property
    def assigned(self) -> frozenset[int]:
        """Partitions that are ours now."""
        return self._assigned

    def add(self, partitions: Collection[int]) -> None:
        """These are ours now; what was done in them before, by whomever, is not known here."""
        with self._lock:
            self._assigned |= frozenset(partitions)
            self._forget(partitions)

    def remove(self, partitions: Collection[int]) -> None:
        """These are ours no more."""
        with self._lock:
            self._assigned -= frozenset(partitions)
            self._forget(partitions)

    def forget(self, partition: int) -> None:
        """What was done in it lies in a log that is no more."""
        with self._lock:
            self._done.pop(partition, None)
            self._due.discard(partition)

    def done(self, positions: Mapping[int, int]) -> None:
        """All records before these offsets (by partition) have their results in Kafka."""
        with self._lock:
            for partition, offset in positions.items():
                if partition in self._assigned and offset > self._done.get(partition, -1):
                    self._done[partition] = offset
                    self._due.add(partition)

    def annotate(self, partition: int, offset: int, text: str) -> None:
        """Have commits of this partition carry this text from now on, or none when it is empty; one is due, at this offset or later."""
        with self._lock:
            if partition not in self._assigned:
                return
            self._done[partition] = max(offset, self._done.get(partition, -1))
            self._due.add(partition)
            if text:
                self._texts[partition] = text
            else:
                self._texts.pop(partition, None)

    def take(self, partitions: Collection[int] | None = None) -> list[Position]:
        """What is to be committed, of these partitions or of all, in their order; it counts as committed unless `give_back` is told."""
        with self._lock:
            due = self._due if partitions is None else self._due.intersection(partitions)
            texts = {} if self._without_texts else self._texts
            positions = [Position(partition, self._done[partition], texts.get(partition, "")) for partition in sorted(due)]
            self._due = self._due - due
        return positions

    def give_back(self, partitions: Iterable[int]) -> None:
        """These were not committed: they are to be, at the next time, if they are still ours."""
        with self._lock:
            self._due |= self._assigned.intersection(partitions) & self._done.keys()

    def drop_texts(self) -> bool:
        """Commit without texts from now on; whether it was with them until now."""
        with self._lock:
            first, self._without_texts = not self._without_texts, True
        return first

    def _forget(self, partitions: Collection[int]) -> None:
        self._due.difference_update(partitions)
        for partition in partitions:
            self._done.pop(partition, None)
            self._texts.pop(partition, None)
