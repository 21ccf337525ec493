"""A second opinion on a job's results: reads them by HTTP and from Kafka, and compares both with what the client was told."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition


@dataclass(frozen=True)
class Ledger:
    """Results of one job.

    Attributes:
        by_http: name -> how often a reader from the start was shown a result of it.
        answers: name -> the label it was shown.
        records: image id -> how many records of the labels topic hold a result of it, redeliveries included.
        total: images of the job, as its close says.
    """

    by_http: Counter[str]
    answers: dict[str, str | None]
    records: Counter[str]
    total: int | None


def read_ledger(server_url: str, job: str, bootstrap_servers: str, topic: str) -> Ledger:
    """Page through the whole job, and through the whole labels topic."""
    by_http: Counter[str] = Counter()
    answers: dict[str, str | None] = {}
    images: set[str] = set()
    cursor, page = "", {"labels": [None]}
    while page["labels"]:
        with urllib.request.urlopen(f"{server_url}/v1/jobs/{job}/labels?limit=5000&wait=2{cursor}", timeout=60) as answer:
            page = json.load(answer)
        for label in page["labels"]:
            by_http[label["name"]] += 1
            answers[label["name"]] = label.get("label")
            images.add(label["image"])
        cursor = f"&cursor={page['cursor']}"
    return Ledger(by_http, answers, _records(bootstrap_servers, topic, images), page["total"])


def _records(bootstrap_servers: str, topic: str, images: set[str]) -> Counter[str]:
    """Count the records of these images, with a plain consumer."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "ledger", "enable.partition.eof": True})
    try:
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        counted: Counter[str] = Counter()
        ended: set[int] = set()
        while len(ended) < len(partitions):
            for message in consumer.consume(1000, 1.0):
                if message.error() is not None:
                    ended.add(message.partition() or 0)
                    continue
                headers = dict(message.headers() or [])
                together = headers.get("image", b"")
                digits = together.decode() if isinstance(together, bytes) else str(together)
                counted.update(images.intersection(digits[at : at + 32] for at in range(0, len(digits), 32)))
        return counted
    finally:
        consumer.close()
