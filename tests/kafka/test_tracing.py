"""One trace from the client's upload over server and Kafka to the classifier's batch and back, exported by three real processes.

The second upload's images are in a classifier's hands when it is killed; their traces show the classifier that took them over.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from convnet.digits import DigitsFolders
from convnet_kafka.kafka.topics import create_missing
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.messages import Lane
from convnet_kafka.settings import TopicSettings
from convnet_kafka.topology import Topology
from support import deadly_backend
from support.running_classifier import RunningClassifier
from support.running_server import config
from support.server_process import ServerProcess
from support.topics import admin, kafka_settings
from support.trace_collector import ExportedSpan, TraceCollector
from support.trace_picture import draw
from support.waiting import until, until_ready

UPLOAD = "POST /v1/jobs/{job}/images"
# A static member that comes back is given its partitions at once; waiting for the end of a dead one's session is no part of this test.
STATIC = {"KAFKA_GROUP_PROTOCOL": "classic", "KAFKA_CLIENT_OPTIONS": '{"group.instance.id": "one"}'}
SLOW = {
    "CONVNET_CLASSIFIER_BACKEND": "support.deadly_backend:load",
    "PYTHONPATH": str(Path(deadly_backend.__file__).parents[1]),
    "SLOW_BATCH_S": "60",
}
IMAGES = 3


class Release:
    """A release whose server runs and traces, and its collector."""

    def __init__(self, broker: LocalBroker, collector: TraceCollector, folder: Path) -> None:
        self.settings = kafka_settings(broker.bootstrap_servers)
        self.topology = Topology(self.settings.topic_prefix)
        self.topics = TopicSettings(images_partitions=1, labels_partitions=2)
        self._admin = admin(broker.bootstrap_servers)  # held: a client that is collected fails what it was asked
        create_missing(self._admin, self.topology.specs(self.settings, self.topics))
        self.broker = broker
        self.collector = collector
        self.folder = folder
        made = config(folder, broker.bootstrap_servers, self.settings.topic_prefix, topics={"images_partitions": 1, "labels_partitions": 2})
        self.server = ServerProcess(made, **collector.environment)

    def classifier(self, models: Path, name: str, **environment: str) -> RunningClassifier:
        traced = self.collector.environment | STATIC | environment
        return RunningClassifier(self.broker.bootstrap_servers, self.settings.topic_prefix, models, self.folder / name, **traced)

    def classify(self, pictures: Path) -> subprocess.Popen[str]:
        """`convnet-kafka classify`, as a user runs it."""
        return subprocess.Popen(
            [sys.executable, "-m", "convnet_kafka", "classify", str(pictures), "--server", self.server.url, "--json", "--deadline", "120"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.collector.environment},
        )

    def is_noted(self) -> bool:
        """Whether a classifier has begun what lies there, and said so."""
        group = self.topology.group(Lane.BULK)
        topic = self.topology.images(Lane.BULK)
        asked = [ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0)])]
        found = self._admin.list_consumer_group_offsets(asked)[group].result(20).topic_partitions
        return any("attempt" in (each.metadata or "") for each in found)


@pytest.fixture
def release(broker: LocalBroker, tmp_path: Path) -> Iterator[Release]:
    with TraceCollector() as collector:
        yield Release(broker, collector, tmp_path)


@pytest.fixture
def pictures(digits: DigitsFolders, tmp_path: Path) -> Callable[[int], Path]:
    """A folder with some digits, others each time."""

    def make(first: int) -> Path:
        folder = tmp_path / f"from-{first}"
        folder.mkdir()
        for number, path in enumerate(sorted(digits.test.rglob("*.png"))[first : first + IMAGES]):
            (folder / f"private-{number}.png").write_bytes(path.read_bytes())
        return folder

    return make


def children(spans: list[ExportedSpan], parent: ExportedSpan, name: str) -> list[ExportedSpan]:
    return [span for span in spans if span.parent_id == parent.span_id and span.name == name]


def images_of(client: subprocess.Popen[str]) -> set[str]:
    """Ids of the images that a client has got labels for, once it has ended."""
    labels = [json.loads(line) for line in (client.stdout or []) if '"label"' in line]
    assert client.wait(60) == 0
    assert len(labels) == IMAGES
    return {label["image"] for label in labels}


def check_trace(release: Release, images: set[str]) -> list[ExportedSpan]:
    """The upload of these images is one whole trace, once all processes have ended; gives its spans."""
    topology = release.topology
    sending = f"send {topology.images(Lane.BULK)}"
    sent = [span for span in release.collector.spans if span.name == sending and span.attributes["convnet.image"] in images]
    assert len(sent) == IMAGES
    (trace_id,) = {span.trace_id for span in sent}
    spans = [span for span in release.collector.spans if span.trace_id == trace_id]

    (upload,) = [span for span in spans if not span.parent_id]
    assert (upload.service, upload.name, upload.kind) == ("convnet-kafka-client", UPLOAD, "CLIENT")
    (request,) = children(spans, upload, UPLOAD)
    assert (request.service, request.kind) == ("convnet-kafka-server", "SERVER")
    assert request.attributes["convnet.images.accepted"] == IMAGES
    assert {span.parent_id for span in sent} == {request.span_id}
    batches = [span for span in spans if span.name == f"process {topology.images(Lane.BULK)}"]
    for image in sent:
        assert (image.service, image.kind) == ("convnet-kafka-server", "PRODUCER")
        (wait,) = children(spans, image, f"wait {topology.images(Lane.BULK)}")
        assert wait.service == "convnet-kafka-classifier"
        assert wait.attributes["convnet.image"] == image.attributes["convnet.image"]
        assert wait.attributes["messaging.kafka.offset"] == image.attributes["messaging.kafka.offset"]
        # Its batch links to it, and begins where its wait ends.
        (batch,) = [each for each in batches if image.span_id in {link.span_id for link in each.links}]
        assert batch.start_ns == wait.end_ns
    for batch in batches:
        assert (batch.service, batch.kind) == ("convnet-kafka-classifier", "CONSUMER")
        assert batch.parent_id == batch.links[0].span_id
        assert {link.trace_id for link in batch.links} == {trace_id}
        (sending,) = children(spans, batch, f"send {topology.labels}")
        assert {span.name for span in spans if span.parent_id == batch.span_id} == {"decode", "predict", sending.name}
        received = children(spans, sending, f"receive {topology.labels}")
        assert {(span.service, span.kind) for span in received} == {("convnet-kafka-server", "CLIENT")}
        back = children(spans, sending, "receive labels")
        assert {span.service for span in back} == {"convnet-kafka-client"}
    assert sum(span.attributes["convnet.labels"] for span in spans if span.name == "receive labels") == IMAGES
    return spans


def test_an_upload_is_one_trace_also_when_its_classifier_is_killed(
    release: Release, pictures: Callable[[int], Path], digits_models: Path
) -> None:
    with release.server as server:
        server.wait()
        until_ready(server.url)
        with release.classify(pictures(0)) as client:
            release.collector.wait_for(f"send {release.topology.images(Lane.BULK)}", IMAGES)
            with release.classifier(digits_models, "killed", **SLOW) as first:
                until(release.is_noted, 60, "a note that the images have been begun")
                os.kill(first.process.pid, signal.SIGKILL)
                first.process.wait(20)
            with release.classifier(digits_models, "second") as second:
                retried = images_of(client)
                with release.classify(pictures(IMAGES)) as undisturbed:
                    straight = images_of(undisturbed)
                assert second.terminate() == 0

    # All processes have ended, so everything has been sent.
    process = f"process {release.topology.images(Lane.BULK)}"
    after_death, normal = check_trace(release, retried), check_trace(release, straight)
    # After a death each image that could have been its cause is handled alone, and says so.
    assert [span.attributes["convnet.alone"] for span in after_death if span.name == process] == [1] * IMAGES
    assert all("convnet.alone" not in span.attributes for span in normal if span.name == process)
    assert b"private" not in b"".join(release.collector.bodies)
    for name, spans in (("trace", normal), ("trace-after-a-death", after_death)):
        picture = Path("build") / f"{name}.svg"
        picture.parent.mkdir(exist_ok=True)
        picture.write_text(draw(spans, release.settings.topic_prefix))
