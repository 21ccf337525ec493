"""A classifier's side of the topic `control`: it follows which jobs are cancelled, and tells which models there are.

Owns one reader, and a producer from the first time there is something to write. Nothing is written that is there already, and only what
changed here: classifiers that look at different folders do not answer one another for ever, the last change counts.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Protocol

import structlog
from prometheus_client import Gauge

from convnet.errors import ConvnetError
from convnet.model_card import ModelCard
from convnet.registry import Aliases
from convnet_kafka.control import AliasesRecord, ControlKind, ControlState, ModelRecord, control_headers, job_key, model_key
from convnet_kafka.kafka.connection import Options
from convnet_kafka.kafka.producer import AcknowledgedProducer, Delivery, QueueFull
from convnet_kafka.kafka.table import TableFollower
from convnet_kafka.messages import now_ms

logger = structlog.get_logger(__name__)

# Between looks at the registry; what is read is one small file and a listing, cards once each.
LOOK_S = 2.0
# Before what Kafka did not take is written again.
AGAIN_S = 5.0
# Between looks for cancelled jobs whose life is over, and the most that are taken away at once.
EXPIRY_LOOK_S = 30.0
MAX_EXPIRED = 500
# Every classifier sees that a job's life is over. They look at it so much later, each at another time, so that mostly one of them
# takes its record away and the others read that it did.
EXPIRY_SPREAD_S = 600.0
GOODBYE_S = 1.0


class Versions(Protocol):
    """What is asked of the model registry; `convnet.registry.Registry` is the real one and documents the methods."""

    def versions(self) -> tuple[int, ...]: ...  # noqa: D102
    def aliases(self) -> Aliases: ...  # noqa: D102
    def card(self, version: int) -> ModelCard: ...  # noqa: D102


Change = tuple[str, bytes | None, ControlKind]


class Announcement:
    """What the registry holds, as records, and how that differs from what the topic says.

    Args:
        registry: of the models.
    """

    def __init__(self, registry: Versions) -> None:
        self._registry = registry
        self._cards: dict[int, ModelRecord] = {}
        self._unreadable: set[int] = set()

    def look(self) -> tuple[tuple[int, ...], AliasesRecord, tuple[ModelRecord, ...]] | None:
        """Versions, aliases and cards as they are now; None when they cannot be read, or there is no version."""
        try:
            versions, aliases = self._registry.versions(), self._registry.aliases()
        except ConvnetError:
            return None  # the watch of the models tells it
        if not versions:
            return None
        for version in versions:
            if version not in self._cards:
                self._read(version)
        cards = tuple(self._cards[version] for version in versions if version in self._cards)
        record = AliasesRecord(aliases.stable, aliases.canary, aliases.canary_percent if aliases.canary else 0, aliases.shadow)
        return versions, record, cards

    def _read(self, version: int) -> None:
        try:
            self._cards[version] = model_record(self._registry.card(version))
        except ConvnetError as error:
            if version not in self._unreadable:
                logger.warning("a model's card cannot be told to others", model=version, reason=str(error))
            self._unreadable.add(version)


def differences(versions: Sequence[int], aliases: AliasesRecord, cards: Sequence[ModelRecord], state: ControlState) -> list[Change]:
    """What must be written so that the topic says what the registry holds: key, value or None to take it away, kind."""
    changes: list[Change] = [(card.key, card.to_json(), card.kind) for card in cards if state.models.get(card.version) != card]
    changes += [(model_key(version), None, ControlKind.MODEL) for version in state.models if version not in versions]
    if state.aliases != aliases:
        changes.append((aliases.key, aliases.to_json(), aliases.kind))
    return changes


def model_record(card: ModelCard) -> ModelRecord:
    """A card as others see it."""
    return ModelRecord(
        version=card.version,
        classes=card.classes,
        height=card.height,
        width=card.width,
        channels=card.channels,
        network=card.network,
        accuracy=dict(card.accuracy),
        served=card.served,
        created_at_ms=int(card.created_at.replace(tzinfo=card.created_at.tzinfo or UTC).timestamp() * 1000),
    )


class ClassifierControl:
    """Follows the topic and keeps it true.

    Args:
        reading: from `connection.reader_options`.
        writing: from `connection.producer_options`.
        topic: its name.
        registry: of the models.
        remembered: shows how many cancelled jobs there are.
        make_producer: makes a producer from options; another one in tests.
    """

    def __init__(
        self,
        reading: Options,
        writing: Options,
        topic: str,
        registry: Versions,
        remembered: Gauge,
        make_producer: Callable[[Options], AcknowledgedProducer] = lambda options: AcknowledgedProducer(options, "control"),
    ) -> None:
        self._topic = topic
        self._writing = writing
        self._make_producer = make_producer
        self._remembered = remembered
        self._announcement = Announcement(registry)
        self._announced: object = None
        self._producer: AcknowledgedProducer | None = None
        self._delivery: Delivery | None = None
        self._answered = False
        self._look_at = 0.0
        self._expiry_at = 0.0
        self._patience_ms = int(random.uniform(0, EXPIRY_SPREAD_S) * 1000)  # noqa: S311 - spreads work, hides nothing
        self.state = ControlState()
        self._follower = TableFollower(
            reading, topic, lambda message: self.state.apply(message.headers(), message.key(), message.value()), self.tick
        )

    @property
    def problem(self) -> str | None:
        """Why it is not known which jobs are cancelled, or None once it is."""
        return self._follower.problem

    def start(self) -> None:
        """Start following. Does not wait for Kafka."""
        self._follower.start()

    def close(self) -> None:
        """Stop following."""
        self._follower.close()
        if self._producer is not None:
            self._producer.close(GOODBYE_S)

    def tick(self) -> None:
        """What is due now. On the follower's thread, once everything has been read."""
        now = time.monotonic()
        if self._delivery is not None and not self._settled(now):
            return
        changes: list[Change] = []
        if now >= self._expiry_at:
            self._expiry_at = now + EXPIRY_LOOK_S
            changes += self._expired()
            self._remembered.set(len(self.state.cancelled))
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            found = self._announcement.look()
            if found is not None and found != self._announced:
                self._announced = found
                changes += differences(*found, self.state)
        if changes:
            self._write(changes)

    def _settled(self, now: float) -> bool:
        """Whether Kafka has answered for what was written; what it did not take is due again later."""
        if not self._answered or self._delivery is None:
            return False
        failures, self._delivery = self._delivery.failures, None
        if failures:
            logger.warning("models and aliases were not told to others; trying again", topic=self._topic, reason=failures[0].reason)
            self._announced = None
            self._look_at = now + AGAIN_S
        return True

    def _expired(self) -> list[Change]:
        """Cancelled jobs whose life is over: their images can no longer be read either way."""
        jobs = self.state.expired(now_ms() - self._patience_ms)[:MAX_EXPIRED]
        self.state.forget(jobs)
        return [(job_key(job), None, ControlKind.CANCELLED) for job in jobs]

    def _write(self, changes: Sequence[Change]) -> None:
        if self._producer is None:
            self._producer = self._make_producer(self._writing)
            self._producer.start()
        self._answered = False
        self._delivery = self._producer.delivery(self._on_answered)
        for key, value, kind in changes:
            try:
                self._delivery.send(self._topic, value, control_headers(kind), partition=0, key=key.encode())
            except QueueFull:
                self._announced = None  # the rest is due at the next look
                break
        self._delivery.seal()

    def _on_answered(self) -> None:
        self._answered = True
