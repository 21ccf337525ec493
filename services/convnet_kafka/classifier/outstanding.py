"""The batches of one lane that were handed to the loop and whose results Kafka does not have yet, in order.

Owns one lock. The loop settles, the lane's thread adds and waits. A claim that goes away is given up under the lock, so that nothing is
settled under it afterwards.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping

from convnet_kafka.classifier.handoff import Batch, Claim


class Outstanding:
    """One lane's."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Batches."""
        return len(self._batches)

    def add(self, batch: Batch) -> None:
        """A batch is about to be handed out."""
        with self._changed:
            self._batches.append(batch)

    def settle(self, done: Callable[[Mapping[int, int]], None]) -> None:
        """Let positions follow the results that Kafka has by now. For the loop.

        Args:
            done: told the offsets after what is settled, by partition, under the lock.
        """
        batches = self._batches
        if not (batches and batches[0].stored):
            return
        with self._changed:
            while batches and batches[0].stored:
                ends = batches.popleft().ends
                for claim, end in ends:
                    claim.position = end
                done({claim.partition: end for claim, end in ends if claim.held})
            self._changed.notify_all()

    def worked(self, batch: Batch) -> None:
        """The process has survived this batch; Kafka may not have its results yet. For the loop."""
        with self._changed:
            batch.worked = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Forget all: it is not committed, so it is read again, by us or others."""
        with self._changed:
            self._batches.clear()
            self._changed.notify_all()

    def wake(self) -> None:
        """Let who waits look again."""
        with self._changed:
            self._changed.notify_all()

    def wait_worked(self, batch: Batch, timeout_s: float) -> bool:
        """Wait until a batch is worked on, or forgotten; False when it was not in time."""
        with self._changed:
            if not batch.worked and batch in self._batches:
                self._changed.wait(timeout_s)
            return batch.worked or batch not in self._batches

    def wait_settled(self, batch: Batch, timeout_s: float) -> bool:
        """Wait until a batch's results are in Kafka, or it is forgotten; False when it was not in time."""
        with self._changed:
            if batch in self._batches:
                self._changed.wait(timeout_s)
            return batch not in self._batches

    def holds(self, partitions: Collection[int]) -> bool:
        """Whether something of these partitions is in flight, under claims that are held."""
        with self._changed:
            return self._holds(partitions)

    def wait_for(self, partitions: Collection[int], timeout_s: float, *, unless: Callable[[], bool]) -> bool:
        """Wait until nothing of these partitions is in flight, or until there is no more reason to; False when it was not in time.

        Args:
            partitions: ours.
            timeout_s: seconds to wait at most.
            unless: whether there is no more reason to; looked at when something has changed.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while self._holds(partitions) and not unless():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def give_up(self, claims: Collection[Claim]) -> int:
        """These claims are held no more; gives the number of their records that are in flight."""
        with self._changed:
            ends = dict(end for batch in self._batches for end in batch.ends)
            records = sum(ends[claim] - claim.position for claim in claims if claim.held and claim in ends)
            for claim in claims:
                claim.held = False
        return records

    def _holds(self, partitions: Collection[int]) -> bool:
        return any(claim.held and claim.partition in partitions for batch in self._batches for claim, _ in batch.ends)
