"""A classifier in a process of its own, and a plain Kafka client that submits images and reads every record of their results."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from convnet_kafka.messages import LabelRecord, image_base_headers, image_headers, image_id, now_ms
from convnet_kafka.replies import ReplyHeaders, labels_in
from support.waiting import until


class RunningClassifier:
    """`convnet-kafka classifier`, as a context manager; killed at the end if it still runs."""

    def __init__(self, bootstrap_servers: str, prefix: str, models: Path, log: Path, **environment: str) -> None:
        self._environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "KAFKA_TOPIC_PREFIX": prefix,
            "CONVNET_CLASSIFIER_MODELS": str(models),
            "CONVNET_CLASSIFIER_PORT": "0",
            "CONVNET_TOPICS_IMAGES_PARTITIONS": "4",
            "CONVNET_TOPICS_LABELS_PARTITIONS": "2",
            **environment,
        }
        self.log = log
        self.process: subprocess.Popen[bytes]
        self._url = ""

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "convnet_kafka", "classifier"], env=self._environment, stderr=log)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None and self.process.poll() is None:
            with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
                lines = [line for line in answer.read().decode().splitlines() if line.startswith("convnet_") and "bucket" not in line]
            print(self.log.read_text()[-3000:], *lines, sep="\n")  # what a failed test is asked about first
        self.process.kill()
        self.process.wait()

    def events(self) -> list[dict[str, Any]]:
        """The log, line by line."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """A probe's answer; status 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    @property
    def url(self) -> str:
        if not self._url:
            until(lambda: self.process.poll() is not None or self._listening(), 30, "the classifier listens")
            self._url = f"http://127.0.0.1:{self._listening()[0]['port']}"
        return self._url

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        until(lambda: self.get("/readyz")[0] == 200, timeout_s, f"ready; log:\n{self.log.read_text()[-2000:]}\n")

    def wait_unready(self, reason: str, timeout_s: float = 60.0) -> None:
        until(lambda: reason in str(self.get("/readyz")[1]), timeout_s, f"unready because of {reason!r}")
        assert self.get("/readyz")[0] == 503
        assert self.get("/healthz")[0] == 200

    def terminate(self, timeout_s: float = 30.0) -> int:
        """As Kubernetes ends it. Returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def _listening(self) -> list[dict[str, Any]]:
        return [event for event in self.events() if event.get("event") == "listening"]


class PlainClient:
    """Submits images of one job and reads what comes back, with confluent-kafka alone."""

    def __init__(self, bootstrap_servers: str, prefix: str) -> None:
        self._servers = bootstrap_servers
        self.prefix = prefix
        self.job = secrets.token_hex(16)
        self._producer = Producer({"bootstrap.servers": bootstrap_servers, "linger.ms": 2, "message.timeout.ms": 120_000})
        self._consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "plain", "enable.auto.commit": False})
        self._reading = False
        self.names: dict[str, str] = {}
        self.records: Counter[str] = Counter()
        self.labels: dict[str, LabelRecord] = {}

    def submit(self, name: str, content: bytes, lane: str = "images", partition: int = -1, **changed: bytes) -> str:
        """Hand an image to the producer, for a partition or any; returns its id."""
        identity = image_id(self.job, name, content)
        base = image_base_headers(job=self.job, reply_partition=1, tenant="default", traceparent=None, submitted_at_ms=now_ms())
        headers = dict(image_headers(base, image=identity, name=name, content_type="image/png")) | changed
        self._producer.produce(f"{self.prefix}.{lane}", content, headers=headers, partition=partition)
        self._producer.poll(0)
        self.names[identity] = name
        return identity

    def flush(self) -> None:
        assert self._producer.flush(60) == 0

    def read(self) -> None:
        """Take in the results that are there."""
        if not self._reading:
            self._consumer.assign([TopicPartition(f"{self.prefix}.labels", 1, OFFSET_BEGINNING)])
            self._reading = True
        for message in self._consumer.consume(1000, 0.05):
            if message.error() is None and ReplyHeaders.parse(message.headers()).job == self.job:
                for label in labels_in(message.headers(), message.value()):
                    self.records[label.image] += 1
                    self.labels.setdefault(self.names[label.image], label)

    def wait_for(self, count: int, timeout_s: float = 60.0) -> None:
        """Read until so many images have a result."""
        deadline = time.monotonic() + timeout_s
        while len(self.records) < count:
            assert time.monotonic() < deadline, f"{len(self.records)} of {count} results"
            self.read()

    def dead_letters(self, count: int) -> list[Message]:
        """All dead letters of the release, at least so many."""
        topic = f"{self.prefix}.images.dlq"
        partitions = self._consumer.list_topics(topic, timeout=20).topics[topic].partitions
        consumer = Consumer({"bootstrap.servers": self._servers, "group.id": "plain", "enable.auto.commit": False})
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        found: list[Message] = []
        until(lambda: found.extend(message for message in consumer.consume(100, 0.1) if not message.error()) or len(found) >= count)
        consumer.close()
        return found

    def close(self) -> None:
        self._consumer.close()
