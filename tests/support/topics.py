"""Topics of one test on the shared broker, and plain records in them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from convnet_kafka.settings import KafkaSettings


def kafka_settings(bootstrap_servers: str, prefix: str | None = None, **other: object) -> KafkaSettings:
    """Settings with a prefix of the test's own."""
    return KafkaSettings(bootstrap_servers=bootstrap_servers, topic_prefix=prefix or f"test-{uuid.uuid4().hex[:8]}", **other)  # type: ignore[arg-type]


def admin(bootstrap_servers: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap_servers})


def make_topic(bootstrap_servers: str, partitions: int = 1, name: str | None = None, **config: str) -> str:
    """Create a topic and return its name."""
    topic = name or f"test-{uuid.uuid4().hex[:8]}"
    settings = {key.replace("_", "."): value for key, value in config.items()}
    client = admin(bootstrap_servers)  # held: a client that is collected fails what it was asked
    client.create_topics([NewTopic(topic, partitions, 1, config=settings)])[topic].result(20)
    return topic


def put(bootstrap_servers: str, topic: str, values: Iterable[bytes], partition: int = 0) -> None:
    """Produce plain records and wait until Kafka has them."""
    producer = Producer({"bootstrap.servers": bootstrap_servers, "linger.ms": 1})
    for value in values:
        producer.produce(topic, value, partition=partition)
    assert producer.flush(20) == 0


def delete_before(bootstrap_servers: str, topic: str, offset: int, partition: int = 0) -> None:
    """Remove the records before an offset, as retention does."""
    where = TopicPartition(topic, partition, offset)
    client = admin(bootstrap_servers)
    for future in client.delete_records([where]).values():
        future.result(20)


def committed(bootstrap_servers: str, group: str, topic: str, partition: int = 0) -> int:
    """The group's committed offset, negative when there is none."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": group})
    try:
        return consumer.committed([TopicPartition(topic, partition)], timeout=20)[0].offset
    finally:
        consumer.close()
