"""One lane: its consumer, the thread that reads it, and the batches of it that have no results in Kafka yet.

Owns the consumer and the thread. Offsets are committed in order, only for records whose results Kafka has, and only under the claim
they were read with: a partition that went away and came back is read again, never skipped. What may have ended a process is noted in
Kafka before it is handed out, and alone where a note says so (`quarantine.py`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import structlog
from confluent_kafka import KafkaException, Message

from convnet_kafka.classifier.batching import BatchSizer
from convnet_kafka.classifier.handoff import Batch, Claim, Handoff
from convnet_kafka.classifier.lanecounts import LaneCounts
from convnet_kafka.classifier.onebyone import OneByOne, Read
from convnet_kafka.classifier.outstanding import Outstanding
from convnet_kafka.classifier.quarantine import Stage, Watch
from convnet_kafka.errors import ConvnetKafkaError, KafkaUnavailable
from convnet_kafka.kafka.consumer import GroupEvents
from convnet_kafka.kafka.history import Start
from convnet_kafka.messages import Lane

logger = structlog.get_logger(__name__)

# How long one read waits for the first image; only bounds how fast the thread stops.
READ_S = 0.1
# After a note that Kafka did not take: a member's epoch or a coordinator is found again within some heartbeats.
NOTE_AGAIN_S = 0.1


class LaneConsumer(Protocol):
    """What a lane needs of a consumer; `kafka.consumer.GroupConsumer` is the real one and documents the methods."""

    @property
    def assigned(self) -> frozenset[int]: ...  # noqa: D102
    def start(self) -> None: ...  # noqa: D102
    def read(self, max_messages: int, timeout_s: float, fill_s: float = 0.0) -> list[Message]: ...  # noqa: D102
    def done(self, positions: Mapping[int, int]) -> None: ...  # noqa: D102
    def annotate(self, partition: int, offset: int, text: str) -> None: ...  # noqa: D102
    def commit(self, *, wait: bool = False, partitions: Collection[int] | None = None) -> bool: ...  # noqa: D102
    def rewind(self, positions: Mapping[int, int]) -> None: ...  # noqa: D102
    def attend(self) -> None: ...  # noqa: D102
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
        counts: where what happens is counted.
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
        counts: LaneCounts,
    ) -> None:
        self.lane = lane
        self.sizer = sizer
        self.error: Exception | None = None
        self._handoff = handoff
        self._fill_s = fill_s
        self._commit_interval_s = commit_interval_s
        self._commit_at = 0.0
        self._revoke_timeout_s = revoke_timeout_s
        self._counts = counts
        self._consumer = make_consumer(
            GroupEvents(self._on_assigned, self._on_revoked, self._on_lost, lambda _, images: counts.expired(images), counts.commits_failed)
        )
        self._stop = threading.Event()
        self._finish = threading.Event()
        self._claims: dict[int, Claim] = {}
        self._watched = 0
        self._blameless = True
        self._came_round_at = time.monotonic()
        self._outstanding = Outstanding()
        self._one_by_one = OneByOne(lane, self._consumer, handoff, self._outstanding, counts, stop=self._stop, attend=self._attend)
        self._thread = threading.Thread(target=self._run, name=f"lane-{lane}", daemon=True)

    @property
    def assigned(self) -> frozenset[int]:
        """Partitions that are ours now."""
        return self._consumer.assigned

    @property
    def outstanding(self) -> int:
        """Batches handed out whose results Kafka does not have yet."""
        return len(self._outstanding)

    @property
    def silent_s(self) -> float:
        """Seconds since the thread that reads came round; nothing that it waits for by right takes longer than some seconds."""
        return 0.0 if self._stop.is_set() or not self._thread.is_alive() else time.monotonic() - self._came_round_at

    def start(self) -> None:
        """Join the group and read. Does not wait for Kafka."""
        self._came_round_at = time.monotonic()
        self._one_by_one.began()
        self._thread.start()

    def stop_reading(self) -> None:
        """Hand out nothing more; the group is left at `leave`."""
        self._stop.set()

    def settle(self) -> None:
        """Let offsets follow the results that Kafka has by now. For the loop."""
        self._outstanding.settle(self._consumer.done)

    def worked(self, batch: Batch) -> None:
        """The process has survived this batch; Kafka may not have its results yet. For the loop."""
        self._outstanding.worked(batch)

    def abandon(self) -> None:
        """Forget what is outstanding: it is not committed, so it is read again, by us or others. For the loop, after `stop_reading`."""
        self._outstanding.abandon()

    def leave(self, *, blameless: bool = True) -> None:
        """Commit what is settled and leave the group, in the lane's thread; `join` waits for it.

        Args:
            blameless: False when the process ends for a reason that nobody foresaw, and that may be an image: then notes stand.
        """
        self._blameless = blameless
        self._stop.set()
        self._finish.set()
        self._outstanding.wake()

    def join(self, timeout_s: float) -> bool:
        """Wait until the group is left; False when that takes longer."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._consumer.start()
            while not self._stop.is_set():
                self._came_round_at = time.monotonic()
                messages = self._consumer.read(self.sizer.limit(), READ_S, self._fill_s)
                self._commit_when_due()
                if not messages:
                    continue
                # Partitions that have gone since they were read are read by others.
                reads = [(message, claim) for message in messages if (claim := self._claims.get(message.partition() or 0)) is not None]
                if self._watched:
                    self._hand_out_watched(reads)
                else:
                    self._hand_out(reads)
        except ConvnetKafkaError as error:
            self._fail(error)
        except KafkaException as error:
            self._fail(KafkaUnavailable(f"the {self.lane} lane cannot be read: {error.args[0].str()}"))
        except Exception as error:  # noqa: BLE001 - a mistake of ours must end the process, not only this thread, unheard
            self._fail(error)
        try:
            while not self._finish.wait(self._commit_interval_s):
                self._commit_when_due()
            self._take_notes_back()
            self._consumer.commit(wait=True)
            self._consumer.close()
        except KafkaException as error:
            logger.warning("group left without goodbye", lane=self.lane, error=str(error))

    def _attend(self) -> None:
        """Stay in the group while something else is waited for."""
        self._came_round_at = time.monotonic()
        self._consumer.attend()

    def _fail(self, error: Exception) -> None:
        self.error = error
        self._handoff.wake()

    def _commit_when_due(self) -> None:
        """Commit what is settled, without waiting for the broker. The consumer may be called by this thread only."""
        now = time.monotonic()
        if now >= self._commit_at:
            self._commit_at = now + self._commit_interval_s
            if self._watched:
                self._end_watches()
            self._consumer.commit()

    def _end_watches(self) -> None:
        """Take notes back where nothing that lay there when the partition came is left in flight."""
        for claim in self._claims.values():
            if claim.watch is not None and claim.watch.over(claim.position):
                self._consumer.annotate(claim.partition, claim.position, "")
                claim.watch = None
                self._watched -= 1

    def _hand_out_watched(self, reads: Sequence[Read]) -> None:
        """Hand out what was read, noted in Kafka where a former owner can have begun it, and one by one where a note found says so."""
        suspects: list[Read] = []
        others: list[Read] = []
        for message, claim in reads:
            stage = claim.watch.stage(message.offset() or 0) if claim.watch is not None else Stage.FREE
            (suspects if stage is Stage.ALONE else others).append((message, claim))
        left = self._one_by_one.handle(suspects) if suspects else []
        # Partitions may have gone meanwhile, and even come back: what was read before is then read again.
        others = [(message, claim) for message, claim in others if claim.held]
        if self._stop.is_set() or self._handoff.closed:
            return
        if left or not self._note(others):
            self._read_again([*left, *others])
        else:
            self._hand_out(others)

    def _note(self, reads: Sequence[Read]) -> bool:
        """Note in Kafka what is about to be begun together; False when Kafka did not take it."""
        ends: dict[Claim, int] = {}
        for message, claim in reads:
            if claim.watch is not None:
                if claim.position < 0:
                    claim.position = message.offset() or 0
                ends[claim] = (message.offset() or 0) + 1
        for claim, end in ends.items():
            if claim.watch is not None:
                self._consumer.annotate(claim.partition, claim.position, claim.watch.watched(end))
        return not ends or self._consumer.commit(wait=True, partitions=[claim.partition for claim in ends])

    def _read_again(self, reads: Sequence[Read]) -> None:
        """Nothing may be skipped: go back to the first of these in each partition, after a moment."""
        first = {claim.partition: message.offset() or 0 for message, claim in reversed(reads) if claim.held}
        logger.warning("a note could not be left; reading again", lane=self.lane, positions=first)
        self._stop.wait(NOTE_AGAIN_S)
        if first:
            self._consumer.rewind(first)

    def _hand_out(self, reads: Sequence[Read]) -> None:
        """Give what was read to the loop: together, unless it is far more than it seemed to be when it was asked for."""
        most = len(reads)
        while reads:
            fits = min(self.sizer.fits([len(message) for message, _ in reads]), most)
            self._hand_out_batch(reads[:fits])
            if fits == len(reads) or self._stop.is_set() or self._handoff.closed:
                return
            self._attend()  # partitions may go meanwhile
            reads = [(message, claim) for message, claim in reads[fits:] if claim.held]
            most = self.sizer.limit()

    def _hand_out_batch(self, reads: Sequence[Read]) -> None:
        """Give a batch to the loop, and commit while it is busy with others."""
        ends: dict[Claim, int] = {}
        for message, claim in reads:
            offset = message.offset() or 0
            if claim.position < 0:
                claim.position = offset
            ends[claim] = offset + 1
        batch = Batch(self.lane, [message for message, _ in reads], list(ends.items()))
        self._outstanding.add(batch)
        self._handoff.offer(batch)
        while not self._handoff.taken(batch, self._commit_interval_s) and not self._handoff.closed:
            self._commit_when_due()
            self._attend()

    def _on_assigned(self, starts: Mapping[int, Start | None]) -> None:
        claims = {partition: Claim(partition) for partition in starts}
        for partition, start in starts.items():
            if start is not None:
                claims[partition].watch = Watch.of(start.committed, start.metadata, start.end)
        self._claims |= claims
        self._watched += sum(claim.watch is not None for claim in claims.values())
        self._counts.rebalanced["assigned"](1)
        logger.info("partitions assigned", lane=self.lane, partitions=sorted(self._claims))
        if suspects := {
            claim.partition: watch.suspects for claim in claims.values() if (watch := claim.watch) is not None and watch.suspects
        }:
            logger.warning("a classifier died here; what was in flight is handled one by one", lane=self.lane, records=suspects)

    def _on_revoked(self, partitions: frozenset[int]) -> None:
        """Wait for the loop to finish what is in flight of these partitions; the consumer then commits it and lets them go."""
        self._counts.rebalanced["revoked"](1)
        if not self._outstanding.wait_for(partitions, self._revoke_timeout_s, unless=self._finish.is_set):
            logger.warning("partitions go before their results are in; they are repeated", lane=self.lane)
        if self._blameless and not self._outstanding.holds(partitions):
            self._rest(partitions)
        self._drop(partitions)
        logger.info("partitions revoked", lane=self.lane, partitions=sorted(partitions))

    def _on_lost(self, partitions: frozenset[int]) -> None:
        self._counts.rebalanced["lost"](1)
        self._drop(partitions)
        logger.warning("partitions lost; what was in flight is repeated by others", lane=self.lane, partitions=sorted(partitions))

    def _rest(self, partitions: frozenset[int]) -> None:
        """Nobody died: take notes back, but for what was found and is not cleared up. They go with the commit that follows."""
        for partition in partitions:
            claim = self._claims.get(partition)
            if claim is not None and claim.watch is not None and claim.position >= 0:
                self._consumer.annotate(partition, claim.position, claim.watch.resting(claim.position))

    def _take_notes_back(self) -> None:
        """Before the group is left: on the way out librdkafka says of no commit that it is there, and others would wait with us."""
        partitions = frozenset(self._claims)
        if not self._blameless or self._outstanding.holds(partitions):
            return
        self._rest(partitions)
        for claim in self._claims.values():
            claim.watch = None
        self._watched = 0

    def _drop(self, partitions: frozenset[int]) -> None:
        gone = [self._claims.pop(partition) for partition in partitions if partition in self._claims]
        self._counts.given_up(self._outstanding.give_up(gone))
        self._watched -= sum(claim.watch is not None for claim in gone)
