"""Classifiers are away for longer than images are kept: uploads are refused before any is lost, and what is lost by order is counted."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from confluent_kafka import Consumer, TopicPartition

from convnet.digits import DigitsFolders
from convnet_kafka.local.broker import LocalBroker
from support.http import TAR, call, open_job, tar, until_ready, upload
from support.running_classifier import RunningClassifier
from support.running_server import RunningServer, config
from support.waiting import until, until_async, until_true

PREFIX = "kept"
TOPIC = f"{PREFIX}.images"
PARTITIONS = 2
# Kafka looks for what has expired twice a second, where five minutes are usual.
IMPATIENT = {"log.retention.check.interval.ms": "500", "log.initial.task.delay.ms": "500"}
pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


def log_starts(bootstrap_servers: str) -> list[int]:
    """The first offset that each partition of the bulk lane still has."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "starts"})
    try:
        return [consumer.get_watermark_offsets(TopicPartition(TOPIC, partition), timeout=20)[0] for partition in range(PARTITIONS)]
    finally:
        consumer.close()


def metric(url: str, name: str) -> float:
    """The sum of a metric over its labels."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        return sum(float(line.rsplit(" ", 1)[1]) for line in answer.read().decode().splitlines() if re.match(rf"{name}[ {{]", line))


def pictures(digits: DigitsFolders, count: int, start: int = 0) -> dict[str, bytes]:
    files = sorted(digits.test.rglob("*.png"))
    return {f"{number}.png": files[number % len(files)].read_bytes() for number in range(start, start + count)}


def classifier(broker: LocalBroker, models: Path, log: Path) -> RunningClassifier:
    return RunningClassifier(broker.bootstrap_servers, PREFIX, models, log, CONVNET_TOPICS_IMAGES_PARTITIONS=str(PARTITIONS))


async def labels_of(http: aiohttp.ClientSession, job: str, count: int) -> set[str]:
    """Names of the images that have a label, when so many have one."""
    names: set[str] = set()
    cursor: dict[str, str] = {}
    async with asyncio.timeout(120):
        while len(names) < count:
            page = await call(http, "GET", f"{job}/labels", 200, params={"wait": "5", **cursor})
            names |= {label["name"] for label in page["labels"]}
            cursor = {"cursor": page["cursor"]} if page["cursor"] else {}
    return names


async def test_uploads_are_refused_before_an_image_expires_and_taken_again_when_all_is_classified(
    make_broker: Callable[..., LocalBroker], digits_models: Path, digits: DigitsFolders, tmp_path: Path
) -> None:
    broker = make_broker(overrides=IMPATIENT)
    broker.start()
    kept_s = 60.0
    settings = config(tmp_path, broker.bootstrap_servers, PREFIX, topics={"images_retention_hours": kept_s / 3600}, backlog_look_s=0.5)
    with RunningServer(settings) as server:
        async with aiohttp.ClientSession(server.url) as http:
            await until_ready(http)
            job = await open_job(http)
            assert (await upload(http, job, pictures(digits, 500)))["accepted"] == 500
            accepted, refused = 500, ""
            async with asyncio.timeout(kept_s):
                while not refused:
                    one = pictures(digits, 1, start=accepted)
                    async with http.post(f"{job}/images", data=tar(one), headers=TAR) as answer:
                        body = await answer.json()
                    if answer.status == 202:
                        accepted += body["accepted"]
                    else:
                        refused = body["type"]
                    await asyncio.sleep(0.2)
            assert refused == "/problems/backlog-too-old"
            assert log_starts(broker.bootstrap_servers) == [0] * PARTITIONS

            with classifier(broker, digits_models, tmp_path / "classifier.log") as running:
                assert len(await labels_of(http, job, accepted)) == accepted
                assert metric(running.url, "convnet_classifier_images_expired_total") == 0

                async def taken() -> bool:
                    async with http.post(f"{job}/images", data=tar(pictures(digits, 1, start=accepted)), headers=TAR) as answer:
                        return answer.status == 202

                await until_true(taken)


async def test_what_expires_where_refusing_is_switched_off_is_counted_by_server_and_classifier_and_logged(
    make_broker: Callable[..., LocalBroker], digits_models: Path, digits: DigitsFolders, tmp_path: Path
) -> None:
    broker = make_broker(overrides=IMPATIENT)
    broker.start()
    off = {"backlog_age_limit": 0.0, "backlog_look_s": 0.5}
    settings = config(tmp_path, broker.bootstrap_servers, PREFIX, topics={"images_retention_hours": 5.0 / 3600}, **off)
    with RunningServer(settings) as server:
        async with aiohttp.ClientSession(server.url) as http:
            await until_ready(http)
            job = await open_job(http)
            assert (await upload(http, job, pictures(digits, 300)))["accepted"] == 300
            await until_async(lambda: sum(log_starts(broker.bootstrap_servers)) == 300, 120, "all images being expired")
            await until_async(lambda: metric(server.url, "convnet_server_backlog_expired_images") == 300, 60, "the server telling of it")
            log = tmp_path / "classifier.log"
            with classifier(broker, digits_models, log) as running:
                running.wait_ready()
                until(lambda: metric(running.url, "convnet_classifier_images_expired_total") == 300, 60, "the classifier counting them")
                # One line at least: lines that are alike, here one for each partition, are held back.
                until(lambda: any(event.get("expired") for event in running.events()), 60, "its log telling of them")
                assert (await upload(http, job, pictures(digits, 100, start=300)))["accepted"] == 100
                assert await labels_of(http, job, 100) == pictures(digits, 100, start=300).keys()
