"""Where the lanes' threads meet the loop: at most one batch of each lane waits, and the loop's next batch is chosen fairly.

Owns one lock. A lane's thread waits in `taken` and `reserve`, the loop in `take`; `close` lets all go.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from confluent_kafka import Message

from convnet_kafka.classifier.quarantine import Watch
from convnet_kafka.messages import Lane

if TYPE_CHECKING:
    from convnet_kafka.tracing.batches import BatchTrace


@dataclass(slots=True, eq=False)
class Claim:
    """One assignment of one partition. What was read under it may be committed only while it is held.

    Attributes:
        partition: which.
        held: False once the partition was revoked or lost, even if it came back since: that is another claim.
        position: all records before it have their results in Kafka; negative before the first was handed out.
        watch: what is to be noted of it, or None when there is nothing (any more).
    """

    partition: int
    held: bool = True
    position: int = -1
    watch: Watch | None = None


@dataclass(slots=True, eq=False)
class Batch:
    """Records of one lane, on their way from its consumer through the loop.

    Attributes:
        lane: where they come from.
        messages: at least one, in the order of their partitions; none any more once their results are on their way.
        ends: for each partition among them its claim and the offset after the last record.
        stored: True once Kafka has every result of it.
        worked: True once the loop has its results, whether Kafka has them or not.
        alone: how often its one record has been begun alone, this time included; 0 for a batch like any other.
        guilty: its one image is to be set aside, unseen.
        trace: what traces it; None as a rule.
        images: how many messages there were.
    """

    lane: Lane
    messages: list[Message]
    ends: list[tuple[Claim, int]] = field(default_factory=list)
    stored: bool = False
    worked: bool = False
    alone: int = 0
    guilty: bool = False
    trace: BatchTrace | None = None
    images: int = field(init=False)

    def __post_init__(self) -> None:
        self.images = len(self.messages)


class Turns:
    """Whose turn it is: the fast lane's, but bulk gets its share of the time in which both have work.

    Args:
        bulk_share: part of the time for bulk, more than 0 and less than 1.
    """

    def __init__(self, bulk_share: float) -> None:
        self._rate = bulk_share / (1.0 - bulk_share)
        self._contended = False
        self._owed_s = 0.0

    def choose(self, waiting: Collection[Lane]) -> Lane:
        """The lane to serve next, of those that have work: at least one."""
        self._contended = len(waiting) > 1
        if not self._contended:
            self._owed_s = 0.0
            return next(iter(waiting))
        return Lane.BULK if self._owed_s > 0.0 else Lane.FAST

    def served(self, lane: Lane, seconds: float) -> None:
        """Account for the batch that was chosen last: its lane, and the seconds it took."""
        if self._contended:
            self._owed_s += -seconds if lane is Lane.BULK else seconds * self._rate


class Handoff:
    """One slot for each lane.

    Args:
        turns: who is next.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._lock = threading.Lock()
        self._offered = threading.Condition(self._lock)
        self._taken = {lane: threading.Condition(self._lock) for lane in Lane}
        self._slots: dict[Lane, Batch] = {}
        self._closed = False
        self._at_work = False
        self._reserved: Lane | None = None
        self._quiet = threading.Condition(self._lock)

    @property
    def closed(self) -> bool:
        """Whether the loop has ended."""
        return self._closed

    def offer(self, batch: Batch) -> None:
        """Leave a batch for the loop. For a lane's thread, when the one before is taken."""
        with self._lock:
            self._slots[batch.lane] = batch
            self._offered.notify()

    def taken(self, batch: Batch, timeout_s: float) -> bool:
        """Wait until the batch is taken; False when it was not in time, or when the loop has ended. For a lane's thread."""
        with self._lock:
            if self._slots.get(batch.lane) is batch and not self._closed:
                self._taken[batch.lane].wait(timeout_s)
            return self._slots.get(batch.lane) is not batch

    def take(self, timeout_s: float, lanes: Collection[Lane]) -> Batch | None:
        """The next batch of these lanes, or None when none came in time. For the loop."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            self._at_work = False
            if self._reserved is not None:
                self._quiet.notify_all()
            while not (waiting := [lane for lane in self._slots if lane in lanes and self._reserved in {None, lane}]):
                left = deadline - time.monotonic()
                if left <= 0 or self._closed:
                    return None
                self._offered.wait(left)
            lane = self._turns.choose(waiting)
            batch = self._slots.pop(lane)
            self._at_work = True
            self._taken[lane].notify()
            return batch

    def served(self, lane: Lane, seconds: float) -> None:
        """Account for the batch that was taken last."""
        self._turns.served(lane, seconds)

    def reserve(self, lane: Lane, timeout_s: float) -> bool:
        """Have the loop for one lane, and at work on nothing: until `release` it takes this lane's batches only. For a lane's thread.

        Returns:
            False when that could not be had in time, or when the loop has ended.
        """
        deadline = time.monotonic() + timeout_s
        with self._lock:
            while self._reserved not in {None, lane} or self._at_work:
                if self._reserved is None:
                    self._reserved = lane  # the loop begins nothing else while we wait for what it is at
                left = deadline - time.monotonic()
                if left <= 0 or self._closed:
                    self._give_up(lane)
                    return False
                self._quiet.wait(left)
            self._reserved = lane
            return not self._closed

    def release(self, lane: Lane) -> None:
        """Let the loop serve all lanes again."""
        with self._lock:
            self._give_up(lane)

    def _give_up(self, lane: Lane) -> None:
        if self._reserved is lane:
            self._reserved = None
        self._quiet.notify_all()
        self._offered.notify()

    def wake(self) -> None:
        """Let `take` look again, for example because a lane has failed."""
        with self._lock:
            self._offered.notify()

    def close(self) -> None:
        """No batch will be taken any more."""
        with self._lock:
            self._closed = True
            self._offered.notify_all()
            self._quiet.notify_all()
            for taken in self._taken.values():
                taken.notify_all()
