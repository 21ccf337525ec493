"""Topics on a real Kafka: made once whoever asks, compared in sentences, known by their UUID; and the command that does it."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from convnet_kafka.errors import KafkaUnavailable, TopicMismatch
from convnet_kafka.kafka.topics import TopicSpec, create_missing, differences, grow, missing, slow_groups, topic_id
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.local.process import free_ports
from convnet_kafka.settings import KafkaSettings, TopicSettings
from convnet_kafka.topology import Topology
from support.topics import admin, kafka_settings
from support.waiting import until


def specs_of(settings: KafkaSettings) -> list[TopicSpec]:
    return Topology(settings.topic_prefix).specs(settings, TopicSettings(images_partitions=2, labels_partitions=2))


def test_topics_are_made_once_by_whoever_asks_first(broker: LocalBroker) -> None:
    specs = specs_of(kafka_settings(broker.bootstrap_servers))
    clients = [admin(broker.bootstrap_servers) for _ in range(4)]
    assert len(missing(clients[0], specs)) == 5
    with ThreadPoolExecutor(4) as threads:
        created = list(threads.map(lambda client: create_missing(client, specs), clients))
    assert sorted(name for names in created for name in names) == sorted(spec.name for spec in specs)
    assert create_missing(clients[0], specs) == []
    assert missing(clients[0], specs) == []
    assert differences(clients[0], specs) == []


def test_every_difference_is_a_sentence(broker: LocalBroker) -> None:
    settings = kafka_settings(broker.bootstrap_servers)
    specs = specs_of(settings)
    client = admin(broker.bootstrap_servers)
    images, _, labels, *_ = specs
    create_missing(client, [replace(images, partitions=1), replace(labels, config={**labels.config, "retention.ms": "1000"})])
    found = differences(client, specs)
    assert f"topic {images.name} has 1 partitions, 2 are set" in found
    assert f"topic {labels.name} has retention.ms=1000, must be {labels.config['retention.ms']}" in found
    assert f"topic {settings.topic_prefix}.control does not exist: create it with 1 partitions" in found
    assert len(found) == 5


def test_more_copies_than_brokers_is_said(broker: LocalBroker) -> None:
    spec = TopicSpec(f"{kafka_settings(broker.bootstrap_servers).topic_prefix}.x", 1, 3, {})
    with pytest.raises(TopicMismatch, match="refused to create"):
        create_missing(admin(broker.bootstrap_servers), [spec])


def test_a_topic_that_is_made_anew_has_another_id(broker: LocalBroker) -> None:
    name = f"{kafka_settings(broker.bootstrap_servers).topic_prefix}.x"
    spec = TopicSpec(name, 1, 1, {})
    client = admin(broker.bootstrap_servers)
    with pytest.raises(TopicMismatch, match="does not exist"):
        topic_id(client, name)
    create_missing(client, [spec])
    first = topic_id(client, name)
    assert len(first) == 16
    assert topic_id(client, name) == first
    client.delete_topics([name])[name].result(20)
    until(lambda: missing(client, [spec]))
    create_missing(client, [spec])
    assert topic_id(client, name) != first


def test_kafka_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convnet_kafka.kafka.topics.ADMIN_TIMEOUT_S", 0.5)
    with pytest.raises(KafkaUnavailable, match="KAFKA_BOOTSTRAP_SERVERS"):
        missing(admin(f"127.0.0.1:{free_ports(1)[0]}"), [])


def run(broker: LocalBroker, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "convnet_kafka", "topics", *arguments, "--bootstrap-servers", broker.bootstrap_servers]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_lists_differences_creates_and_is_content(broker: LocalBroker) -> None:
    prefix = kafka_settings(broker.bootstrap_servers).topic_prefix
    checked = run(broker, "check", "--topic-prefix", prefix)
    assert checked.returncode == 1
    assert f"topic {prefix}.images does not exist" in checked.stdout
    created = run(broker, "create", "--topic-prefix", prefix)
    assert created.returncode == 0, created.stderr
    assert f"created {prefix}.labels" in created.stdout
    assert run(broker, "check", "--topic-prefix", prefix).returncode == 0


def test_topics_grow_and_are_never_made_smaller(broker: LocalBroker) -> None:
    settings = kafka_settings(broker.bootstrap_servers)
    client = admin(broker.bootstrap_servers)
    create_missing(client, specs_of(settings))
    prefix = settings.topic_prefix
    names = (f"{prefix}.images", f"{prefix}.images.fast", f"{prefix}.labels", f"{prefix}.images.dlq")
    refused = run(broker, "grow", "--topic-prefix", prefix)
    assert (refused.returncode, "--images-partitions" in refused.stderr) == (2, True)
    grown = run(broker, "grow", "--images-partitions", "5", "--labels-partitions", "2", "--topic-prefix", prefix)
    assert grown.returncode == 0, grown.stderr
    assert grown.stdout.splitlines() == [
        f"{names[0]}: 2 -> 5 partitions",
        f"{names[1]}: 2 -> 5 partitions",
        f"{names[2]}: has 2 partitions or more already",
        f"{names[3]}: has 2 partitions or more already",
        "servers and classifiers notice within 30 s",
    ]
    assert grow(client, {names[0]: 3, names[2]: 4}) == {names[2]: (2, 4)}
    with pytest.raises(TopicMismatch, match="nowhere"):
        grow(client, {"nowhere": 3})


def test_brokers_that_keep_a_dead_members_partitions_for_long_are_told(broker: LocalBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    client = admin(broker.bootstrap_servers)
    assert slow_groups(client) is None
    monkeypatch.setattr("convnet_kafka.kafka.topics.WANTED_SESSION_MS", 6000)
    assert "group.consumer.session.timeout.ms=10000" in str(slow_groups(client))
