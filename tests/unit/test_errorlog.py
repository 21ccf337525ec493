"""Errors that come again and again do not fill the log, and new ones are told at once."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from convnet_kafka.kafka import errorlog
from convnet_kafka.kafka.errorlog import ErrorLog


def test_each_kind_is_told_once_and_then_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(errorlog.time, "monotonic", lambda: now)
    tell = ErrorLog("reader", topic="labels")
    with capture_logs() as told:
        for _ in range(500):
            tell(KafkaError(KafkaError._TRANSPORT))
            tell(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        now += errorlog.TOLD_EVERY_S
        tell(KafkaError(KafkaError._TRANSPORT))
    assert [(entry["event"], entry["client"], entry["topic"], entry.get("held_back")) for entry in told] == [
        ("kafka error", "reader", "labels", None),
        ("kafka error", "reader", "labels", None),
        ("kafka error", "reader", "labels", 499),
    ]
