"""One lane: its consumer, the thread that reads it, and the batches of it that have no results in Kafka yet.

Owns the consumer and the thread. Offsets are committed in order, only for records whose results Kafka has, and only under the claim
they were read with: a partition that went away and came back is read again, never skipped.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

import structlog
from confluent_kafka import KafkaException, Message

from convnet_kafka.classifier.batching import BatchSizer
from convnet_kafka.classifier.handoff import Batch, Claim, Handoff
from convnet_kafka.errors import ConvnetKafkaError, KafkaUnavailable
from convnet_kafka.kafka.consumer import GroupEvents
from convnet_kafka.messages import Lane

logger = structlog.get_logger(__name__)

# How long one read waits for the first image; only bounds how fast the thread stops.
READ_S = 0.1


class LaneConsumer(Protocol):
    """What a lane needs of a consumer; `kafka.consumer.GroupConsumer` is the real one and documents the methods."""

    @property
    def assigned(self) -> frozenset[int]: ...  # noqa: D102
    def start(self) -> None: ...  # noqa: D102
    def read(self, max_messages: int, timeout_s: float, fill_s: float = 0.0) -> list[Message]: ...  # noqa: D102
    def done(self, positions: Mapping[int, int]) -> None: ...  # noqa: D102
    def commit(self, *, wait: bool = False, partitions: Collection[int] | None = None) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class LaneReader:
    """Reads one lane and hands its batches to the loop, one at a time.

    Args:
        lane: which.
        make_consumer: gets the events to report to and returns the consumer.
        handoff: where batches go.
        sizer: how many images a batch may hold.
        fill_s: seconds the first image of a batch may wait for company.
        commit_interval_s: seconds between commits.
        revoke_timeout_s: seconds to finish what is in flight of partitions that are taken away.
        on_expired: called with the number of images that were gone before they were read.
    """

    def __init__(
        self,
        lane: Lane,
        make_consumer: Callable[[GroupEvents], LaneConsumer],
        *,
        handoff: Handoff,
        sizer: BatchSizer,
        fill_s: float,
        commit_interval_s: float,
        revoke_timeout_s: float,
        on_expired: Callable[[int], None],
    ) -> None:
        self.lane = lane
        self.sizer = sizer
        self.error: Exception | None = None
        self._handoff = handoff
        self._fill_s = fill_s
        self._commit_interval_s = commit_interval_s
        self._commit_at = 0.0
        self._revoke_timeout_s = revoke_timeout_s
        self._on_expired = on_expired
        self._consumer = make_consumer(GroupEvents(self._on_assigned, self._on_revoked, self._on_lost, self._count_expired))
        self._stop = threading.Event()
        self._finish = threading.Event()
        self._settled = threading.Condition()
        self._claims: dict[int, Claim] = {}
        self._outstanding: deque[Batch] = deque()
        self._thread = threading.Thread(target=self._run, name=f"lane-{lane}", daemon=True)

    @property
    def assigned(self) -> frozenset[int]:
        """Partitions that are ours now."""
        return self._consumer.assigned

    @property
    def outstanding(self) -> int:
        """Batches handed out whose results Kafka does not have yet."""
        return len(self._outstanding)

    def start(self) -> None:
        """Join the group and read. Does not wait for Kafka."""
        self._thread.start()

    def stop_reading(self) -> None:
        """Hand out nothing more; the group is left at `leave`."""
        self._stop.set()

    def settle(self) -> None:
        """Let offsets follow the results that Kafka has by now. For the loop."""
        outstanding = self._outstanding
        if not (outstanding and outstanding[0].stored):
            return
        with self._settled:
            while outstanding and outstanding[0].stored:
                ends = outstanding.popleft().ends
                self._consumer.done({claim.partition: end for claim, end in ends if claim.held})
            self._settled.notify_all()

    def abandon(self) -> None:
        """Forget what is outstanding: it is not committed, so it is read again, by us or others. For the loop, after `stop_reading`."""
        with self._settled:
            self._outstanding.clear()
            self._settled.notify_all()

    def leave(self) -> None:
        """Commit what is settled and leave the group, in the lane's thread; `join` waits for it."""
        self._stop.set()
        self._finish.set()
        with self._settled:
            self._settled.notify_all()

    def join(self, timeout_s: float) -> bool:
        """Wait until the group is left; False when that takes longer."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._consumer.start()
            while not self._stop.is_set():
                messages = self._consumer.read(self.sizer.limit(), READ_S, self._fill_s)
                self._commit_when_due()
                if messages:
                    self._hand_out(messages)
        except ConvnetKafkaError as error:
            self._fail(error)
        except KafkaException as error:
            self._fail(KafkaUnavailable(f"the {self.lane} lane cannot be read: {error.args[0].str()}"))
        except Exception as error:  # noqa: BLE001 - a mistake of ours must end the process, not only this thread, unheard
            self._fail(error)
        try:
            while not self._finish.wait(self._commit_interval_s):
                self._commit_when_due()
            self._consumer.commit(wait=True)
            self._consumer.close()
        except KafkaException as error:
            logger.warning("group left without goodbye", lane=self.lane, error=str(error))

    def _fail(self, error: Exception) -> None:
        self.error = error
        self._handoff.wake()

    def _commit_when_due(self) -> None:
        """Commit what is settled, without waiting for the broker. The consumer may be called by this thread only."""
        now = time.monotonic()
        if now >= self._commit_at:
            self._commit_at = now + self._commit_interval_s
            self._consumer.commit()

    def _hand_out(self, messages: list[Message]) -> None:
        """Give a batch to the loop, and commit while it is busy with others."""
        ends: dict[Claim, int] = {}
        kept = []
        for message in messages:
            claim = self._claims.get(message.partition() or 0)
            if claim is not None:
                ends[claim] = (message.offset() or 0) + 1
                kept.append(message)
        if not kept:
            return
        batch = Batch(self.lane, kept, list(ends.items()))
        with self._settled:
            self._outstanding.append(batch)
        self._handoff.offer(batch)
        while not self._handoff.taken(batch, self._commit_interval_s) and not self._handoff.closed:
            self._commit_when_due()

    def _on_assigned(self, partitions: frozenset[int]) -> None:
        with self._settled:
            self._claims |= {partition: Claim(partition) for partition in partitions}
        logger.info("partitions assigned", lane=self.lane, partitions=sorted(self._claims))

    def _on_revoked(self, partitions: frozenset[int]) -> None:
        """Wait for the loop to finish what is in flight of these partitions; the consumer then commits it and lets them go."""
        deadline = time.monotonic() + self._revoke_timeout_s
        with self._settled:
            while self._in_flight(partitions) and not self._finish.is_set():
                left = deadline - time.monotonic()
                if left <= 0:
                    logger.warning("partitions go before their results are in; they are repeated", lane=self.lane)
                    break
                self._settled.wait(left)
            self._drop(partitions)
        logger.info("partitions revoked", lane=self.lane, partitions=sorted(partitions))

    def _on_lost(self, partitions: frozenset[int]) -> None:
        with self._settled:
            self._drop(partitions)
        logger.warning("partitions lost; what was in flight is repeated by others", lane=self.lane, partitions=sorted(partitions))

    def _in_flight(self, partitions: frozenset[int]) -> bool:
        return any(claim.held and claim.partition in partitions for batch in self._outstanding for claim, _ in batch.ends)

    def _drop(self, partitions: frozenset[int]) -> None:
        for partition in partitions:
            claim = self._claims.pop(partition, None)
            if claim is not None:
                claim.held = False

    def _count_expired(self, _partition: int, images: int) -> None:
        self._on_expired(images)
