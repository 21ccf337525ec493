"""A server without Kafka, with Kafka going away under it, and going away itself: nothing accepted is lost, and nobody is left waiting."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.local.process import free_ports
from support.http import TAR, call, open_job, png, stream, tar, until_ready, upload
from support.running_server import RunningServer, config


async def ready(http: aiohttp.ClientSession) -> tuple[int, list[str]]:
    async with http.get("/readyz") as answer:
        return answer.status, (await answer.json())["reasons"]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition that must be asked for."""
    async with asyncio.timeout(20):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


async def test_without_kafka_it_is_alive_and_says_what_it_waits_for_and_then_serves(
    make_broker: Callable[..., LocalBroker], tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    settings = config(tmp_path, f"127.0.0.1:{port}", "late", delivery_timeout_s=2.0, kafka_down_unready_s=2.0)
    with RunningServer(settings) as server:
        async with aiohttp.ClientSession(server.url) as http:
            async with http.get("/healthz") as answer:
                assert answer.status == 200
            status, reasons = await ready(http)
            assert status == 503
            assert f"127.0.0.1:{port}" in reasons[0]
            started = time.monotonic()
            for path, headers in (("/v1/jobs", {}), ("/v1/classify", {"Content-Type": "image/png"})):
                answer_ = await call(http, "POST", path, 503, data=png("x"), headers=headers)
                assert answer_["type"] == "/problems/kafka-unavailable"
            assert time.monotonic() - started < 1

            broker = make_broker(port=port)
            broker.start()
            await until_ready(http)
            job = await open_job(http)
            assert (await upload(http, job, {"a.png": png("a")}))["accepted"] == 1

            broker.kill()
            answer_ = await upload(http, job, {"a.png": png("a"), "b.png": png("b")})
            assert (answer_["accepted"], answer_["unknown"]) == (0, 2)
            assert {(problem["status"], problem["code"]) for problem in answer_["problems"]} == {("unknown", "not-acknowledged")}

            async def silent() -> bool:
                return (await ready(http))[0] == 503

            await until(silent)
            started = time.monotonic()
            answer_ = await call(http, "POST", f"{job}/images", 503, data=tar({"c.png": png("c")}), headers=TAR)
            assert answer_["type"] == "/problems/kafka-unavailable"
            assert time.monotonic() - started < 1

            broker.start()
            await until_ready(http)
            assert (await upload(http, job, {"a.png": png("a"), "b.png": png("b")}))["accepted"] == 2


async def test_missing_topics_are_named_and_waited_for(broker: LocalBroker, tmp_path: Path) -> None:
    prefix = f"missing-{uuid.uuid4().hex[:8]}"
    with RunningServer(config(tmp_path, broker.bootstrap_servers, prefix, topics={"create": False})) as waiting:
        async with aiohttp.ClientSession(waiting.url) as http:
            status, reasons = await ready(http)
            assert status == 503
            assert f"{prefix}.labels" in reasons[0]
            with RunningServer(config(tmp_path, broker.bootstrap_servers, prefix)):
                await until_ready(http)


@pytest.fixture
async def leaving(broker: LocalBroker, tmp_path: Path) -> AsyncIterator[tuple[RunningServer, aiohttp.ClientSession]]:
    """A server that goes on accepting for a long time after it is asked to stop, until it is asked again."""
    settings = config(tmp_path, broker.bootstrap_servers, f"leaving-{uuid.uuid4().hex[:8]}", shutdown_delay_s=60.0)
    with RunningServer(settings) as server:
        async with aiohttp.ClientSession(server.url) as http:
            await until_ready(http)
            yield server, http


async def test_a_server_that_leaves_finishes_what_has_begun_and_sends_readers_elsewhere(
    leaving: tuple[RunningServer, aiohttp.ClientSession],
) -> None:
    server, http = leaving
    job = await open_job(http)
    reading = asyncio.create_task(stream(http, job))
    waiting = asyncio.create_task(http.get(f"{job}/labels", params={"wait": "60"}))
    go_on = asyncio.Event()
    body = tar({f"{number}.png": png(str(number)) for number in range(100)})

    async def slow() -> AsyncIterator[bytes]:
        yield body[:5000]
        await go_on.wait()
        yield body[5000:]

    uploading = asyncio.create_task(call(http, "POST", f"{job}/images", 202, data=slow(), headers=TAR))

    async def begun() -> bool:
        async with http.get("/metrics") as metrics:
            text = await metrics.text()
        return "convnet_server_uploads 1.0" in text and "convnet_server_label_readers 2.0" in text

    await until(begun)
    server.ask_to_stop(hurry=False)

    async def not_ready() -> bool:
        return await ready(http) == (503, ["going away"])

    await until(not_ready)
    # Callers that have not heard of it are still served, each on a connection that is closed afterwards.
    assert (await upload(http, job, {"late.png": png("late")}))["accepted"] == 1
    async with http.get("/healthz") as answer:
        assert answer.headers["Connection"] == "close"

    server.ask_to_stop(hurry=True)
    lines, end = await reading
    assert lines == []
    assert end == {"end": "reconnect", "cursor": None, "total": None}
    async with await waiting as answer:
        assert answer.status == 503
        assert (await answer.json())["type"] == "/problems/shutting-down"
    async with aiohttp.ClientSession(server.url) as newcomer:
        with pytest.raises(aiohttp.ClientConnectorError):
            await newcomer.get("/healthz")
    go_on.set()
    assert (await uploading)["accepted"] == 100
    await asyncio.to_thread(server.join, 10)
    assert server.error is None


async def test_a_server_ends_in_time_although_kafka_is_away(make_broker: Callable[..., LocalBroker], tmp_path: Path) -> None:
    broker = make_broker()
    broker.start()
    # Kafka is given a minute to acknowledge: an end that waited for it would take longer than the four seconds it is given.
    settings = config(tmp_path, broker.bootstrap_servers, "away", delivery_timeout_s=60.0, shutdown_timeout_s=4.0)
    with RunningServer(settings) as server:
        async with aiohttp.ClientSession(server.url) as http:
            await until_ready(http)
            job = await open_job(http)
            assert (await upload(http, job, {"a.png": png("a")}))["accepted"] == 1
            reading = asyncio.create_task(stream(http, job))
            broker.kill()
            uploading = asyncio.create_task(upload(http, job, {"b.png": png("b")}))

            async def begun() -> bool:
                async with http.get("/metrics") as metrics:
                    text = await metrics.text()
                return "convnet_server_uploads 1.0" in text and "convnet_server_label_readers 1.0" in text

            await until(begun)
            started = time.monotonic()
            server.ask_to_stop(hurry=True)
            assert await reading == ([], {"end": "reconnect", "cursor": None, "total": None})
            # Its image may be stored or not: the caller is told so, or finds the connection cut, which says the same.
            with suppress(aiohttp.ClientError):
                assert (await uploading)["unknown"] == 1
            await asyncio.to_thread(server.join, 60)
            assert time.monotonic() - started < 20
            assert server.error is None


async def test_a_server_that_never_saw_kafka_ends_in_time(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with RunningServer(config(tmp_path, f"127.0.0.1:{port}", "never", shutdown_timeout_s=4.0)) as server:
        async with aiohttp.ClientSession(server.url) as http:
            assert (await ready(http))[0] == 503
        started = time.monotonic()
        server.ask_to_stop(hurry=True)
        await asyncio.to_thread(server.join, 60)
        assert time.monotonic() - started < 20
