"""What each part of a release does with Kafka, done as a given user: `*_works` fails at the first thing that does not work.

Each does everything that the part's code asks of Kafka. Whether Kafka refused something is read from the broker's log
(GuardedBroker.denied), so that a slow machine is not taken for a refusal.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # re-exported without `as`

from convnet_kafka.control import CancelledJob, control_headers
from convnet_kafka.kafka.topics import create_missing
from convnet_kafka.local.process import free_ports
from convnet_kafka.messages import FailureCode, Lane, now_ms
from convnet_kafka.settings import TopicSettings
from convnet_kafka.topology import Topology
from support.guarded_broker import GuardedBroker
from support.http import TAR, tar
from support.running_classifier import PlainClient, RunningClassifier
from support.running_server import SIGNING_KEY
from support.topics import admin, kafka_settings
from support.waiting import until

# What works takes a second on idle cores; what does not work never comes.
PATIENCE_S = 60.0
TOPICS = TopicSettings(images_partitions=2, labels_partitions=2)
_PARTITIONS = {"CONVNET_TOPICS_IMAGES_PARTITIONS": "2", "CONVNET_TOPICS_LABELS_PARTITIONS": "2"}
# As the metric says it of what was never seen (server/health.py).
NEVER_S = 1e9
_HOUR_MS = 3_600_000
# Pictures that nobody can read. One is first, and is to stay when the others are purged: with so many, some lie behind it in its partition.
BAD = dict.fromkeys(("stays.png", *(f"goes-{number}.png" for number in range(23))), b"\x89PNG\r\n\x1a\nnothing")


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a part is tried.

    Attributes:
        kafka: the broker.
        models: a registry with a stable model.
        picture: a picture that the model knows.
        folder: an empty folder.
    """

    kafka: GuardedBroker
    models: Path
    picture: bytes
    folder: Path


def make_topics(kafka: GuardedBroker, prefix: str) -> None:
    """The topics of a release, as Strimzi's operator makes them; returns when they have leaders."""
    specs = Topology(prefix).specs(kafka_settings(kafka.inner, prefix), TOPICS)
    create_missing(admin(kafka.inner), specs)
    until(lambda: all(_has_leaders(kafka, spec.name) for spec in specs), PATIENCE_S, "leaders")


@contextmanager
def classifier(scene: Scene, prefix: str, environment: Mapping[str, str]) -> Iterator[RunningClassifier]:
    """A classifier that is ended in good order."""
    settings = {"CONVNET_TOPICS_CREATE": "false", **_PARTITIONS, **environment}
    log = scene.folder / f"classifier-{prefix}.log"
    with RunningClassifier(scene.kafka.inner, prefix, scene.models, log, **settings) as running:
        yield running
        running.terminate()


@contextmanager
def server(scene: Scene, prefix: str, environment: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """A server's address and its log."""
    (port,) = free_ports(1)
    key, log = scene.folder / "signing-key", scene.folder / f"server-{port}.log"
    key.write_bytes(SIGNING_KEY)
    settings = {
        "KAFKA_TOPIC_PREFIX": prefix,
        "CONVNET_SERVER_PORT": str(port),
        "CONVNET_SERVER_SIGNING_KEY_FILES": str(key),
        "CONVNET_SERVER_SHUTDOWN_DELAY_S": "0",
        "CONVNET_SERVER_DELIVERY_TIMEOUT_S": "5",
        **_PARTITIONS,
        **environment,
    }
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "convnet_kafka", "server"], env={**os.environ, **settings}, stderr=output)
    try:
        yield f"http://127.0.0.1:{port}", log
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


def submit_bad_pictures(plain: PlainClient) -> None:
    """All of them, the one that stays first: one classifier works on one partition in order."""
    for name, content in BAD.items():
        plain.submit(name, content, partition=0)
    plain.flush()


def server_works(scene: Scene, user: str, prefix: str) -> None:
    """A server takes images on both lanes, tells their labels, closes and cancels jobs, shows models and sees what waits.

    A classifier on the same topics must be at work.
    """
    with server(scene, prefix, scene.kafka.environment(user)) as (url, log):
        with _quoting(log):
            until(lambda: _status(f"{url}/readyz") == 200, PATIENCE_S, "the server is ready")
        assert "topic differs" not in log.read_text(), "the settings of the topics cannot be compared"
        job = _opened(url)
        answer = requests.post(f"{job}/images", tar({"a.png": scene.picture}), headers=TAR, timeout=60).json()
        assert answer["accepted"] == 1, answer
        assert requests.post(f"{job}/close", json={"images": 1}, timeout=60).ok
        labels = requests.get(f"{job}/labels", headers={"Accept": "application/x-ndjson"}, timeout=PATIENCE_S).text.splitlines()
        assert any(json.loads(line).get("label") for line in labels), labels
        classified = requests.post(f"{url}/v1/classify", scene.picture, headers={"Content-Type": "image/png"}, timeout=60)
        assert classified.status_code == 200, classified.text
        cancelled = requests.delete(_opened(url), timeout=60)
        assert cancelled.ok, cancelled.text
        until(lambda: _status(f"{url}/v1/models") == 200, PATIENCE_S, "the models are known")
        for lane in Lane:
            until(lambda lane=lane: _backlog_silent_s(url, lane) < NEVER_S, PATIENCE_S, f"what waits in {lane.value} is known")
        assert "uthorization failed" not in log.read_text(), log.read_text()[-1000:]


def classifier_works(scene: Scene, user: str, prefix: str) -> None:
    """A classifier labels images of both lanes, sets bad ones aside, passes over a cancelled job, tells its model and commits."""
    make_topics(scene.kafka, prefix)
    topology = Topology(prefix)
    with closing(PlainClient(scene.kafka.inner, prefix)) as plain, closing(PlainClient(scene.kafka.inner, prefix)) as cancelled:
        _cancel(scene.kafka, topology, cancelled.job)
        with classifier(scene, prefix, scene.kafka.environment(user)) as running:
            running.wait_ready(PATIENCE_S)
            for name, lane in (("bulk.png", "images"), ("fast.png", "images.fast")):
                plain.submit(name, scene.picture, lane)
            submit_bad_pictures(plain)
            plain.wait_for(2 + len(BAD), PATIENCE_S)
            assert {name for name, label in plain.labels.items() if label.label is not None} == {"bulk.png", "fast.png"}
            cancelled.submit("cancelled.png", scene.picture)
            cancelled.flush()
            cancelled.wait_for(1, PATIENCE_S)
            assert cancelled.labels["cancelled.png"].error is FailureCode.CANCELLED
            until(lambda: _end(scene.kafka, topology.dead_letters) == len(BAD), PATIENCE_S, "dead letters")
            until(lambda: _end(scene.kafka, topology.control) > 1, PATIENCE_S, "the model is told")
            for lane in Lane:
                until(
                    lambda lane=lane: _committed(scene.kafka, topology, lane) == _end(scene.kafka, topology.images(lane)),
                    PATIENCE_S,
                    f"commits of {lane.value}",
                )
            assert "topic differs" not in running.log.read_text(), "the settings of the topics cannot be compared"
            assert "uthorization failed" not in running.log.read_text(), running.log.read_text()[-1000:]


def tools_work(scene: Scene, user: str, prefix: str) -> None:
    """The commands that an operator uses: `topics check`, and all of `dlq`. The bad pictures must be dead letters."""

    def run(*arguments: str) -> str:
        environment = {**os.environ, "KAFKA_TOPIC_PREFIX": prefix, **_PARTITIONS, **scene.kafka.environment(user)}
        command = [sys.executable, "-m", "convnet_kafka", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout[-500:]}{done.stderr[-500:]}"
        return done.stdout

    checked = run("topics", "check")
    assert "all 5 topics are as they must be" in checked
    assert "group.consumer.session.timeout.ms=20000" in checked, "the brokers' settings are not seen"
    assert f"{len(BAD)} undecodable" in run("dlq", "list")
    for lane in Lane:
        assert f"{len(BAD)} images are sent again" in run("dlq", "replay", "--all", "--lane", lane.value)
    assert "dead letters are removed; 1 that lay between them were moved" in run("dlq", "purge", "--name", "goes-*", "--yes")


def keda_works(scene: Scene, user: str, prefix: str) -> None:
    """What KEDA asks of Kafka: the topics' partitions and ends, and the groups' positions."""
    topology = Topology(prefix)
    client = AdminClient(scene.kafka.options(user))
    for lane in Lane:
        topic = topology.images(lane)
        partitions = client.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
        assert len(partitions) == TOPICS.images_partitions, f"partitions of {topic} are not seen"
        where = [TopicPartition(topic, number) for number in partitions]
        for future in client.list_offsets(dict.fromkeys(where, OffsetSpec.latest())).values():
            future.result(PATIENCE_S)
        for future in client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(topology.group(lane), where)]).values():
            errors = [position.error for position in future.result(PATIENCE_S).topic_partitions if position.error is not None]
            assert errors == [], f"positions in {topic} are not seen"


WORKS = {"server": server_works, "classifier": classifier_works, "tools": tools_work, "keda": keda_works}


@contextmanager
def _quoting(log: Path) -> Iterator[None]:
    """Adds the end of a log to what failed."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{error}: {log.read_text()[-500:]}") from error


def _opened(url: str) -> str:
    return f"{url}{requests.post(f'{url}/v1/jobs', timeout=PATIENCE_S).headers['Location']}"


def _status(url: str) -> int:
    try:
        return requests.get(url, timeout=5).status_code
    except requests.RequestException:
        return 0


def _backlog_silent_s(url: str, lane: Lane) -> float:
    series = f'convnet_server_backlog_silent_seconds{{lane="{lane.value}"}}'
    lines = requests.get(f"{url}/metrics", timeout=5).text.splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))


def _cancel(kafka: GuardedBroker, topology: Topology, job: str) -> None:
    record = CancelledJob(job, now_ms() + _HOUR_MS)
    producer = Producer({"bootstrap.servers": kafka.inner})
    producer.produce(topology.control, record.to_json(), record.key, 0, headers=control_headers(record.kind))  # type: ignore[arg-type]
    assert producer.flush(20) == 0


def _end(kafka: GuardedBroker, topic: str) -> int:
    """Records that were ever written to a topic."""
    consumer = Consumer({"bootstrap.servers": kafka.inner, "group.id": "plain"})
    try:
        partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
        return sum(consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=20)[1] for number in partitions)
    finally:
        consumer.close()


def _has_leaders(kafka: GuardedBroker, topic: str) -> bool:
    try:
        _end(kafka, topic)
    except KafkaException:
        return False
    return True


def _committed(kafka: GuardedBroker, topology: Topology, lane: Lane) -> int:
    """How many records of a lane are done."""
    consumer = Consumer({"bootstrap.servers": kafka.inner, "group.id": topology.group(lane)})
    try:
        where = [TopicPartition(topology.images(lane), number) for number in range(TOPICS.images_partitions)]
        return sum(max(position.offset, 0) for position in consumer.committed(where, timeout=20))
    finally:
        consumer.close()
