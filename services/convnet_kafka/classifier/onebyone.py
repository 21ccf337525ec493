"""Records that may have ended a process, handled with nothing else in this one's hands, each noted in Kafka before (`quarantine.py`).

Belongs to a lane's thread, and waits for the loop there; the thread attends to its group meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import structlog
from confluent_kafka import Message

from convnet_kafka.classifier.handoff import Batch, Claim, Handoff
from convnet_kafka.classifier.lanecounts import LaneCounts
from convnet_kafka.classifier.outstanding import Outstanding
from convnet_kafka.classifier.quarantine import LAST_TRY_AFTER_S
from convnet_kafka.messages import Lane

if TYPE_CHECKING:
    from convnet_kafka.classifier.lanes import LaneConsumer

logger = structlog.get_logger(__name__)

# They have the loop to themselves for so long at a time: what the other lane waits for them at most.
ALONE_SLICE_S = 0.1
# How long the loop may take to end what it is at before it is asked for again.
RESERVE_S = 1.0
# How long is waited before the group is attended to.
LOOK_S = 0.1

# A record, and the claim it was read under.
Read = tuple[Message, Claim]


class OneByOne:
    """One lane's way to handle suspects.

    Args:
        lane: which.
        consumer: notes and commits.
        handoff: where batches go.
        outstanding: of the lane.
        counts: where what happens is counted.
        stop: set when nothing more is to be handed out.
        attend: keeps the lane's place in its group.
    """

    def __init__(
        self,
        lane: Lane,
        consumer: LaneConsumer,
        handoff: Handoff,
        outstanding: Outstanding,
        counts: LaneCounts,
        *,
        stop: threading.Event,
        attend: Callable[[], None],
    ) -> None:
        self._lane = lane
        self._consumer = consumer
        self._handoff = handoff
        self._outstanding = outstanding
        self._counts = counts
        self._stop = stop
        self._attend = attend
        self._began_at = time.monotonic()

    def began(self) -> None:
        """The process begins to work now."""
        self._began_at = time.monotonic()

    def handle(self, reads: Sequence[Read]) -> list[Read]:
        """One by one, with nothing else in the process's hands, and each noted before; returns those that could not be noted."""
        left = deque(reads)
        while left and not self._stop.is_set() and not self._handoff.closed:
            if self._is_too_young_for(*left[0]):
                self._stop.wait(LOOK_S)
                self._attend()
                continue
            if not self._handoff.reserve(self._lane, RESERVE_S):
                self._attend()
                continue
            try:
                deadline = time.monotonic() + ALONE_SLICE_S
                while left and time.monotonic() < deadline and not self._stop.is_set() and not self._is_too_young_for(*left[0]):
                    if not self._alone(*left[0]):
                        return list(left)
                    left.popleft()
                # The loop goes back to other work: what it may die of then is not the fault of the record noted last.
                self._consumer.commit(wait=True)
            finally:
                self._handoff.release(self._lane)
        return list(left)

    def _alone(self, message: Message, claim: Claim) -> bool:
        """Note one record as alone, have it handled, and wait for its result in Kafka; False when it could not be noted."""
        offset = message.offset() or 0
        if not claim.held or claim.watch is None:
            return True  # gone meanwhile, to be read again by others
        if claim.position < 0:
            claim.position = offset
        guilty, deaths = claim.watch.guilty(offset), claim.watch.deaths(offset)
        if guilty:
            logger.error("an image is set aside", lane=self._lane, partition=claim.partition, offset=offset, deaths=deaths)
        else:
            self._consumer.annotate(claim.partition, claim.position, claim.watch.alone(offset))
            if not self._consumer.commit(wait=True, partitions=[claim.partition]):
                return False
        if deaths and not guilty:
            logger.warning("an image is tried alone once more", lane=self._lane, partition=claim.partition, offset=offset)
        batch = Batch(self._lane, [message], [(claim, offset + 1)], alone=deaths if guilty else deaths + 1, guilty=guilty)
        self._counts.alone(1)
        self._outstanding.add(batch)
        self._handoff.offer(batch)
        while not (self._handoff.closed or self._outstanding.wait_worked(batch, LOOK_S)):
            self._attend()
        if claim.held and not guilty and batch.worked:
            self._consumer.annotate(claim.partition, claim.position, claim.watch.survived(offset))
            self._consumer.commit(wait=True, partitions=[claim.partition])
        while not (self._handoff.closed or self._outstanding.wait_settled(batch, LOOK_S)):
            self._attend()
        if claim.held and claim.position > offset:
            self._consumer.annotate(claim.partition, claim.position, claim.watch.resting(claim.position))
        return True

    def _is_too_young_for(self, message: Message, claim: Claim) -> bool:
        """Whether a record is to be tried alone once more, by a member that has only just begun."""
        offset = message.offset() or 0
        again = claim.held and claim.watch is not None and claim.watch.deaths(offset) and not claim.watch.guilty(offset)
        return bool(again) and time.monotonic() < self._began_at + LAST_TRY_AFTER_S
