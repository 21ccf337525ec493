"""The topics of one release on a real Kafka, and records in them as our services and others write them."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Self

from confluent_kafka import Consumer, Producer, TopicPartition

from convnet_kafka.deadletters import dead_letter_headers
from convnet_kafka.diagnosis.doctor.installation import Installation
from convnet_kafka.kafka.topics import create_missing
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.messages import FailureCode, LabelRecord, Lane, image_base_headers, image_headers, image_id, now_ms
from convnet_kafka.replies import Results, label_headers
from convnet_kafka.settings import TopicSettings
from support.examining import place
from support.topics import admin, kafka_settings


class KafkaRelease:
    """The topics of one test, and records in them as our services and others write them."""

    def __init__(self, broker: LocalBroker) -> None:
        self.settings = kafka_settings(broker.bootstrap_servers)
        self.servers = broker.bootstrap_servers
        self.topics = TopicSettings(images_partitions=2, labels_partitions=2)
        self.admin = admin(self.servers)
        self._producer = Producer({"bootstrap.servers": self.servers, "linger.ms": 0})
        self.job = secrets.token_hex(16)

    @property
    def place(self) -> Installation:
        kafka = {"topic_prefix": self.settings.topic_prefix}
        return place(self.servers, kafka=kafka, topics=self.topics)

    def create(self, **changed: dict[str, str]) -> Self:
        """Make the topics, with other settings by the end of their names: `images={"retention.ms": "1000"}`."""
        specs = self.place.topology.specs(self.settings, self.topics)
        create_missing(
            self.admin, [replace(spec, config={**spec.config, **changed.get(spec.name.rpartition(".")[2], {})}) for spec in specs]
        )
        return self

    def name(self, ending: str) -> str:
        return f"{self.settings.topic_prefix}.{ending}"

    def put(self, ending: str, value: bytes, headers: list[tuple[str, bytes]], partition: int = 0, key: bytes | None = None) -> None:
        self._producer.produce(self.name(ending), value, key=key, headers=headers, partition=partition)
        assert self._producer.flush(20) == 0

    def image_headers(self, **changed: bytes) -> list[tuple[str, bytes]]:
        base = image_base_headers(job=self.job, reply_partition=0, tenant="default", traceparent=None, submitted_at_ms=now_ms())
        found = image_headers(base, image=secrets.token_hex(16), name="a.png", content_type="image/png")
        return list((dict(found) | changed).items())

    def label(self, submitted_at_ms: int, labelled_at_ms: int) -> None:
        image = secrets.token_hex(16)
        record = LabelRecord(image, "a.png", 0, "cat", 0.9, None, None, 1, Lane.BULK, submitted_at_ms, labelled_at_ms)
        self.put("labels", record.to_json(), label_headers(job=self.job, images=image, revision=0, tenant="default", failed=False))

    def send(self, name: str, ending: str = "images", partition: int = 0, **changed: bytes) -> str:
        """An image that waits; returns its id."""
        identity = image_id(self.job, name, name.encode())
        self.put(ending, name.encode(), self.image_headers(image=identity.encode(), name=name.encode(), **changed), partition)
        return identity

    def answer(self, *names: str, error: FailureCode | None = None, revision: int = 0, by: bytes = b"", model: int = 7) -> None:
        """One record with their results, as a classifier writes it 20 ms after they were accepted."""
        results = Results(self.job, "default", revision, failed=error is not None, by=by)
        at = now_ms()
        for name in names:
            image = image_id(self.job, name, name.encode())
            label, confidence, detail = ("cat", 0.98, None) if error is None else (None, None, "why")
            record = LabelRecord(image, name, revision, label, confidence, error, detail, model, Lane.BULK, at - 20, at)
            results.images.append(image)
            results.values.append(record.to_json())
        for headers, value in results.records():
            self.put("labels", value, headers)

    def dead_letter(self, name: str, reason: FailureCode) -> None:
        image = image_id(self.job, name, name.encode()).encode()
        headers = dead_letter_headers(
            self.image_headers(image=image, name=name.encode()),
            reason=reason, detail="why", attempts=2, topic=self.name("images"), partition=0, offset=0, model=None,
        )  # fmt: skip
        self.put("images.dlq", name.encode(), headers)

    def commit(self, offset: int, partition: int = 0) -> None:
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": self.place.topology.group(Lane.BULK)})
        consumer.commit(offsets=[TopicPartition(self.name("images"), partition, offset)], asynchronous=False)
        consumer.close()
