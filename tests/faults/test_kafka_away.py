"""Kafka goes away in mid-upload: nobody hangs, memory stays bounded, and when it is back all goes on: nothing lost, nothing double."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil
import pytest

from convnet.digits import DigitsFolders
from convnet_kafka.client import Client
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.local.process import free_ports
from convnet_kafka.local.stack import Stack, StackOptions
from support.fake_classifier import FakeClassifier
from support.http import TAR, call, open_job, png, tar, until_ready
from support.ledger import read_ledger
from support.running_server import SIGNING_KEY
from support.waiting import until_async, until_true

PREFIX = "away"
SENDERS, TARS, IMAGES = 16, 5, 200
# The settings of the server: short ones, so that an outage of seconds shows all that one of a minute does.
DELIVERY_S, UNREADY_S = 2.0, 4.0
# A caller's patience: Kafka's time, the slack that an answer has after it, and much room for a busy machine.
PATIENCE_S = DELIVERY_S + 5 + 20
# Two producers' queues, and what Python and the allocator keep besides.
MOST_GROWTH_MIB = 150


@dataclass
class Answers:
    """What callers were told."""

    statuses: Counter[int] = field(default_factory=Counter)
    accepted: int = 0
    unknown: int = 0
    slowest_s: float = 0.0


async def send(http: aiohttp.ClientSession, job: str, images: dict[str, bytes], told: Answers) -> None:
    """As a patient client does: what is not accepted is sent again until it is."""
    left = images
    while left:
        started = time.monotonic()
        async with http.post(f"{job}/images", data=tar(left), headers=TAR) as answer:
            body = await answer.json()
        told.slowest_s = max(told.slowest_s, time.monotonic() - started)
        told.statuses[answer.status] += 1
        if answer.status == 202:
            assert {problem["status"] for problem in body["problems"]} <= {"unknown"}
            told.accepted += body["accepted"]
            told.unknown += body["unknown"]
            left = {problem["name"]: left[problem["name"]] for problem in body["problems"]}
        else:
            assert (answer.status, body["type"]) == (503, "/problems/kafka-unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
            await asyncio.sleep(0.1)


@pytest.fixture
def server(make_broker: Callable[..., LocalBroker], tmp_path: Path) -> Iterator[tuple[LocalBroker, str, psutil.Process]]:
    """A Kafka of its own, and a server in a process whose memory can be seen."""
    broker = make_broker()
    broker.start()
    (port,) = free_ports(1)
    key = tmp_path / "signing-key"
    key.write_bytes(SIGNING_KEY)
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": PREFIX,
        "CONVNET_TOPICS_CREATE": "true",
        "CONVNET_SERVER_PORT": str(port),
        "CONVNET_SERVER_SIGNING_KEY_FILES": str(key),
        "CONVNET_SERVER_DELIVERY_TIMEOUT_S": str(DELIVERY_S),
        "CONVNET_SERVER_KAFKA_DOWN_UNREADY_S": str(UNREADY_S),
        "CONVNET_SERVER_SHUTDOWN_DELAY_S": "0",
    }
    process = subprocess.Popen([sys.executable, "-m", "convnet_kafka", "server"], env=environment)
    try:
        yield broker, f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def stopped(broker: LocalBroker) -> AsyncIterator[None]:
    """Kafka does not answer, but its connections stay."""
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(broker.pid, signal.SIGCONT)


@asynccontextmanager
async def dead(broker: LocalBroker) -> AsyncIterator[None]:
    """Kafka is killed and started again."""
    broker.kill()
    try:
        yield
    finally:
        await asyncio.to_thread(broker.start)


async def status(http: aiohttp.ClientSession, path: str) -> int:
    async with http.get(path) as answer:
        return answer.status


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("outage", "seconds"),
    [
        (stopped, 3.0),
        pytest.param(dead, 3.0, marks=pytest.mark.long),
        pytest.param(stopped, 60.0, marks=pytest.mark.long),
        pytest.param(dead, 60.0, marks=pytest.mark.long),
    ],
)
async def test_uploads_are_answered_while_kafka_is_away_and_go_on_when_it_is_back(
    outage: Callable[[LocalBroker], AsyncIterator[None]], seconds: float, server: tuple[LocalBroker, str, psutil.Process]
) -> None:
    broker, url, process = server
    told = Answers()
    tars = [{f"{number}/{n}.png": png(f"{number}-{n}") + bytes(2000) for n in range(IMAGES)} for number in range(SENDERS * TARS)]
    total = len(tars) * IMAGES
    go_on = asyncio.Event()
    async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=PATIENCE_S)) as http:
        await until_async(lambda: _listens(url), 60)
        await until_ready(http)
        job = await open_job(http)

        async def sender(number: int) -> None:
            """Its share of the images; all but the first tar only when Kafka is away, or was."""
            first, *rest = tars[number::SENDERS]
            await send(http, job, first, told)
            await go_on.wait()
            for images in rest:
                await send(http, job, images, told)

        with FakeClassifier(broker.bootstrap_servers, PREFIX):
            senders = [asyncio.create_task(sender(number)) for number in range(SENDERS)]
            await until_async(lambda: told.accepted >= SENDERS * IMAGES)
            before_mib = process.memory_info().rss / 2**20
            most_mib = before_mib
            async with outage(broker):  # type: ignore[attr-defined]
                away_at = time.monotonic()
                go_on.set()

                def is_noticed() -> bool:
                    nonlocal most_mib
                    most_mib = max(most_mib, process.memory_info().rss / 2**20)
                    return told.statuses[503] >= SENDERS and time.monotonic() - away_at > seconds

                await until_async(is_noticed, 30 + seconds, "callers being told that Kafka is away")
                assert await status(http, "/healthz") == 200
                assert await status(http, "/readyz") == 503
                started = time.monotonic()
                await call(http, "POST", "/v1/classify?timeout=5", 503, data=png("x"), headers={"Content-Type": "image/png"})
                await call(http, "POST", "/v1/jobs", 503)
                for path in (job, f"{job}/labels"):
                    assert await status(http, path) in {200, 503}  # what is read live is told all the same
                assert time.monotonic() - started < 5
            await asyncio.gather(*senders)
            await until_ready(http)

            await call(http, "POST", f"{job}/close", 200, json={"images": total})

            async def complete() -> bool:
                return bool((await call(http, "GET", job, 200))["complete"])

            await until_true(complete, 120)
            ledger = await asyncio.to_thread(read_ledger, url, job.rpartition("/")[2], broker.bootstrap_servers, f"{PREFIX}.labels")
    assert told.accepted == total
    assert told.unknown > 0
    assert told.slowest_s < PATIENCE_S
    assert ledger.by_http.keys() == {name for images in tars for name in images}
    assert set(ledger.by_http.values()) == {1}
    assert len(ledger.records) == total
    print(f"statuses {dict(told.statuses)}, unknown {told.unknown}, slowest {told.slowest_s:.1f} s, {before_mib:.0f} -> {most_mib:.0f} MiB")
    assert most_mib - before_mib < MOST_GROWTH_MIB


def _listens(url: str) -> bool:
    port = int(url.rpartition(":")[2])
    return any(connection.laddr.port == port for connection in psutil.net_connections("tcp") if connection.status == "LISTEN")


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("outage", [stopped, dead])
async def test_the_whole_path_waits_out_a_minute_without_kafka(
    outage: Callable[[LocalBroker], AsyncIterator[None]],
    make_broker: Callable[..., LocalBroker],
    digits: DigitsFolders,
    digits_models: Path,
    tmp_path: Path,
) -> None:
    """Real classifiers and the client library, with the settings that people have."""
    originals = sorted(digits.test.rglob("*.png"))
    for number in range(20_000):
        file = tmp_path / "pictures" / f"{number // 1000:02d}" / f"{number:05d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        os.link(originals[number % len(originals)], file)
    broker = make_broker()
    broker.start()
    options = StackOptions(models=digits_models, data=tmp_path / "data", classifiers=2, bootstrap_servers=broker.bootstrap_servers)
    outcomes: dict[str, str | None] = {}
    with Stack(options) as stack:
        server = psutil.Process(stack.processes["server"])
        before_mib = most_mib = server.memory_info().rss / 2**20

        def is_over(until_s: float) -> bool:
            nonlocal most_mib
            most_mib = max(most_mib, server.memory_info().rss / 2**20)
            return time.monotonic() > until_s

        async with Client(stack.server_url) as client:
            classification = client.classify([tmp_path / "pictures"])
            was_away = False
            async for label in classification:
                assert label.name not in outcomes, f"{label.name} was told twice"
                outcomes[label.name] = label.label
                if len(outcomes) >= 4000 and not was_away:
                    was_away = True
                    async with outage(broker):  # type: ignore[attr-defined]
                        await until_async(functools.partial(is_over, time.monotonic() + 60), 120, "a minute being over")
            job = classification.job
        assert job is not None
        await until_async(lambda: len(stack.processes) == 3)
        ledger = await asyncio.to_thread(read_ledger, stack.server_url, job, broker.bootstrap_servers, "convnet.labels")
    assert len(outcomes) == 20_000
    assert None not in outcomes.values()
    assert ledger.by_http.keys() == outcomes.keys()
    assert set(ledger.by_http.values()) == {1}
    assert ledger.answers == outcomes
    assert most_mib - before_mib < MOST_GROWTH_MIB
