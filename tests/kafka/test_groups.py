"""Classifier processes as members of their groups: expelled and back, slow and not expelled, with partitions that come at run time."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from convnet.digits import DigitsFolders
from convnet_kafka.kafka.topics import create_missing
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.messages import Lane
from convnet_kafka.settings import TopicSettings
from convnet_kafka.topology import Topology
from support import deadly_backend
from support.running_classifier import PlainClient, RunningClassifier
from support.topics import admin, committed, kafka_settings
from support.waiting import until

PROTOCOLS = pytest.mark.parametrize("protocol", ["consumer", "classic"])
BACKEND = {
    "CONVNET_CLASSIFIER_BACKEND": "support.deadly_backend:load",
    "PYTHONPATH": str(Path(deadly_backend.__file__).parents[1]),
}


@pytest.fixture(scope="module")
def pictures(digits: DigitsFolders) -> list[bytes]:
    return [path.read_bytes() for path in sorted(digits.test.rglob("*.png"))]


def release(bootstrap_servers: str, partitions: int = 2) -> str:
    settings = kafka_settings(bootstrap_servers)
    specs = Topology(settings.topic_prefix).specs(settings, TopicSettings(images_partitions=partitions, labels_partitions=2))
    create_missing(admin(bootstrap_servers), specs)
    return settings.topic_prefix


@pytest.fixture
def client() -> Iterator[Callable[[str, str], PlainClient]]:
    made: list[PlainClient] = []

    def make(bootstrap_servers: str, prefix: str) -> PlainClient:
        made.append(PlainClient(bootstrap_servers, prefix))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_partitions_that_are_added_at_run_time_are_read_from_their_beginning(
    broker: LocalBroker, client: Callable[[str, str], PlainClient], pictures: list[bytes], digits_models: Path, tmp_path: Path
) -> None:
    prefix = release(broker.bootstrap_servers, 1)
    sender = client(broker.bootstrap_servers, prefix)
    often = {"KAFKA_CLIENT_OPTIONS": '{"topic.metadata.refresh.interval.ms": 1000}', "CONVNET_TOPICS_IMAGES_PARTITIONS": "1"}
    with RunningClassifier(broker.bootstrap_servers, prefix, digits_models, tmp_path / "log", **often) as running:
        running.wait_ready()
        sender.submit("before.png", pictures[0])
        sender.flush()
        sender.wait_for(1)
        command = [sys.executable, "-m", "convnet_kafka", "topics", "grow", "--images-partitions", "3", "--topic-prefix", prefix]
        grown = subprocess.run(
            [*command, "--bootstrap-servers", broker.bootstrap_servers], capture_output=True, text=True, timeout=60, check=True
        )
        assert grown.stdout.splitlines()[:2] == [f"{prefix}.images: 1 -> 3 partitions", f"{prefix}.images.fast: 1 -> 3 partitions"]
        # Before the classifier can know of the new partitions: what is there when it comes must not be passed over.
        later = client(broker.bootstrap_servers, prefix)  # the first one does not know of them either
        for number in range(30):
            later.submit(f"{number}.png", pictures[number], partition=1 + number % 2)
        later.flush()
        later.wait_for(30)
        assert running.terminate() == 0
    assert set(later.records.values()) == {1}
    group = Topology(prefix).group(Lane.BULK)
    assert [committed(broker.bootstrap_servers, group, f"{prefix}.images", partition) for partition in (1, 2)] == [15, 15]


@pytest.mark.long
@pytest.mark.timeout(600)
@PROTOCOLS
def test_a_replica_that_is_stopped_past_its_session_drops_its_work_and_rejoins(
    broker: LocalBroker,
    client: Callable[[str, str], PlainClient],
    pictures: list[bytes],
    digits_models: Path,
    tmp_path: Path,
    protocol: str,
) -> None:
    prefix = release(broker.bootstrap_servers, 2)
    sender = client(broker.bootstrap_servers, prefix)
    one = {"KAFKA_GROUP_PROTOCOL": protocol}
    slow = {**one, **BACKEND, "SLOW_BATCH_S": "0.05"}
    count = 4000
    with (
        RunningClassifier(broker.bootstrap_servers, prefix, digits_models, tmp_path / "stopped", **slow) as stopped,
        RunningClassifier(broker.bootstrap_servers, prefix, digits_models, tmp_path / "other", **one) as other,
    ):
        stopped.wait_ready()
        other.wait_ready()
        for number in range(count):
            sender.submit(f"{number}.png", pictures[number % len(pictures)])
        sender.flush()
        sender.wait_for(200)
        stopped.process.send_signal(signal.SIGSTOP)
        # Everything is labelled while it sleeps: its partition has gone to the other one.
        sender.wait_for(count, 120)
        stopped.process.send_signal(signal.SIGCONT)
        until(lambda: any(event["event"].startswith("partitions lost") for event in stopped.events()), 60, "its loss")
        assert other.terminate() == 0
        for number in range(100):
            sender.submit(f"late-{number}.png", pictures[number])
        sender.flush()
        sender.wait_for(count + 100, 60)
        stopped.wait_ready()
        assert stopped.get("/healthz")[0] == 200
        assert stopped.terminate() == 0
    assert set(sender.records) == set(sender.names)
    errors = {label.name for label in sender.labels.values() if label.error is not None}
    assert errors == set()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_slow_model_with_a_full_queue_never_trips_max_poll_interval(
    broker: LocalBroker,
    client: Callable[[str, str], PlainClient],
    pictures: list[bytes],
    digits_models: Path,
    tmp_path: Path,
) -> None:
    """Each batch takes longer than a member may be away, and both lanes want the loop. (In a KIP-848 group: test_consumer.py.)"""
    prefix = release(broker.bootstrap_servers, 2)
    sender = client(broker.bootstrap_servers, prefix)
    environment = {
        **BACKEND,
        "KAFKA_GROUP_PROTOCOL": "classic",
        "SLOW_BATCH_S": "7",
        # No less than a session, and no broker of ours allows a shorter one.
        "KAFKA_CLIENT_OPTIONS": '{"max.poll.interval.ms": 6000, "session.timeout.ms": 6000}',
    }
    count = 9
    with RunningClassifier(broker.bootstrap_servers, prefix, digits_models, tmp_path / "log", **environment) as running:
        running.wait_ready()
        for number in range(count):
            sender.submit(f"{number}.png", pictures[number])
            sender.submit(f"fast-{number}.png", pictures[number], "images.fast")
        sender.flush()
        sender.wait_for(2 * count, 300)
        assert running.terminate() == 0
        log = running.log.read_text()
    assert "partitions lost" not in log
    assert "maximum poll interval" not in log
    assert set(sender.records.values()) == {1}


@pytest.mark.long
@pytest.mark.timeout(600)
@PROTOCOLS
def test_the_coordinators_restart_is_survived_in_the_midst_of_work(
    make_broker: Callable[..., LocalBroker],
    client: Callable[[str, str], PlainClient],
    pictures: list[bytes],
    digits_models: Path,
    tmp_path: Path,
    protocol: str,
) -> None:
    broker = make_broker()
    broker.start()
    prefix = release(broker.bootstrap_servers, 4)
    sender = client(broker.bootstrap_servers, prefix)
    one = {"KAFKA_GROUP_PROTOCOL": protocol}
    count = 6000
    pause = threading.Event()
    with (
        RunningClassifier(broker.bootstrap_servers, prefix, digits_models, tmp_path / "first", **one) as first,
        RunningClassifier(broker.bootstrap_servers, prefix, digits_models, tmp_path / "second", **one) as second,
    ):
        first.wait_ready()
        second.wait_ready()
        for part in range(3):
            for number in range(part * count // 3, (part + 1) * count // 3):
                sender.submit(f"{number}.png", pictures[number % len(pictures)])
            pause.wait(0.2)
            broker.kill()
            broker.start()
        sender.flush()
        sender.wait_for(count, 200)
        assert (first.process.poll(), second.process.poll()) == (None, None)
        assert (first.terminate(), second.terminate()) == (0, 0)
    assert set(sender.records) == set(sender.names)
    assert [label.name for label in sender.labels.values() if label.error is not None] == []
