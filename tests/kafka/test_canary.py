"""A version on trial with real classifiers: its share of the jobs, the comparison with stable, and stable in its place when it fails."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from convnet.digits import DigitsFolders
from convnet.registry import Registry
from convnet_kafka.classifier.answers import in_share
from convnet_kafka.cli.models import command
from convnet_kafka.kafka.connection import reader_options
from convnet_kafka.kafka.tail import newest_records
from convnet_kafka.kafka.topics import create_missing
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.messages import LabelRecord
from convnet_kafka.replies import ReplyHeaders, labels_in
from convnet_kafka.settings import TopicSettings
from convnet_kafka.topology import Topology
from support.named_versions import named_versions
from support.running_classifier import PlainClient, RunningClassifier
from support.topics import admin, kafka_settings
from support.waiting import until

JOBS = [f"{number:032x}" for number in range(40)]


@pytest.fixture
def prefix(broker: LocalBroker) -> str:
    """A release whose topics are there."""
    settings = kafka_settings(broker.bootstrap_servers)
    specs = Topology(settings.topic_prefix).specs(settings, TopicSettings(images_partitions=4, labels_partitions=2))
    create_missing(admin(broker.bootstrap_servers), specs)
    return settings.topic_prefix


def submit(broker: LocalBroker, prefix: str, digits: DigitsFolders) -> int:
    """Ten images of each job; returns how many."""
    client = PlainClient(broker.bootstrap_servers, prefix)
    pictures = [path.read_bytes() for path in sorted(digits.test.rglob("*.png"))]
    for index, client.job in enumerate(JOBS):
        for number in range(10):
            client.submit(f"{number}.png", pictures[(index * 10 + number) % len(pictures)])
    client.flush()
    client.close()
    return 10 * len(JOBS)


def labels(broker: LocalBroker, prefix: str) -> list[tuple[str, LabelRecord]]:
    """Every label with its job."""
    options = reader_options(kafka_settings(broker.bootstrap_servers), "test", share=0.02, max_record_bytes=1 << 20)
    found = newest_records(options, f"{prefix}.labels", 10_000)
    return [
        (ReplyHeaders.parse(message.headers()).job, label) for message in found for label in labels_in(message.headers(), message.value())
    ]


def loaded(running: RunningClassifier, role: str, model: int) -> bool:
    return any(event.get("role") == role and event.get("model") == model for event in running.events())


def compared(running: RunningClassifier) -> int:
    """Images that the shadow predicted."""
    with urllib.request.urlopen(f"{running.url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    counts = [line for line in lines if line.startswith("convnet_classifier_compared_images_total{") and 'role="shadow"' in line]
    return int(sum(float(line.split()[-1]) for line in counts))


def test_a_canary_classifies_its_share_of_the_jobs_in_every_classifier_and_is_compared_with_stable(
    broker: LocalBroker, prefix: str, digits: DigitsFolders, digits_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = named_versions(digits_models, tmp_path / "models", 3)
    registry.set_alias("canary", 2, canary_percent=30)
    registry.set_alias("shadow", 3)
    logs = tmp_path / "first", tmp_path / "second"
    with (
        RunningClassifier(broker.bootstrap_servers, prefix, registry.folder, logs[0]) as first,
        RunningClassifier(broker.bootstrap_servers, prefix, registry.folder, logs[1]) as second,
    ):
        for running in (first, second):
            running.wait_ready()
            until(lambda running=running: loaded(running, "canary", 2) and loaded(running, "shadow", 3))
        count = submit(broker, prefix, digits)
        until(lambda: len(labels(broker, prefix)) >= count, 60, "all labels")
        # Counted anew each time: an image that is delivered again is answered and compared again.
        until(
            lambda: compared(first) + compared(second) == sum(label.model == 1 for _, label in labels(broker, prefix)),
            what="the shadow has predicted what stable answered",
        )
    expected = {job: 2 if in_share(job, 30) else 1 for job in JOBS}
    assert {2, 1} == set(expected.values())
    for job, label in labels(broker, prefix):
        assert label.model == expected[job]
        assert (label.label or "").startswith(f"v{label.model}:")
    status = _status(registry, broker, prefix, monkeypatch)
    assert status["stable"]["labels"] + status["canary"]["labels"] == count
    assert (status["canary"]["version"], status["canary"]["failures"], status["canary"]["error_share"]) == (2, 0, 0.0)
    assert abs(status["confidence_shift"]) < 0.1
    assert status["class_mix_distance"] == 1.0  # the names of their classes differ here
    table = CliRunner().invoke(command, ["canary", "--status", "--models", str(registry.folder)], catch_exceptions=False).stdout
    assert "stable 1" in table
    assert "canary 2" in table


def test_a_canary_that_fails_costs_no_label_and_stable_says_in_whose_place_it_answered(
    broker: LocalBroker, prefix: str, digits: DigitsFolders, digits_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = named_versions(digits_models, tmp_path / "models", 2)
    registry.set_alias("canary", 2, canary_percent=50)
    (registry.folder / "2" / registry.card(2).served).write_bytes(b"damaged")
    with RunningClassifier(broker.bootstrap_servers, prefix, registry.folder, tmp_path / "log") as running:
        running.wait_ready()
        until(lambda: "stable answers" in running.log.read_text())
        count = submit(broker, prefix, digits)
        until(lambda: len(labels(broker, prefix)) >= count, 60, "all labels")
        assert running.get("/readyz")[0] == 200
    assert Counter(label.model for _, label in labels(broker, prefix)) == {1: count}


def _status(registry: Registry, broker: LocalBroker, prefix: str, monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    monkeypatch.setenv("KAFKA_TOPIC_PREFIX", prefix)
    done = CliRunner().invoke(command, ["canary", "--status", "--json", "--models", str(registry.folder)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)
