"""The records of the control topic, and what they add up to, whatever somebody writes there."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from convnet_kafka import control
from convnet_kafka.control import (
    AliasesRecord,
    CancelledJob,
    ControlRecord,
    ControlState,
    Gone,
    ModelRecord,
    control_headers,
    parse_control,
)
from convnet_kafka.errors import NewerWireVersion, WireError

JOB = "000102030405060708090a0b0c0d0e0f"
CARD = ModelRecord(7, ("cat", "dog"), 28, 28, 1, "original", {"float32.tflite": 0.98}, "float32.tflite", 1764000000000)
RECORDS: Sequence[ControlRecord] = (
    CARD,
    AliasesRecord(7, 8, 10, 9),
    AliasesRecord(),
    CancelledJob(JOB, 1764000000000),
)


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_is_read_as_it_was_written(record: ControlRecord) -> None:
    assert parse_control(control_headers(record.kind), record.key.encode(), record.to_json()) == record


def test_a_record_without_a_value_takes_its_key_away() -> None:
    assert parse_control(control_headers(CARD.kind), b"model/7", None) == Gone("model/7")


def test_what_this_version_does_not_know_is_passed_over() -> None:
    headers = [("wire", b"1"), ("kind", b"weather")]
    assert parse_control(headers, b"weather/today", b"rain") is None
    more = CARD.to_json()[:-1] + b',"mood":"good"}'
    assert parse_control(control_headers(CARD.kind), b"model/7", more) == CARD


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"model/7", b"{}"),
        (b"model/7", b"not JSON"),
        (b"model/8", CARD.to_json()),
        (b"model/7", CARD.to_json().replace(b'"version":7', b'"version":true')),
        (b"aliases", b"[]"),
        (b"aliases", b'{"stable":"seven"}'),
        (b"job/0001", b'{"expires_at_ms":1}'),
        (b"job/" + b"g" * 32, b'{"expires_at_ms":1}'),
        (b"job/" + JOB.upper().encode(), b'{"expires_at_ms":1}'),
        (f"job/{JOB}".encode(), b'{"expires_at_ms":-1}'),
        (f"job/{JOB}".encode(), b"7"),
        (b"\xff", b"{}"),
    ],
)
def test_a_damaged_record_is_an_error_and_no_end_of_a_reader(key: bytes, value: bytes) -> None:
    with pytest.raises(WireError):
        parse_control([("wire", b"1")], key, value)
    state = ControlState()
    state.apply([("wire", b"1")], key, value)
    assert state == ControlState()


def test_a_newer_wire_version_is_passed_over_and_the_rest_is_read() -> None:
    newer = [("wire", b"2"), ("kind", b"cancelled")]
    with pytest.raises(NewerWireVersion):
        parse_control(newer, f"job/{JOB}".encode(), b"?")
    state = ControlState()
    state.apply(newer, f"job/{JOB}".encode(), b"?")
    put(state, CARD)
    assert (state.cancelled, state.models) == ({}, {7: CARD})


def put(state: ControlState, record: ControlRecord) -> None:
    state.apply(control_headers(record.kind), record.key.encode(), record.to_json())


def take_away(state: ControlState, key: str) -> None:
    state.apply([("wire", b"1")], key.encode(), None)


def test_the_last_record_of_a_key_counts() -> None:
    state = ControlState()
    for record in (CARD, AliasesRecord(7), AliasesRecord(8), CancelledJob(JOB, 5)):
        put(state, record)
    assert state.aliases == AliasesRecord(8)
    assert state.cancelled == {JOB: 5}
    for key in ("model/7", "aliases", f"job/{JOB}", "model/99", "warm-up"):
        take_away(state, key)
    assert state == ControlState()


def test_cancelled_jobs_are_bounded_and_leave_when_their_life_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MAX_CANCELLED", 3)
    state = ControlState()
    jobs = [f"{number:032x}" for number in range(5)]
    for number, job in enumerate(jobs):
        put(state, CancelledJob(job, 100 + number))
    assert list(state.cancelled) == jobs[2:]
    assert state.expired(103) == [jobs[2]]
    state.forget(state.expired(104))
    assert list(state.cancelled) == jobs[4:]
