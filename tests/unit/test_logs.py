"""Repeated warnings are held back and counted; everything else is told."""

from __future__ import annotations

import logging

import pytest

from convnet_kafka.logs import Repeats


def record(message: object, level: int = logging.WARNING, name: str = "librdkafka") -> logging.LogRecord:
    return logging.LogRecord(name, level, "", 0, message, None, None)


def test_warnings_that_differ_in_numbers_alone_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    repeats = Repeats(repeat_s=10)
    told = [repeats.filter(record(f"Connect to 127.0.0.1:{port} failed after {port} ms")) for port in range(5)]
    assert told == [True, False, False, False, False]
    now[0] += 10
    again = record("Connect to 127.0.0.1:9 failed after 9 ms")
    assert repeats.filter(again)
    assert "4 more like it" in again.getMessage()


def test_our_own_events_say_how_many_were_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    repeats = Repeats(repeat_s=10)
    events = [{"event": "kafka does not answer", "timestamp": str(moment)} for moment in range(3)]
    assert [repeats.filter(record(event, name="convnet_kafka.kafka.watch")) for event in events] == [True, False, False]
    now[0] += 10
    last = record({"event": "kafka does not answer", "timestamp": "later"}, name="convnet_kafka.kafka.watch")
    assert repeats.filter(last)
    assert isinstance(last.msg, dict)
    assert last.msg["held_back"] == 2


def test_other_loggers_and_milder_levels_are_never_held_back() -> None:
    repeats = Repeats()
    assert all(repeats.filter(record("the same", name="convnet_kafka.server.run")) for _ in range(3))
    assert all(repeats.filter(record("the same", logging.INFO)) for _ in range(3))
