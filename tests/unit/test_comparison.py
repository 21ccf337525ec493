"""How a version on trial is compared with stable: from the labels alone, each image once, and with what chance would make of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import Message

from convnet_kafka.cli.comparison import compare, newest_labels, show
from convnet_kafka.cli.models import command
from convnet_kafka.messages import FailureCode, LabelRecord, Lane
from convnet_kafka.replies import Results, close_headers, close_value, label_headers
from support.memory_kafka import Record

JOB = "0" * 32


def label(number: int, model: int | None, name: str | None = "cat", confidence: float = 0.9, **other: object) -> LabelRecord:
    error = FailureCode.MODEL_ERROR if name is None else None
    values: dict = {"revision": 0, "lane": Lane.BULK, "submitted_at_ms": 1000, "labelled_at_ms": 1010 + number, "instead_of": None} | other
    return LabelRecord(
        image=f"{number:032x}",
        name="a.png",
        label=name,
        confidence=None if name is None else confidence,
        error=error,
        detail=None,
        model=model,
        **values,
    )


def record(one: LabelRecord) -> Record:
    headers = label_headers(job=JOB, images=one.image, revision=one.revision, tenant="default", failed=one.error is not None)
    return Record(0, headers, one.to_json())


def test_repeats_closes_and_foreign_records_do_not_count_and_the_newest_do() -> None:
    messages = [
        *(record(label(number, 1)) for number in (3, 1, 2)),
        record(label(3, 2, "dog")),
        Record(0, close_headers(job=JOB, tenant="default"), close_value(3)),
        Record(0, [], b"not ours"),
    ]
    assert [one.labelled_at_ms for one in newest_labels(lambda _: messages, 2)] == [1012, 1013]  # type: ignore[arg-type, return-value]
    assert {one.label for one in newest_labels(lambda _: messages, 10)} == {"cat"}  # type: ignore[arg-type, return-value]


def test_as_many_records_are_read_as_hold_the_newest_results() -> None:
    asked: list[int] = []

    def reading(messages: list[Record]) -> Callable[[int], list[Message]]:
        def read(most: int) -> list[Message]:
            asked.append(most)
            return messages[-most:]  # type: ignore[return-value]

        return read

    alone = [record(label(number, 1)) for number in range(3000)]
    assert [one.labelled_at_ms for one in newest_labels(reading(alone), 1000)] == [1010 + number for number in range(2000, 3000)]
    assert asked == [200, 800, 1000]
    asked.clear()
    together = Results(JOB, "default", 0, failed=False)
    for number in range(3000):
        together.images.append(f"{number:032x}")
        together.values.append(label(number, 1).to_json())
    records = [Record(offset, headers, value) for offset, (headers, value) in enumerate(together.records())]
    assert [one.labelled_at_ms for one in newest_labels(reading(records), 1000)] == [1010 + number for number in range(2000, 3000)]
    assert asked == [200]


def test_two_versions_are_compared_by_confidence_classes_errors_and_time() -> None:
    stable = [label(number, 1, "cat" if number % 2 else "dog", 0.9) for number in range(200)]
    canary = [label(1000 + number, 2, "cat", 0.8, submitted_at_ms=1500) for number in range(100)]
    failed = [label(2000, 2, None), label(2001, 1, "cat", 0.9, instead_of=2), label(2002, None, None)]
    found = compare([*stable, *canary, *failed], 1, 2)
    assert (found["stable"]["labels"], found["canary"]["labels"], found["canary"]["failures"]) == (201, 100, 2)
    assert found["stable"]["failures"] == 0
    assert found["canary"]["error_share"] == pytest.approx(2 / 102, abs=1e-4)
    assert found["confidence_shift"] == pytest.approx(-0.1)
    assert found["confidence_shift_by_chance"] == pytest.approx(0.0, abs=1e-3)
    assert found["class_mix_distance"] == pytest.approx(100 / 201, abs=1e-4)
    assert 0 < found["class_mix_distance_by_chance"] < 0.1
    assert found["canary"]["latency_ms"] == {"p50": 560, "p95": 605}
    assert found["enough"] is True


def test_the_same_answers_are_no_further_apart_than_chance_makes_them() -> None:
    names = ("cat", "dog", "fox")
    both = [label(number, 1 + number % 2, names[number * 7 % 3], 0.5 + number % 5 / 10) for number in range(3000)]
    found = compare(both, 1, 2)
    assert abs(found["confidence_shift"]) <= found["confidence_shift_by_chance"]
    assert found["class_mix_distance"] <= found["class_mix_distance_by_chance"]


def test_without_labels_nothing_is_claimed(capsys: pytest.CaptureFixture[str]) -> None:
    found = compare([], 1, 2)
    assert (found["confidence_shift"], found["class_mix_distance"], found["canary"]["error_share"]) == (None, None, None)
    assert found["enough"] is False
    show(found)
    shown = capsys.readouterr().out
    assert "too few labels to judge" in shown
    assert "canary 2" in shown


def test_the_command_says_what_it_needs(tmp_path: Path) -> None:
    models = ["--models", str(tmp_path)]
    assert "say which VERSION" in CliRunner().invoke(command, ["canary", *models]).output
    assert "say which VERSION" in CliRunner().invoke(command, ["shadow", "2", "--off", *models]).output
    assert "no canary beside the stable version" in str(CliRunner().invoke(command, ["canary", "--status", *models]).exception)
