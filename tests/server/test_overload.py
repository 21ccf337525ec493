"""Uploads are refused while too much waits, before their body is sent, and taken again when it does not; reads and probes never are."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.messages import Lane, now_ms
from convnet_kafka.server import fastlane
from convnet_kafka.topology import Topology
from support.fake_classifier import FakeClassifier
from support.http import TAR, call, open_job, png, tar, until_ready, upload
from support.running_server import RunningServer, config
from support.waiting import until_true

DAY_MS = 86_400_000
IMAGE = {"Content-Type": "image/png"}


class Lanes:
    """The lanes of one server as a plain Kafka client sees them: puts records in, and commits for the classifiers."""

    def __init__(self, bootstrap_servers: str, prefix: str) -> None:
        self._servers = bootstrap_servers
        self.topology = Topology(prefix)
        self._committers: dict[Lane, Consumer] = {}

    def put(self, lane: Lane, count: int, *, partition: int = 0, age_ms: int = 0) -> None:
        """So many records of an age."""
        producer = Producer({"bootstrap.servers": self._servers, "linger.ms": 5})
        for _ in range(count):
            producer.produce(self.topology.images(lane), b"x", partition=partition, timestamp=now_ms() - age_ms)
        assert producer.flush(30) == 0

    def commit(self, lane: Lane, offset: int, *, partition: int = 0) -> None:
        """All before this offset is done."""
        consumer = self._committers.get(lane)
        if consumer is None:
            consumer = self._committers[lane] = Consumer({"bootstrap.servers": self._servers, "group.id": self.topology.group(lane)})
        consumer.commit(offsets=[TopicPartition(self.topology.images(lane), partition, offset)], asynchronous=False)

    def close(self) -> None:
        for consumer in self._committers.values():
            consumer.close()


@pytest.fixture
def prefix() -> str:
    return f"overload-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def server(broker: LocalBroker, prefix: str, tmp_path: Path) -> Iterator[RunningServer]:
    """Looks ten times a second, and takes two seconds' worth of work."""
    with RunningServer(config(tmp_path, broker.bootstrap_servers, prefix, backlog_look_s=0.1, bulk_drain_limit_s=2.0)) as running:
        yield running


@pytest.fixture
def lanes(broker: LocalBroker, prefix: str, server: RunningServer) -> Iterator[Lanes]:
    made = Lanes(broker.bootstrap_servers, prefix)
    yield made
    made.close()


async def gauge(http: aiohttp.ClientSession, name: str, lane: Lane = Lane.BULK) -> float:
    async with http.get("/metrics") as answer:
        lines = (await answer.text()).splitlines()
    values = [line.split()[1] for line in lines if line.startswith(f'convnet_server_{name}{{lane="{lane}"}}')]
    return float(values[0]) if values else -2.0


async def refused(http: aiohttp.ClientSession, method: str, path: str, slug: str, **options: Any) -> bool:
    """Whether a call is refused for this; what it is refused for else is a mistake."""
    async with http.request(method, path, **options) as answer:
        if answer.status < 400:
            return False
        assert (answer.status, (await answer.json())["type"]) == (503, f"/problems/{slug}")
        assert 1 <= int(answer.headers["Retry-After"]) <= 3600
        return True


async def test_uploads_are_refused_while_work_is_older_than_half_of_its_retention(server: RunningServer, lanes: Lanes) -> None:
    async with aiohttp.ClientSession(server.url) as http:
        await until_ready(http)
        job = await open_job(http)
        lanes.put(Lane.BULK, 3, age_ms=3 * DAY_MS)
        await until_true(lambda: _at_least(http, "backlog_oldest_seconds", 2.5 * 86_400))
        # Taken, though nothing is stored: a young image in the other partition would stand before the old ones.
        assert (await upload(http, job, {"notes.txt": b"text"}))["refused"] == 1

        lanes.put(Lane.BULK, 2, partition=1, age_ms=4 * DAY_MS)
        one = {"data": tar({"b.png": png("b")}), "headers": TAR}
        await until_true(lambda: refused(http, "POST", f"{job}/images", "backlog-too-old", **one))
        # Before the body: a caller that asks first keeps it.
        waiting = {"data": png("c"), "headers": IMAGE, "expect100": True}
        assert await refused(http, "POST", f"{job}/images", "backlog-too-old", **waiting)

        # What adds nothing to the lane is never refused.
        await open_job(http)
        assert (await call(http, "GET", f"{job}/labels", 200))["labels"] == []
        for path in ("/healthz", "/readyz", "/metrics"):
            async with http.get(path) as answer:
                assert answer.status == 200
        assert (await call(http, "POST", "/v1/classify?timeout=0", 202, data=png("fast"), headers=IMAGE))["missing"]

        lanes.commit(Lane.BULK, 2, partition=1)
        await until_true(lambda: _accepted(http, job))
        assert await gauge(http, "backlog_expired_images") == 0


async def test_uploads_are_refused_while_what_waits_takes_too_long_and_never_on_a_guess(server: RunningServer, lanes: Lanes) -> None:
    async with aiohttp.ClientSession(server.url) as http:
        await until_ready(http)
        job = await open_job(http)
        lanes.put(Lane.BULK, 5000)
        await until_true(lambda: _at_least(http, "backlog_images", 5000))
        assert await gauge(http, "backlog_drain_seconds") == -1
        assert await _accepted(http, job)

        done = threading.Event()

        def work() -> None:
            """Two hundred images a second or so, until told."""
            at = 0
            while not done.wait(0.05):
                at += 10
                lanes.commit(Lane.BULK, at)
            lanes.commit(Lane.BULK, 5000)

        working = threading.Thread(target=work)
        working.start()
        try:
            one = {"data": tar({"b.png": png("b")}), "headers": TAR}
            await until_true(lambda: refused(http, "POST", f"{job}/images", "backlog-too-long", **one))
        finally:
            done.set()
            await asyncio.to_thread(working.join, 30)
        await until_true(lambda: _accepted(http, job))


async def test_classify_is_refused_at_once_while_nothing_answers_and_taken_when_a_classifier_comes(
    server: RunningServer, broker: LocalBroker, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastlane, "STILL_S", 0.5)
    one = {"data": png("one"), "headers": IMAGE}
    async with aiohttp.ClientSession(server.url) as http:
        await until_ready(http)
        # The first finds out; those that follow are told.
        answer = await call(http, "POST", "/v1/classify?timeout=0.3", 202, **one)
        await until_true(lambda: refused(http, "POST", "/v1/classify?timeout=0.3", "fast-lane-busy", **one))
        job = await open_job(http)
        assert (await upload(http, job, {"a.png": png("a")}))["accepted"] == 1
        with FakeClassifier(broker.bootstrap_servers, prefix):
            page = await call(http, "GET", f"/v1/jobs/{answer['job']}/labels", 200, params={"wait": "30"})
            assert len(page["labels"]) == 1
            await until_true(lambda: _classified(http))


async def _at_least(http: aiohttp.ClientSession, name: str, value: float) -> bool:
    return await gauge(http, name) >= value


async def _accepted(http: aiohttp.ClientSession, job: str) -> bool:
    async with http.post(f"{job}/images", data=tar({"z.png": png("z")}), headers=TAR) as answer:
        return answer.status == 202


async def _classified(http: aiohttp.ClientSession) -> bool:
    async with http.post("/v1/classify?timeout=10", data=png("two"), headers=IMAGE) as answer:
        return answer.status == 200
