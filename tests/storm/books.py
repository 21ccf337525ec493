"""The books: what the client was told, what Kafka holds, and what the HTTP API shows, read independently and compared image by image."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from storm.stream import POISON_PREFIX, Told

# A scan at a time: the server may be busy with another one.
TRIES = 60
UNDECODABLE, QUARANTINED = "undecodable", "quarantined"


@dataclass
class Balance:
    """What the comparison found; all lists are to be empty.

    Attributes:
        accepted: images that the client was told to be accepted.
        labelled: of these, with a label.
        failed: of these, with a failure.
        redelivered: results in Kafka beyond the first of their image, which no reader shows.
        missing: images without a result, in Kafka or over HTTP.
        conflicting: images whose result is not the same for the client, over HTTP, and as the first in Kafka.
        unconfirmed: results of images that the client was never told about.
        duplicates: images that a reader was shown twice.
        innocents: images that failed although they are sound.
        survivors: poison that has another result than `quarantined`.
    """

    accepted: int = 0
    labelled: int = 0
    failed: int = 0
    redelivered: int = 0
    missing: list[str] = field(default_factory=list)
    conflicting: list[str] = field(default_factory=list)
    unconfirmed: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    innocents: list[str] = field(default_factory=list)
    survivors: list[str] = field(default_factory=list)

    @property
    def even(self) -> bool:
        """True when nothing is missing, conflicting, unconfirmed or double, and every poison was set aside."""
        return not (self.missing or self.conflicting or self.unconfirmed or self.duplicates or self.survivors)


def balance(server_url: str, bootstrap_servers: str, topic: str, jobs: Sequence[Told]) -> Balance:
    """Compare."""
    found = Balance()
    in_kafka, repeats = first_records(bootstrap_servers, topic)
    found.redelivered = repeats
    for told in jobs:
        accepted = told.accepted
        found.accepted += len(accepted)
        found.missing += [f"{told.job[:12]}: {name}: the client was told nothing" for name in told.files - told.outcomes.keys()]
        found.duplicates += [f"{told.job[:12]}: {name}: told twice" for name in told.repeated]
        by_http, twice = over_http(server_url, told.job)
        found.duplicates += [f"{told.job[:12]}: {image}: shown twice" for image in twice]
        for image, label in accepted.items():
            what = (label.label, label.error)
            found.labelled += label.error is None
            found.failed += label.error is not None
            if POISON_PREFIX in label.name:
                if label.error != QUARANTINED:
                    found.survivors.append(f"{label.name}: {what}")
            elif label.error not in {None, UNDECODABLE}:
                found.innocents.append(f"{label.name}: {label.error}: {label.detail}")
            if image not in in_kafka or image not in by_http:
                found.missing.append(f"{label.name}: Kafka {in_kafka.get(image)}, HTTP {by_http.get(image)}")
            elif not (in_kafka[image] == by_http[image] == what):
                found.conflicting.append(f"{label.name}: Kafka {in_kafka[image]}, HTTP {by_http[image]}, client {what}")
        found.unconfirmed += [f"{told.job[:12]}: {image}" for image in by_http.keys() - accepted.keys()]
    known = {image for told in jobs for image in told.accepted}
    found.unconfirmed += sorted(in_kafka.keys() - known)
    return found


Result = tuple[str | None, str | None]


def first_records(bootstrap_servers: str, topic: str) -> tuple[dict[str, Result], int]:
    """Of every image the first result in the labels topic, with a plain consumer; and how many more there are."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "books", "enable.partition.eof": True})
    first: dict[str, Result] = {}
    repeats = 0
    try:
        partitions = consumer.list_topics(topic, timeout=60).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        ended: set[int | None] = set()
        while len(ended) < len(partitions):
            for message in consumer.consume(5000, 1.0):
                if message.error() is not None:
                    ended.add(message.partition())
                    continue
                headers: dict[str, Any] = dict(message.headers() or [])
                if "image" not in headers:
                    continue  # the close of a job
                for line in (message.value() or b"{}").splitlines():
                    value = json.loads(line)
                    repeats += value["image"] in first
                    first.setdefault(value["image"], (value.get("label"), value.get("error")))
    finally:
        consumer.close()
    return first, repeats


def over_http(server_url: str, job: str) -> tuple[dict[str, Result], list[str]]:
    """Of every image of a job what the API shows, page by page; and the images that it shows twice."""
    shown: Counter[str] = Counter()
    results: dict[str, Result] = {}
    cursor = ""
    while True:
        page = _page(f"{server_url}/v1/jobs/{job}/labels?limit=5000{cursor}")
        for label in page["labels"]:
            shown[label["image"]] += 1
            results[label["image"]] = (label.get("label"), label.get("error"))
        if not page["labels"] and page["complete"]:
            return results, [image for image, times in shown.items() if times > 1]
        if not page["labels"]:
            return results, []
        cursor = f"&cursor={page['cursor']}"


def _page(url: str) -> dict[str, Any]:
    for left in reversed(range(TRIES)):
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                page: dict[str, Any] = json.load(answer)
                return page
        except (urllib.error.URLError, OSError) as error:
            if not left:
                raise
            time.sleep(1.0 if not isinstance(error, urllib.error.HTTPError) else float(error.headers.get("Retry-After") or 1))
    raise AssertionError("unreachable")
