"""Classifier processes on a real Kafka with a real model: one result for every image, through ends, kills and absences."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from convnet.digits import DigitsFolders
from convnet_kafka.kafka.topics import create_missing
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.local.process import free_ports
from convnet_kafka.messages import FailureCode, Lane
from convnet_kafka.settings import TopicSettings
from convnet_kafka.topology import Topology
from support.running_classifier import PlainClient, RunningClassifier
from support.topics import admin, kafka_settings
from support.waiting import until


@pytest.fixture(scope="session")
def pictures(digits: DigitsFolders) -> list[bytes]:
    return [path.read_bytes() for path in sorted(digits.test.rglob("*.png"))]


@pytest.fixture
def prefix(broker: LocalBroker) -> str:
    """A release whose topics are there."""
    settings = kafka_settings(broker.bootstrap_servers)
    specs = Topology(settings.topic_prefix).specs(settings, TopicSettings(images_partitions=4, labels_partitions=2))
    create_missing(admin(broker.bootstrap_servers), specs)
    return settings.topic_prefix


@pytest.fixture
def client(broker: LocalBroker, prefix: str) -> Iterator[PlainClient]:
    made = PlainClient(broker.bootstrap_servers, prefix)
    yield made
    made.close()


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_every_image_gets_one_result_and_a_broken_one_its_error_and_dead_letter(
    broker: LocalBroker, prefix: str, client: PlainClient, digits: DigitsFolders, digits_models: Path, tmp_path: Path, protocol: str
) -> None:
    paths = sorted(digits.test.rglob("*.png"))
    for number, path in enumerate(paths):
        client.submit(f"{path.parent.name}/{path.name}", path.read_bytes(), "images.fast" if number % 10 == 0 else "images")
    broken = client.submit("broken.png", paths[0].read_bytes()[:60])
    client.flush()
    with RunningClassifier(broker.bootstrap_servers, prefix, digits_models, tmp_path / "log", KAFKA_GROUP_PROTOCOL=protocol) as running:
        running.wait_ready()
        client.wait_for(len(paths) + 1)
        assert "tensorflow" not in Path(f"/proc/{running.process.pid}/maps").read_text()
        assert running.terminate() == 0
    client.read()
    assert set(client.records.values()) == {1}
    right = [label for name, label in client.labels.items() if label.label == name.split("/")[0]]
    assert len(right) > 0.8 * len(paths)
    assert {label.lane for label in right} == set(Lane)
    assert client.labels["broken.png"].error is FailureCode.UNDECODABLE
    (letter,) = client.dead_letters(1)
    assert letter.key() == broken.encode()
    assert dict(letter.headers() or [])["reason"] == b"undecodable"


def test_sigterm_amid_work_repeats_and_loses_nothing(
    broker: LocalBroker, prefix: str, client: PlainClient, pictures: list[bytes], digits_models: Path, tmp_path: Path
) -> None:
    count = 6000
    for number in range(count):
        client.submit(f"{number}.png", pictures[number % len(pictures)])
    client.flush()
    with RunningClassifier(broker.bootstrap_servers, prefix, digits_models, tmp_path / "first") as first:
        client.wait_for(500)
        assert first.terminate() == 0
    # One on the way out cannot be seen, and others would wait for its time-out.
    assert "commit will be tried again" not in {event["event"] for event in first.events()}
    with RunningClassifier(broker.bootstrap_servers, prefix, digits_models, tmp_path / "second"):
        client.wait_for(count)
    assert set(client.records.values()) == {1}


def test_kill_of_one_of_two_classifiers_loses_nothing(
    broker: LocalBroker, prefix: str, client: PlainClient, pictures: list[bytes], digits_models: Path, tmp_path: Path
) -> None:
    with (
        RunningClassifier(broker.bootstrap_servers, prefix, digits_models, tmp_path / "first") as first,
        RunningClassifier(broker.bootstrap_servers, prefix, digits_models, tmp_path / "second") as second,
    ):
        first.wait_ready()
        second.wait_ready()
        half, count = 10_000, 20_000
        for number in range(half):
            client.submit(f"{number}.png", pictures[number % len(pictures)])
        client.wait_for(500)
        first.process.kill()
        # However quick the two were, these lie in the dead one's partitions too until the other has them.
        for number in range(half, count):
            client.submit(f"{number}.png", pictures[number % len(pictures)])
        client.flush()
        client.wait_for(count)
        assert second.terminate() == 0
    assert set(client.records) == set(client.names)


def test_a_newer_wire_version_stops_it_unready_and_is_left_where_it_lies(
    broker: LocalBroker, prefix: str, client: PlainClient, pictures: list[bytes], digits_models: Path, tmp_path: Path
) -> None:
    with RunningClassifier(broker.bootstrap_servers, prefix, digits_models, tmp_path / "log") as running:
        running.wait_ready()
        client.submit("before.png", pictures[0])
        client.flush()
        client.wait_for(1)
        client.submit("newer.png", pictures[1], wire=b"2")
        client.flush()
        running.wait_unready("wire version 2")
        assert running.terminate() == 0
    client.read()
    assert list(client.labels) == ["before.png"]


def test_it_waits_for_a_model_and_logs_more_when_told_so(
    broker: LocalBroker, prefix: str, client: PlainClient, pictures: list[bytes], digits_models: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    with RunningClassifier(broker.bootstrap_servers, prefix, models, tmp_path / "log") as running:
        running.wait_unready("no stable model")
        running.process.send_signal(signal.SIGUSR1)
        until(lambda: "log level changed" in running.log.read_text(), what="it logs everything")
        shutil.copytree(digits_models, tmp_path / "aside")
        (tmp_path / "aside").rename(models)
        running.wait_ready()
        client.submit("a.png", pictures[0])
        client.flush()
        client.wait_for(1)
        assert running.terminate() == 0
        (batch,) = [event for event in running.events() if event["event"] == "batch classified"]
    assert (batch["level"], batch["images"], batch["jobs"], batch["lane"]) == ("debug", 1, [client.job], "bulk")
    assert batch["decode_ms"] > 0


def test_kafka_may_come_late_go_and_come_back(
    make_broker: Callable[..., LocalBroker], pictures: list[bytes], digits_models: Path, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    late = make_broker(port=port)
    with RunningClassifier(f"127.0.0.1:{port}", "late", digits_models, tmp_path / "log", CONVNET_TOPICS_CREATE="true") as running:
        running.wait_unready("has not answered yet")
        late.start()
        running.wait_ready()
        client = PlainClient(late.bootstrap_servers, "late")
        client.submit("before.png", pictures[0])
        client.flush()
        client.wait_for(1)
        late.kill()
        late.start()
        client.submit("after.png", pictures[1])
        client.flush()
        client.wait_for(2)
        assert running.get("/healthz")[0] == 200
        late.kill()
        assert running.terminate() == 0
        client.close()
