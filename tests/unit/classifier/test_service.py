"""What a classifier says of itself while something is missing."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from convnet_kafka.classifier import service, topicwatch
from convnet_kafka.classifier.service import Classifier
from convnet_kafka.classifier.topicwatch import ClassifierTopics
from convnet_kafka.messages import Lane
from convnet_kafka.settings import ClassifierSettings, KafkaSettings, TopicSettings


def classifier(tmp_path: Path) -> Any:
    """One whose model and topics are there."""
    made: Any = Classifier(ClassifierSettings(models=tmp_path), KafkaSettings(), TopicSettings())
    made._models = SimpleNamespace(problem=None)
    made._topics = SimpleNamespace(problem=lambda: None)
    made._control = SimpleNamespace(problem=None)
    return made


def lanes(*, bulk: set[int], fast: set[int]) -> dict[Lane, SimpleNamespace]:
    return {Lane.BULK: SimpleNamespace(assigned=bulk), Lane.FAST: SimpleNamespace(assigned=fast)}


def test_it_is_ready_with_partitions_of_both_lanes(tmp_path: Path) -> None:
    one = classifier(tmp_path)
    assert one.not_ready() == ["not a member of the groups yet"]
    one._joined_at = time.monotonic()
    one._lanes = lanes(bulk={1}, fast=set())
    assert one.not_ready() == ["the fast lane has not assigned partitions yet"]
    one._lanes = lanes(bulk={1}, fast={0})
    assert one.not_ready() == []


def test_a_replica_that_got_no_partitions_for_a_while_is_idle_by_right(tmp_path: Path) -> None:
    one = classifier(tmp_path)
    one._lanes = lanes(bulk=set(), fast=set())
    one._joined_at = time.monotonic() - service.IDLE_BY_RIGHT_S - 1
    assert one.not_ready() == []
    assert one.notes() == [
        f"idle in the {lane} lane: all its partitions have owners, there are more replicas than partitions" for lane in ("bulk", "fast")
    ]
    one._lanes = lanes(bulk={3}, fast={0})
    assert one.notes() == []


def test_it_is_unready_until_its_producers_have_had_an_answer(tmp_path: Path) -> None:
    one = classifier(tmp_path)
    one._joined_at = time.monotonic()
    one._lanes = lanes(bulk={1}, fast={0})
    one._warm_up = SimpleNamespace(done=False)
    assert one.not_ready() == ["the producers have no answer from Kafka yet"]
    one._warm_up.done = True
    assert one.not_ready() == []


def test_it_is_unready_and_says_why_while_something_is_missing_or_it_goes_away(tmp_path: Path) -> None:
    one = classifier(tmp_path)
    one._models.problem = "no stable model yet: train one"
    one._topics.problem = lambda: "Kafka has not answered"
    one._control.problem = "topic t.control is not read yet"
    assert one.not_ready() == ["no stable model yet: train one", "Kafka has not answered", "topic t.control is not read yet"]
    assert one.not_alive() == []
    one.stop()
    assert one.not_ready() == ["going away"]


def test_a_loop_that_hangs_is_not_alive(tmp_path: Path) -> None:
    one = classifier(tmp_path)
    one._beat_at = time.monotonic() - 31
    assert one.not_alive() == ["the loop has not gone round for 31 s"]


def test_missing_topics_and_a_silent_kafka_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    topics: Any = ClassifierTopics(KafkaSettings(bootstrap_servers="k:1", topic_prefix="p"), TopicSettings())
    assert topics.problem() == "Kafka at k:1 has not answered yet"
    topics._answered_at = time.monotonic()
    topics._partitions = {"p.images": 2, "p.images.fast": 2, "p.images.dlq": 1}
    assert topics.problem().startswith("topics do not exist: p.labels;")
    topics._partitions["p.labels"] = 3
    assert topics.problem() is None
    assert [topics.reply_partition_exists(partition) for partition in (0, 2)] == [True, True]
    monkeypatch.setattr(topicwatch, "SILENT_S", -1.0)
    assert topics.problem() == "Kafka at k:1 has not answered for 0 s"


def test_a_lane_whose_call_into_kafkas_library_does_not_return_is_a_reason_for_a_restart(tmp_path: Path) -> None:
    one = classifier(tmp_path)
    one._lanes = {Lane.BULK: SimpleNamespace(silent_s=31.0), Lane.FAST: SimpleNamespace(silent_s=0.1)}
    assert one.not_alive() == ["the reader of the bulk lane has not come round for 31 s"]
    one._lanes[Lane.BULK].silent_s = 29.0
    assert one.not_alive() == []
