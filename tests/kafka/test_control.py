"""The control topic on a real Kafka: classifiers tell their models, servers show them, a cancelled job costs nothing any more."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from confluent_kafka import Producer

from convnet.digits import DigitsFolders
from convnet_kafka.control import CancelledJob, ControlState, control_headers
from convnet_kafka.kafka.connection import Options, reader_options
from convnet_kafka.kafka.table import TableFollower
from convnet_kafka.kafka.tail import newest_records
from convnet_kafka.kafka.topics import create_missing
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.messages import FailureCode, now_ms
from convnet_kafka.settings import TopicSettings
from convnet_kafka.topology import Topology
from support.http import call, open_job, stream, until_ready, upload
from support.named_versions import named_versions
from support.running_classifier import PlainClient, RunningClassifier
from support.running_server import RunningServer, config
from support.topics import admin, kafka_settings, make_topic
from support.waiting import until

HOUR_MS = 3_600_000
OTHER_JOB = "f" * 32


@pytest.fixture
def prefix(broker: LocalBroker) -> str:
    """A release whose topics are there."""
    settings = kafka_settings(broker.bootstrap_servers)
    specs = Topology(settings.topic_prefix).specs(settings, TopicSettings(images_partitions=4, labels_partitions=2))
    create_missing(admin(broker.bootstrap_servers), specs)
    return settings.topic_prefix


@pytest.fixture
def pictures(digits: DigitsFolders) -> list[bytes]:
    return [path.read_bytes() for path in sorted(digits.test.rglob("*.png"))]


@pytest.fixture
def client(broker: LocalBroker, prefix: str) -> Iterator[PlainClient]:
    made = PlainClient(broker.bootstrap_servers, prefix)
    yield made
    made.close()


def write(broker: LocalBroker, topic: str, *records: tuple[str, bytes | None, list[tuple[str, bytes]]]) -> None:
    """Write records to a compacted topic, as anybody may."""
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 0})
    for key, value, headers in records:
        producer.produce(topic, value, key.encode(), 0, headers=headers)  # type: ignore[arg-type]
    assert producer.flush(30) == 0


def cancelled(job: str, expires_at_ms: int | None = None) -> tuple[str, bytes, list[tuple[str, bytes]]]:
    record = CancelledJob(job, expires_at_ms or now_ms() + HOUR_MS)
    return record.key, record.to_json(), control_headers(record.kind)


def reading(broker: LocalBroker) -> Options:
    return reader_options(kafka_settings(broker.bootstrap_servers), "test", share=0.02, max_record_bytes=1 << 20)


def told(broker: LocalBroker, prefix: str) -> list[str]:
    """The keys of everything that was ever written to the control topic, without warm-ups."""
    keys = [(message.key() or b"").decode() for message in newest_records(reading(broker), f"{prefix}.control", 1000)]
    return [key for key in keys if key != "warm-up"]


def test_a_follower_reads_all_there_is_then_what_comes_through_gaps_and_foreign_records(broker: LocalBroker) -> None:
    topic = make_topic(broker.bootstrap_servers, cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.0")
    jobs = [f"{number:032x}" for number in range(50)]
    write(broker, topic, *(cancelled(job) for job in jobs), ("?", b"not ours", []), ("job/x", b"newer", [("wire", b"2")]))
    write(broker, topic, *((f"job/{job}", None, control_headers(CancelledJob(job, 0).kind)) for job in jobs[10:]))
    state = ControlState()
    follower = TableFollower(reading(broker), topic, lambda message: state.apply(message.headers(), message.key(), message.value()))
    assert "not read yet" in (follower.problem or "")
    follower.start()
    try:
        until(lambda: follower.caught_up)
        assert follower.problem is None
        assert list(state.cancelled) == jobs[:10]
        write(broker, topic, cancelled(OTHER_JOB))
        until(lambda: OTHER_JOB in state.cancelled)
    finally:
        follower.close()


def test_a_follower_waits_for_its_topic(broker: LocalBroker) -> None:
    topic = f"late-{uuid.uuid4().hex[:8]}"
    follower = TableFollower(reading(broker), topic, lambda _: None)
    follower.start()
    try:
        until(lambda: "does not exist" in (follower.problem or ""))
        make_topic(broker.bootstrap_servers, name=topic)
        until(lambda: follower.caught_up)
    finally:
        follower.close()


async def test_models_are_told_once_and_shown_and_a_job_is_cancelled_through_http(
    broker: LocalBroker, prefix: str, pictures: list[bytes], digits_models: Path, tmp_path: Path
) -> None:
    registry = named_versions(digits_models, tmp_path / "models", 2)
    settings = config(tmp_path, broker.bootstrap_servers, prefix, topics={"images_partitions": 4})
    with RunningServer(settings) as server, RunningServer(settings) as another:
        async with aiohttp.ClientSession(server.url) as http, aiohttp.ClientSession(another.url) as elsewhere:
            for session in (http, elsewhere):
                await until_ready(session)
            await _until_answered(http, {"stable": None, "models": 0})
            job = await open_job(http)
            await upload(http, job, {f"{number}.png": pictures[number] for number in range(20)})
            shown = await call(http, "DELETE", job, 200)
            assert (shown["state"], shown["total"], shown["labelled"]) == ("cancelled", None, 0)
            with RunningClassifier(broker.bootstrap_servers, prefix, registry.folder, tmp_path / "first") as running:
                running.wait_ready()
                await _until_answered(http, {"stable": 1, "models": 2})
                registry.set_alias("canary", 2, canary_percent=0)
                await _until_answered(elsewhere, {"stable": 1, "canary": 2, "models": 2})
                lines, _ = await stream(elsewhere, job, expect="20")
                assert {line["error"] for line in lines} == {FailureCode.CANCELLED}
                other = await open_job(http)
                await upload(http, other, {"a.png": pictures[0]})
                (line,), _ = await stream(http, other, expect="1")
                assert line["label"].startswith("v1:")
                assert running.terminate() == 0
            keys = told(broker, prefix)
            with RunningClassifier(broker.bootstrap_servers, prefix, registry.folder, tmp_path / "second") as running:
                running.wait_ready()
                assert running.terminate() == 0
            assert told(broker, prefix) == keys
            assert sorted(set(keys) - {key for key in keys if key.startswith("job/")}) == ["aliases", "model/1", "model/2"]
            for session in (http, elsewhere):
                assert (await call(session, "GET", job, 200))["state"] == "cancelled"
                refused = await call(session, "POST", f"{job}/images", 409, data=pictures[0], headers={"Content-Type": "image/png"})
                assert refused["type"] == "/problems/job-cancelled"
            (card, _) = (await call(elsewhere, "GET", "/v1/models", 200))["models"]
            assert (card["version"], card["aliases"], card["channels"]) == (1, ["stable"], 1)
            assert card["classes"][3] == "v1:3"
            assert 0.5 < card["accuracy"][card["served"]] <= 1
            await call(http, "DELETE", job, 200)
            await call(http, "DELETE", "/v1/jobs/forged", 404)
            assert told(broker, prefix) == keys


async def _until_answered(session: aiohttp.ClientSession, wanted: dict[str, int | None]) -> None:
    """Wait until `/v1/models` says so, with the number of models; it may answer 503 before."""
    async with asyncio.timeout(60):
        while True:
            async with session.get("/v1/models") as answer:
                assert answer.status in {200, 503}
                body = await answer.json(content_type=None)
            if {name: len(body["models"]) if name == "models" else body[name] for name in wanted if name in body} == wanted:
                return
            await asyncio.sleep(0.02)


def test_a_cancelled_job_drains_without_dead_letters_and_its_record_leaves_when_its_life_is_over(
    broker: LocalBroker, prefix: str, client: PlainClient, pictures: list[bytes], digits_models: Path, tmp_path: Path
) -> None:
    count = 2000
    for number in range(count):
        client.submit(f"{number}.png", pictures[number % len(pictures)] if number % 7 else b"not a picture")
    client.flush()
    over = "e" * 32
    write(broker, f"{prefix}.control", cancelled(client.job), cancelled(over, 1))
    with RunningClassifier(broker.bootstrap_servers, prefix, digits_models, tmp_path / "log") as running:
        client.wait_for(count)
        until(lambda: told(broker, prefix).count(f"job/{over}") == 2, what="the record of the job whose life is over is taken away")
        client.job = OTHER_JOB  # nothing holds up what comes after
        client.submit("wanted.png", pictures[0])
        client.flush()
        client.wait_for(count + 1)
        assert running.terminate() == 0
    assert client.labels["wanted.png"].error is None
    ended = [label for name, label in client.labels.items() if name != "wanted.png"]
    assert {(label.error, label.model) for label in ended} == {(FailureCode.CANCELLED, None)}
    assert list(newest_records(reading(broker), f"{prefix}.images.dlq", 10)) == []
