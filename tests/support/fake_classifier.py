"""A classifier in a few lines of plain confluent-kafka, written from docs/wire.md and not from our code: what it understands, anyone can.

A picture that holds `broken` gets an error. One that holds `hold` waits until `release` is called. Labels of a job
that are made together are told together, and twice.
What was read is committed for the groups of the classifiers, by which servers know what waits.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, Message, Producer, TopicPartition


class FakeClassifier:
    """Reads both lanes of one release until it is left."""

    def __init__(self, bootstrap_servers: str, prefix: str) -> None:
        self._servers = bootstrap_servers
        self._prefix = prefix
        self._end = threading.Event()
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fake-classifier")
        self.images: list[dict[str, bytes]] = []
        self.contents: list[bytes] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end.set()
        self._thread.join(20)

    def release(self) -> None:
        """Label what was held, and hold nothing more."""
        self._released.set()

    def hold(self) -> None:
        """Hold again."""
        self._released.clear()

    def result(self, content: bytes) -> dict[str, Any]:
        """What a picture gets: a label, or an error."""
        return {"error": "undecodable", "detail": "it is broken"} if b"broken" in content else {"label": "seven", "confidence": 0.75}

    def _run(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._servers,
                "group.id": uuid.uuid4().hex,
                "auto.offset.reset": "earliest",
                "topic.metadata.refresh.interval.ms": 200,
                "fetch.wait.max.ms": 10,
            }
        )
        consumer.subscribe([f"{self._prefix}.images", f"{self._prefix}.images.fast"])
        producer = Producer({"bootstrap.servers": self._servers, "linger.ms": 0})
        committers = {
            f"{self._prefix}.images{suffix}": Consumer(
                {"bootstrap.servers": self._servers, "group.id": f"{self._prefix}.classifiers.{lane}"}
            )
            for suffix, lane in (("", "bulk"), (".fast", "fast"))
        }
        held: list[Message] = []
        while not self._end.is_set():
            messages = [message for message in consumer.consume(500, 0.02) if message.error() is None]
            for message in messages:
                self.images.append(dict(message.headers() or []))  # type: ignore[arg-type]
                self.contents.append(message.value() or b"")
            ready = [message for message in messages if b"hold" not in (message.value() or b"")]
            held += [message for message in messages if message not in ready]
            if self._released.is_set():
                ready, held = ready + held, []
            self._answer(producer, ready)
            producer.poll(0)
            for topic, ends in _ends(messages).items():
                committers[topic].commit(offsets=[TopicPartition(topic, *end) for end in ends.items()], asynchronous=True)
        producer.flush(5)
        for committer in committers.values():
            committer.close()
        consumer.close()

    def _answer(self, producer: Producer, messages: list[Message]) -> None:
        together: dict[tuple[bytes, ...], list[tuple[bytes, bytes]]] = {}
        for message in messages:
            given: dict[str, bytes] = dict(message.headers() or [])  # type: ignore[arg-type]
            result = self.result(message.value() or b"")
            failed = "error" in result
            label: dict[str, Any] = {"image": given["image"].decode(), "name": given["name"].decode(), "revision": 0}
            label |= result
            label |= {
                "model": None if failed else 3,
                "lane": "fast" if (message.topic() or "").endswith(".fast") else "bulk",
                "submitted_at_ms": int(given["submitted-at"]),
                "labelled_at_ms": time.time_ns() // 1_000_000,
            }
            group = given["job"], given["tenant"], given["reply-partition"], b"failed" if failed else b""
            together.setdefault(group, []).append((given["image"], json.dumps(label).encode()))
        for (job, tenant, partition, kind), labels in together.items():
            images = b"".join(image for image, _ in labels)
            headers = [("wire", b"1"), ("job", job), ("image", images), ("revision", b"0"), ("tenant", tenant)]
            if kind:
                headers.append(("kind", kind))
            value = b"\n".join(label for _, label in labels)
            for _ in range(2):
                producer.produce(f"{self._prefix}.labels", value, partition=int(partition), headers=headers)


def _ends(messages: list[Message]) -> dict[str, dict[int, int]]:
    """After the last record of each topic and partition."""
    ends: dict[str, dict[int, int]] = {}
    for message in messages:
        ends.setdefault(message.topic() or "", {})[message.partition() or 0] = (message.offset() or 0) + 1
    return ends
