"""Repeated warnings are held back and counted, secrets of strangers and of ours are left out; everything else is told."""

from __future__ import annotations

import logging
import sys

import pytest
import structlog
from aiohttp.http_exceptions import BadStatusLine

from convnet_kafka import logs
from convnet_kafka.logs.filters import ALLOWANCE, MAX_KINDS, Malformed, Repeats


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


def test_of_other_loggers_some_alike_are_told_before_they_are_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    repeats = Repeats(repeat_s=10)

    def failed(image: int) -> logging.LogRecord:
        return record({"event": "image failed", "image": f"{image:032x}"}, name="convnet_kafka.classifier.publishing")

    assert [repeats.filter(failed(image)) for image in range(ALLOWANCE + 5)] == [True] * ALLOWANCE + [False] * 5
    assert repeats.filter(record({"event": "another"}, name="convnet_kafka.classifier.publishing"))
    now[0] += 10
    later = failed(1000)
    assert repeats.filter(later)
    assert isinstance(later.msg, dict)
    assert later.msg["held_back"] == 5


def test_milder_levels_are_never_held_back() -> None:
    repeats = Repeats()
    assert all(repeats.filter(record("the same", logging.INFO)) for _ in range(ALLOWANCE + 5))


def test_kinds_without_end_do_not_fill_the_memory() -> None:
    repeats = Repeats()
    assert all(
        repeats.filter(record({"event": "x", "error": "y" * kind}, name="convnet_kafka.kafka.reader")) for kind in range(MAX_KINDS + 50)
    )
    assert len(repeats._told) <= MAX_KINDS


def test_what_was_wrong_with_a_request_is_told_without_its_bytes() -> None:
    secret = "ck_" + "a" * 32
    try:
        raise BadStatusLine(f"GET /{secret}")
    except BadStatusLine:
        broken = logging.LogRecord("aiohttp.server", logging.ERROR, "", 0, "Error from %s", ("127.0.0.1",), sys.exc_info())
    assert Malformed().filter(broken)
    assert broken.getMessage() == "a request was not HTTP and was refused (BadStatusLine)"
    assert (broken.levelno, broken.exc_info) == (logging.WARNING, None)
    repeats = Repeats()
    assert [repeats.filter(broken) for _ in range(3)] == [True, False, False]


def test_other_errors_of_aiohttp_keep_their_traceback() -> None:
    try:
        raise ValueError("ours")
    except ValueError:
        ours = logging.LogRecord("aiohttp.server", logging.ERROR, "", 0, "Error", None, sys.exc_info())
    assert Malformed().filter(ours)
    assert ours.exc_info is not None


@pytest.mark.parametrize("json", [True, False])
def test_an_error_is_told_without_the_values_of_variables(json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger()
    handlers, level, configured = before.handlers[:], before.level, structlog.get_config()
    try:
        logs.configure("info", json)
        key = "ck_" + "a" * 32
        try:
            raise ValueError("something broke")
        except ValueError as error:
            structlog.get_logger("test").error("it failed", exc_info=error)
        assert key
    finally:
        before.handlers[:] = handlers
        before.setLevel(level)
        structlog.configure(**configured)
    told = capsys.readouterr().err
    assert "something broke" in told
    assert "Traceback" in told
    assert "ck_" + "a" * 32 not in told
