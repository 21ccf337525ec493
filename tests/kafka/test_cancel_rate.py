"""What a cancelled job still costs: its images get their results many times as fast as they would be classified."""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from PIL import Image

from convnet_kafka.control import CancelledJob, control_headers
from convnet_kafka.kafka.topics import create_missing
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.messages import FailureCode, now_ms
from convnet_kafka.settings import TopicSettings
from convnet_kafka.topology import Topology
from support.running_classifier import PlainClient, RunningClassifier
from support.topics import admin, kafka_settings

CANCELLED = 100_000
CLASSIFIED = 1_000
TIMES = 10


@pytest.fixture
def client(broker: LocalBroker) -> Iterator[PlainClient]:
    settings = kafka_settings(broker.bootstrap_servers)
    specs = Topology(settings.topic_prefix).specs(settings, TopicSettings(images_partitions=4, labels_partitions=2))
    create_missing(admin(broker.bootstrap_servers), specs)
    made = PlainClient(broker.bootstrap_servers, settings.topic_prefix)
    yield made
    made.close()


def rate(client: PlainClient, names: set[str]) -> float:
    """Results a second, from when they were made."""
    made_at = sorted(label.labelled_at_ms for name, label in client.labels.items() if name in names)
    return len(made_at) / ((made_at[-1] - made_at[0]) / 1000)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_cancelled_job_of_100_000_images_drains_ten_times_as_fast_as_it_would_be_classified(
    broker: LocalBroker, client: PlainClient, digits_models: Path, tmp_path: Path
) -> None:
    picture = io.BytesIO()
    Image.new("L", (1000, 1000), 200).save(picture, "PNG")  # small as a file, and some milliseconds to decode, like a photo
    content = picture.getvalue()
    with RunningClassifier(broker.bootstrap_servers, client.prefix, digits_models, tmp_path / "log") as running:
        running.wait_ready()
        wanted = {f"wanted/{number}.png" for number in range(CLASSIFIED)}
        for name in sorted(wanted):
            client.submit(name, content)
        client.flush()
        client.wait_for(CLASSIFIED, 300)
        assert running.terminate() == 0
    first = client.job
    client.job = secrets.token_hex(16)
    record = CancelledJob(client.job, now_ms() + 3_600_000)
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    producer.produce(f"{client.prefix}.control", record.to_json(), record.key.encode(), 0, headers=control_headers(record.kind))
    assert producer.flush(30) == 0
    unwanted = {f"unwanted/{number}.png" for number in range(CANCELLED)}
    for name in sorted(unwanted):
        client.submit(name, content)
    client.flush()
    with RunningClassifier(broker.bootstrap_servers, client.prefix, digits_models, tmp_path / "log") as running:
        client.wait_for(CLASSIFIED + CANCELLED, 600)
        assert running.terminate() == 0
    assert first != client.job
    assert {client.labels[name].error for name in wanted} == {None}
    assert {client.labels[name].error for name in unwanted} == {FailureCode.CANCELLED}
    classified, drained = rate(client, wanted), rate(client, unwanted)
    print(f"classified {classified:.0f} images/s, cancelled {drained:.0f} images/s: {drained / classified:.1f} times as fast")
    assert drained > TIMES * classified
