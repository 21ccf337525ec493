"""docs/wire.md is enough: a plain Kafka client submits images and reads their labels with nothing of ours but the page's text."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from convnet.digits import DigitsFolders
from convnet_kafka.local.broker import LocalBroker

DEADLINE_S = 120.0


@pytest.fixture(scope="module")
def prefix() -> str:
    return f"wire-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def classifier(broker: LocalBroker, prefix: str, digits_models: Path) -> Iterator[None]:
    """A classifier in a process of its own; it makes the topics."""
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": prefix,
        "CONVNET_TOPICS_CREATE": "true",
        "CONVNET_CLASSIFIER_MODELS": str(digits_models),
        "CONVNET_CLASSIFIER_PORT": "0",
    }
    with subprocess.Popen([sys.executable, "-m", "convnet_kafka", "classifier"], env=environment) as process:
        yield
        process.terminate()
        assert process.wait(30) == 0


def documented_image_id(job: str, name: str, content: bytes) -> str:
    encoded = name.encode("utf-8")
    message = len(encoded).to_bytes(4, "big") + encoded + content
    return hashlib.blake2b(message, digest_size=16, key=bytes.fromhex(job)).hexdigest()


def test_a_plain_client_submits_images_and_reads_one_result_each(
    classifier: None, broker: LocalBroker, prefix: str, digits: DigitsFolders
) -> None:
    images = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in sorted(digits.test.rglob("*.png"))[::10]}
    images["damaged.png"] = images[next(iter(images))][:40]
    job, partition = secrets.token_hex(16), 3
    ids = {documented_image_id(job, name, content): name for name, content in images.items()}

    reader = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "unused", "enable.auto.commit": False})
    deadline = time.monotonic() + DEADLINE_S
    while f"{prefix}.labels" not in reader.list_topics(timeout=10).topics:
        assert time.monotonic() < deadline, "the classifier did not make the topics"
        reader.poll(0.1)
    reader.assign([TopicPartition(f"{prefix}.labels", partition, OFFSET_BEGINNING)])

    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "acks": "all", "enable.idempotence": True})
    for _ in range(2):  # sent twice: the same id, one result
        for image, name in ids.items():
            headers = {
                "wire": "1",
                "job": job,
                "image": image,
                "name": name,
                "reply-partition": str(partition),
                "tenant": "default",
                "submitted-at": str(int(time.time() * 1000)),
            }
            producer.produce(f"{prefix}.images", images[name], headers=headers)
    assert producer.flush(30) == 0

    results: dict[str, dict] = {}
    while set(results) != set(ids):
        assert time.monotonic() < deadline, f"{len(results)} results for {len(ids)} images"
        message = reader.poll(0.5)
        if message is None or message.error():
            continue
        headers = dict(message.headers() or [])
        if headers.get("job") == job.encode():
            lines = message.value().split(b"\n")
            assert len(headers["image"]) == 32 * len(lines)
            for result in map(json.loads, lines):
                results.setdefault(result["image"], result | {"kind": headers.get("kind")})
    reader.close()

    for image, name in ids.items():
        assert results[image]["name"] == name
        assert results[image]["revision"] == 0
        assert results[image]["lane"] == "bulk"
    failed = results[documented_image_id(job, "damaged.png", images["damaged.png"])]
    assert failed["error"] == "undecodable"
    assert failed["kind"] == b"failed"
    labelled = [result for result in results.values() if "label" in result]
    assert len(labelled) == len(images) - 1
    assert all(0 <= result["confidence"] <= 1 and result["model"] == 1 and result["kind"] is None for result in labelled)
    right = sum(result["label"] == result["name"].split("/")[0] for result in labelled)
    assert right > len(labelled) / 2
