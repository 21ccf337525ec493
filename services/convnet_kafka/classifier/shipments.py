"""The results of one batch on their way to Kafka: sent again until Kafka has every one of them.

Belongs to the loop's thread, which also polls the producer. What Kafka refuses for good (a record too large for the topic) is told and
given up; everything else is sent again, for as long as it takes, because its images are not committed before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import structlog
from confluent_kafka import KafkaError

from convnet_kafka.kafka.connection import Headers
from convnet_kafka.kafka.producer import AcknowledgedProducer, Delivery, Failure, QueueFull

logger = structlog.get_logger(__name__)

# Kafka would say the same each time: sending it again would hold up the lane for ever.
HOPELESS = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD})
# Between attempts: a topic that is missing or forbidden does not come back within milliseconds.
RESEND_PAUSE_S = 1.0


class Outgoing(NamedTuple):
    """A record on its way; the fields are those of `Delivery.send`. A tuple, because one is made for every image."""

    topic: str
    value: bytes
    headers: Headers
    partition: int
    key: bytes | None


class Shipment:
    """All results and dead letters of one batch.

    Args:
        producer: that sends them; polled by the same thread.
        make_room: called when the producer's queue is full: returns when sending is worth another try, raises to give up.
        on_resent: called with the number of records that are sent again.
        on_refused: called with the number of records that Kafka refused for good.
    """

    __slots__ = ("_answered", "_delivery", "_due", "_make_room", "_on_refused", "_on_resent", "_producer")

    def __init__(
        self,
        producer: AcknowledgedProducer,
        make_room: Callable[[], None],
        on_resent: Callable[[int], None],
        on_refused: Callable[[int], None],
    ) -> None:
        self._producer = producer
        self._make_room = make_room
        self._on_resent = on_resent
        self._on_refused = on_refused
        self._due: tuple[float, list[Outgoing]] | None = None
        self._answered = False
        self._delivery: Delivery = producer.delivery(self._on_answered)

    def send(self, topic: str, value: bytes, headers: Headers, *, partition: int = -1, key: bytes | None = None) -> None:
        """Hand one record to the producer, waiting while its queue is full."""
        self._send(Outgoing(topic, value, headers, partition, key))

    def seal(self) -> None:
        """No more records."""
        self._delivery.seal()

    def stored(self) -> bool:
        """Whether Kafka has all of it. Sends again what failed, when its time has come."""
        if self._due is not None:
            due_at, records = self._due
            if time.monotonic() >= due_at:
                self._resend(records)
            return False
        if not self._answered:
            return False
        failures = self._delivery.failures
        if not failures:
            return True
        return self._sort(failures)

    def _on_answered(self) -> None:
        self._answered = True

    def _send(self, record: Outgoing) -> None:
        while True:
            try:
                self._delivery.send(record.topic, record.value, record.headers, partition=record.partition, key=record.key, tag=record)
            except QueueFull:
                self._make_room()
            else:
                return

    def _sort(self, failures: list[Failure]) -> bool:
        """Give up what is hopeless, note the rest for another try; True when nothing is left."""
        refused = [failure for failure in failures if failure.code in HOPELESS]
        again = [failure.tag for failure in failures if failure.code not in HOPELESS and isinstance(failure.tag, Outgoing)]
        for failure in refused:
            logger.error("a result was refused by Kafka and is given up", reason=failure.reason)
        if refused:
            self._on_refused(len(refused))
        if not again:
            return True
        logger.warning("results were not stored and are sent again", records=len(again), reason=failures[-1].reason)
        self._due = (time.monotonic() + RESEND_PAUSE_S, again)
        return False

    def _resend(self, records: list[Outgoing]) -> None:
        self._due = None
        self._answered = False
        self._delivery = self._producer.delivery(self._on_answered)
        self._on_resent(len(records))
        for record in records:
            self._send(record)
        self._delivery.seal()
