"""What a classifier tells of its models: only what differs, only once, and again when Kafka did not take it."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import KafkaError
from prometheus_client import CollectorRegistry, Gauge

from convnet.errors import RegistryError
from convnet.model_card import ModelCard
from convnet.registry import Aliases
from convnet_kafka.classifier import control
from convnet_kafka.classifier.control import ClassifierControl
from convnet_kafka.control import AliasesRecord, CancelledJob
from convnet_kafka.messages import now_ms
from support.memory_kafka import MemoryProducer


class Versions:
    """A registry that a test changes."""

    def __init__(self) -> None:
        self.numbers: tuple[int, ...] = (1,)
        self.now = Aliases(stable=1)
        self.damaged: set[int] = set()

    def versions(self) -> tuple[int, ...]:
        return self.numbers

    def aliases(self) -> Aliases:
        return self.now

    def card(self, version: int) -> ModelCard:
        if version in self.damaged:
            raise RegistryError("damaged")
        return ModelCard(
            version=version,
            classes=("cat", "dog"),
            height=28,
            width=28,
            channels=1,
            network="original",
            accuracy={"float32.tflite": 0.9},
            training_images=1,
            validation_images=1,
            data_fingerprint="f",
            checksums={},
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )


class Running:
    """A control whose topic is in memory: what it writes comes back to it at `tick`."""

    def __init__(self) -> None:
        self.registry = Versions()
        self.producer = MemoryProducer()
        self.producer.start = lambda: None  # type: ignore[attr-defined]
        made: Any = ClassifierControl({}, {}, "t.control", self.registry, Gauge("g", "g", registry=CollectorRegistry()), self._make)
        self.control: ClassifierControl = made

    def _make(self, _options: object) -> Any:
        return self.producer

    def tick(self) -> list[tuple[str, bool]]:
        """Look once more; the key of what was written and taken, and whether it has a value."""
        self.control._look_at = self.control._expiry_at = 0.0
        self.control.tick()
        self.producer.poll()
        written, self.producer.stored = self.producer.stored, []
        for sent in written:
            assert (sent.topic, sent.partition) == ("t.control", 0)
            self.control.state.apply(list(sent.headers.items()), sent.key, sent.value)
        self.control.tick()
        return [((sent.key or b"").decode(), sent.value is not None) for sent in written]


@pytest.fixture
def running() -> Running:
    return Running()


def test_cards_and_aliases_are_told_once_and_then_only_what_changes(running: Running) -> None:
    assert running.tick() == [("model/1", True), ("aliases", True)]
    assert running.tick() == []
    running.registry.numbers, running.registry.now = (1, 2), Aliases(stable=1, canary=2, canary_percent=10)
    assert running.tick() == [("model/2", True), ("aliases", True)]
    assert running.control.state.aliases == AliasesRecord(1, 2, 10)
    running.registry.numbers, running.registry.now = (2,), Aliases(stable=2)
    assert running.tick() == [("model/1", False), ("aliases", True)]
    assert list(running.control.state.models) == [2]


def test_what_another_classifier_has_told_is_not_told_again(running: Running) -> None:
    other = Running()
    other.control.state = running.control.state
    assert running.tick()
    assert other.tick() == []


def test_the_last_change_counts_and_is_not_answered_by_others(running: Running) -> None:
    running.tick()
    running.control.state.aliases = AliasesRecord(9)
    assert running.tick() == []
    running.registry.now = Aliases(stable=1, shadow=1)
    assert running.tick() == [("aliases", True)]


def test_what_kafka_did_not_take_is_told_again(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    running.producer.refuse = lambda _sent: KafkaError._MSG_TIMED_OUT
    assert running.tick() == []
    running.producer.refuse = lambda _sent: None
    assert running.tick() == [("model/1", True), ("aliases", True)]


def test_an_empty_or_unreadable_registry_takes_nothing_away(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    running.tick()
    running.registry.numbers = ()
    assert running.tick() == []

    def unreadable() -> Aliases:
        raise RegistryError("away")

    monkeypatch.setattr(running.registry, "aliases", unreadable)
    running.registry.numbers = (2,)
    assert running.tick() == []


def test_a_version_with_a_damaged_card_is_left_out_and_the_rest_told(running: Running) -> None:
    running.registry.numbers, running.registry.damaged = (1, 2), {2}
    assert running.tick() == [("model/1", True), ("aliases", True)]
    running.registry.damaged = set()
    assert running.tick() == [("model/2", True)]


def test_a_cancelled_job_is_taken_away_when_its_life_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "EXPIRY_SPREAD_S", 0.0)
    one = Running()
    one.tick()
    over, lives = f"{1:032x}", f"{2:032x}"
    one.control.state.cancel(CancelledJob(over, now_ms() - 1000))
    one.control.state.cancel(CancelledJob(lives, now_ms() + 60_000))
    assert one.tick() == [(f"job/{over}", False)]
    assert list(one.control.state.cancelled) == [lives]
    assert one.tick() == []


def test_classifiers_look_at_expired_jobs_at_different_times(monkeypatch: pytest.MonkeyPatch) -> None:
    later: Callable[[float, float], float] = lambda low, high: high  # noqa: E731
    monkeypatch.setattr(random, "uniform", later)
    one = Running()
    one.tick()
    one.control.state.cancel(CancelledJob(f"{1:032x}", now_ms() - 1000))
    assert one.tick() == []
    assert len(one.control.state.cancelled) == 1
