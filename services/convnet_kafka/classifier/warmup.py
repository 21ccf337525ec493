"""The first delivery of each producer, before anybody waits for one: a new idempotent producer needs some 0.5 s until it is acknowledged.

Owns nothing but the question whether that is over. What is sent takes a key away that nobody ever set, from the compacted topic `control`.
"""

from __future__ import annotations

import time
from collections.abc import Collection

import structlog

from convnet_kafka.control import WARM_UP_KEY, ControlKind, control_headers
from convnet_kafka.kafka.producer import AcknowledgedProducer, Delivery, QueueFull

logger = structlog.get_logger(__name__)

# A producer that has had no answer for so long is no reason to stay unready: it may be forbidden to write to this topic alone.
PATIENCE_S = 10.0


class WarmUp:
    """Of one membership's producers.

    Args:
        producers: started, and polled by their owner.
        topic: the control topic.
    """

    def __init__(self, producers: Collection[AcknowledgedProducer], topic: str) -> None:
        self._producers = producers
        self._topic = topic
        self._deliveries: list[Delivery] = []
        self._answered = 0
        self._started_at = time.monotonic()

    def start(self) -> None:
        """Send. Does not wait."""
        self._started_at = time.monotonic()
        for producer in self._producers:
            delivery = producer.delivery(self._on_answered)
            self._deliveries.append(delivery)
            try:
                delivery.send(self._topic, None, control_headers(ControlKind.WARM_UP), partition=0, key=WARM_UP_KEY.encode())
            except QueueFull:
                logger.debug("a producer is not warmed up: its queue is full already")
            delivery.seal()

    @property
    def done(self) -> bool:
        """Whether every producer has had its answer, or will not have one soon."""
        return self._answered >= len(self._producers) or time.monotonic() > self._started_at + PATIENCE_S

    def _on_answered(self) -> None:
        self._answered += 1
