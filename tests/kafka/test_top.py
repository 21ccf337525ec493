"""`top` on a real Kafka: what waits and who holds it, replicas by HTTP, and a broker that goes away and comes back."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer

from convnet_kafka.cli.top import command
from convnet_kafka.diagnosis.endpoints import Addresses, Endpoint
from convnet_kafka.diagnosis.top.collect import Collector
from convnet_kafka.diagnosis.top.figures import figures
from convnet_kafka.kafka.topics import create_missing
from convnet_kafka.local import stackfile
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.local.stackfile import StackNote
from convnet_kafka.messages import Lane
from convnet_kafka.settings import KafkaSettings, TopicSettings
from convnet_kafka.topology import Topology
from support.metrics_page import MetricsPage
from support.topics import admin, kafka_settings, put
from support.waiting import until


@pytest.fixture
def release(broker: LocalBroker) -> KafkaSettings:
    """The settings of a release whose topics are there."""
    settings = kafka_settings(broker.bootstrap_servers)
    specs = Topology(settings.topic_prefix).specs(settings, TopicSettings(images_partitions=4, labels_partitions=1))
    create_missing(admin(broker.bootstrap_servers), specs)
    return settings


def member(settings: KafkaSettings, process: str) -> Consumer:
    """A member of the bulk group, named as our classifiers name theirs."""
    consumer = Consumer(
        {
            "bootstrap.servers": settings.bootstrap_servers,
            "group.id": Topology(settings.topic_prefix).group(Lane.BULK),
            "group.protocol": "consumer",
            "client.id": f"{settings.topic_prefix}-classifier-bulk-{process}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([f"{settings.topic_prefix}.images"])
    return consumer


def test_what_waits_and_who_holds_it_is_read_from_kafka_and_the_replicas(release: KafkaSettings) -> None:
    page = 'convnet_classifier_images_total{lane="bulk",result="labelled"} 7\nconvnet_classifier_partitions{lane="bulk"} 2\n'
    with (
        MetricsPage(page, replica="host-1") as one,
        Collector(release, Addresses(fixed=[Endpoint(one.url, "classifier-1"), Endpoint("http://127.0.0.1:1", "gone")])) as collector,
        closing(member(release, "host-1")) as first,
        closing(member(release, "host-2")) as second,
    ):
        until(
            lambda: first.poll(0.05) or second.poll(0.05) or (len(first.assignment()) == 2 == len(second.assignment())), 30, "assignments"
        )
        before = collector.look()
        put(release.bootstrap_servers, f"{release.topic_prefix}.images", [b"x"] * 3, partition=2)
        put(release.bootstrap_servers, f"{release.topic_prefix}.images.dlq", [b"x"])
        after = collector.look()
    found = figures(before, after)
    bulk = found.lanes[0]
    assert found.brokers == 1
    assert {each.partition: each.waiting for each in bulk.partitions} == {0: 0, 1: 0, 2: 3, 3: 0}
    assert {each.owner.rpartition("bulk-")[2] for each in bulk.partitions} == {"host-1", "host-2"}
    assert (bulk.members, bulk.idle, bulk.waiting) == (2, 0, 3)
    assert bulk.in_per_s is not None
    assert bulk.in_per_s > 0
    (classifier,) = found.classifiers
    assert classifier.holds[Lane.BULK] == tuple(sorted(each.partition for each in first_partitions(found, "host-1")))
    assert [(each.name, len(each.holds[Lane.BULK])) for each in found.strangers] == [("host-2", 2)]  # type: ignore[arg-type]
    assert found.away == (("gone", "does not answer: Connection refused"),)
    assert found.dead_letters == 1


def first_partitions(found: Any, process: str) -> list[Any]:
    return [each for each in found.lanes[0].partitions if each.owner.endswith(process)]


def test_once_prints_tables_or_json_of_the_stack_that_runs_here(
    release: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    with MetricsPage('convnet_server_images_total{lane="bulk",outcome="accepted"} 7\n') as server:
        import os

        note = StackNote(os.getpid(), release.bootstrap_servers, release.topic_prefix, {"server": server.url}, "models", "key")
        stackfile.write(tmp_path, note)
        text = CliRunner().invoke(command, ["--data", str(tmp_path), "--once"])
        described = CliRunner().invoke(command, ["--data", str(tmp_path), "--once", "--json"])
    assert f"{release.topic_prefix} on {release.bootstrap_servers}, 1 broker" in text.stdout
    assert "\nbulk" in text.stdout
    assert "\nserver" in text.stdout
    assert "\x1b" not in text.stdout
    seen = json.loads(described.stdout)
    assert [server["name"] for server in seen["servers"]] == ["server"]
    assert [lane["lane"] for lane in seen["lanes"]] == ["bulk", "fast"]
    stackfile.take_away(tmp_path)
    assert stackfile.running(tmp_path) is None


@pytest.fixture
def lines() -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    """Runs `top --json` for a Kafka; gives the list that its lines are added to."""
    started: list[subprocess.Popen[str]] = []

    def start(servers: str) -> list[dict[str, Any]]:
        arguments = ["top", "--json", "--every", "0.5", "--bootstrap-servers", servers]
        process = subprocess.Popen([sys.executable, "-m", "convnet_kafka", *arguments], stdout=subprocess.PIPE, text=True)
        started.append(process)
        found: list[dict[str, Any]] = []

        def read() -> None:
            assert process.stdout is not None
            found.extend(json.loads(line) for line in process.stdout)

        threading.Thread(target=read, daemon=True).start()
        return found

    yield start
    for process in started:
        assert process.poll() is None, "top has ended by itself"
        process.terminate()
        process.communicate(timeout=20)


@pytest.mark.long
def test_top_outlives_a_broker_that_goes_and_comes_back(
    make_broker: Callable[..., LocalBroker], lines: Callable[[str], list[dict[str, Any]]]
) -> None:
    broker = make_broker()
    broker.start()
    settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
    create_missing(
        admin(broker.bootstrap_servers), Topology("convnet").specs(settings, TopicSettings(images_partitions=2, labels_partitions=1))
    )
    found = lines(broker.bootstrap_servers)
    until(lambda: found and found[-1]["brokers"] == 1, 60, "the first figures")
    broker.kill()
    until(lambda: found[-1]["brokers"] is None, 60, "Kafka does not answer")
    assert any("Kafka" in hint["what"] for hint in found[-1]["hints"])
    broker.start()
    until(lambda: found[-1]["brokers"] == 1, 60, "Kafka answers again")
