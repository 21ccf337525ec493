"""PartitionReader on a real Kafka: where it starts, and that it comes to read although Kafka was away, slow, or has deleted records."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.kafka.connection import reader_options
from convnet_kafka.kafka.reader import PartitionReader
from convnet_kafka.local.broker import LocalBroker
from support.topics import delete_before, kafka_settings, make_topic, put
from support.waiting import until

MIB = 1024 * 1024


def reader(broker: LocalBroker, topic: str) -> PartitionReader:
    return PartitionReader(reader_options(kafka_settings(broker.bootstrap_servers), "test", share=0.5, max_record_bytes=MIB), topic, 0)


def test_a_reader_reads_from_the_told_offset(broker: LocalBroker) -> None:
    topic = make_topic(broker.bootstrap_servers)
    put(broker.bootstrap_servers, topic, [b"0", b"1", b"2", b"3"])
    partition = reader(broker, topic)
    partition.start(2)
    found: list[bytes | None] = []
    until(lambda: found.extend(message.value() for message in partition.read(100, 0.1)) or len(found) >= 2)
    assert found == [b"2", b"3"]
    partition.close()


class MadeInAnOutage(Consumer):
    """What librdkafka may do where Kafka was away when it was made: it does not know the partition, long after Kafka is back."""

    made = 0

    def __init__(self, options: dict[str, object]) -> None:
        super().__init__(options)
        MadeInAnOutage.made += 1
        self._unknowing = MadeInAnOutage.made == 1

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float = -1) -> tuple[int, int]:
        if self._unknowing:
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION))
        low, high = super().get_watermark_offsets(partition, timeout=timeout)
        return int(low), int(high)


def test_a_reader_that_was_made_in_an_outage_reads_once_it_is_over(broker: LocalBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = make_topic(broker.bootstrap_servers)
    put(broker.bootstrap_servers, topic, [b"0", b"1"])
    MadeInAnOutage.made = 0
    monkeypatch.setattr("convnet_kafka.kafka.reader.Consumer", MadeInAnOutage)
    partition = reader(broker, topic)
    with pytest.raises(KafkaUnavailable, match="Unknown partition"):
        partition.start_at_end()
    assert partition.start_at_end() == 2
    put(broker.bootstrap_servers, topic, [b"2"])
    found: list[bytes | None] = []
    until(lambda: found.extend(message.value() for message in partition.read(100, 0.1)) or found)
    assert found == [b"2"]
    partition.close()


class SlowAtFirst(Consumer):
    """Connecting takes longer than one question may."""

    made = 0

    def __init__(self, options: dict[str, object]) -> None:
        super().__init__(options)
        SlowAtFirst.made += 1
        self._connected = False

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float = -1) -> tuple[int, int]:
        connected, self._connected = self._connected, True
        if not connected:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        low, high = super().get_watermark_offsets(partition, timeout=timeout)
        return int(low), int(high)


def test_a_reader_that_is_slow_to_connect_asks_again_on_the_connections_that_it_has(
    broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = make_topic(broker.bootstrap_servers)
    put(broker.bootstrap_servers, topic, [b"0"])
    SlowAtFirst.made = 0
    monkeypatch.setattr("convnet_kafka.kafka.reader.Consumer", SlowAtFirst)
    partition = reader(broker, topic)
    with pytest.raises(KafkaUnavailable, match="Timed out"):
        partition.start_at_end()
    assert partition.start_at_end() == 1
    assert SlowAtFirst.made == 1
    partition.close()


def test_a_reader_whose_offset_is_gone_reads_from_what_is_left(broker: LocalBroker) -> None:
    topic = make_topic(broker.bootstrap_servers)
    put(broker.bootstrap_servers, topic, [b"0", b"1", b"2", b"3"])
    delete_before(broker.bootstrap_servers, topic, 3)
    partition = reader(broker, topic)
    partition.start(1)
    found: list[bytes | None] = []
    until(lambda: found.extend(message.value() for message in partition.read(100, 0.1)) or found)
    assert found == [b"3"]
    partition.close()
