"""Readers that do not read, readers that are too many, a server that leaves them, and a labels topic that is made anew under them."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from convnet_kafka.kafka.reader import PartitionReader
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.server import streams
from support.fake_classifier import FakeClassifier
from support.http import call, open_job, png, stream, until_ready, upload
from support.label_log import LabelLog, job_in, result
from support.running_server import RunningServer, config
from support.sse import EventSource
from support.topics import admin, make_topic
from support.waiting import until_async, until_true

EVENTS = {"Accept": "text/event-stream"}


@pytest.fixture
def prefix() -> str:
    return f"slow-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def log(broker: LocalBroker, prefix: str) -> LabelLog:
    return LabelLog(broker.bootstrap_servers, prefix)


@pytest.fixture
def server(broker: LocalBroker, prefix: str, tmp_path: Path) -> Iterator[RunningServer]:
    """In this process, so that its times can be shortened; one reader at a time may catch up."""
    settings = config(tmp_path, broker.bootstrap_servers, prefix, max_scans=1, shutdown_timeout_s=60.0)
    with RunningServer(settings) as running:
        yield running


@pytest.fixture
async def http(server: RunningServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(server.url, timeout=aiohttp.ClientTimeout(total=60)) as session:
        await until_ready(session)
        yield session


async def metric(http: aiohttp.ClientSession, name: str) -> float:
    async with http.get("/metrics") as answer:
        text = await answer.text()
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def connect_and_stall(server: RunningServer, job: str) -> socket.socket:
    """Ask for events and read nothing of them, with as small a buffer as the system allows."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((host, int(port)))
    connection.sendall(f"GET {job}/labels HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n".encode())
    connection.settimeout(60)
    return connection


def drain(connection: socket.socket) -> bytes:
    """What still comes, until the connection is cut."""
    found = b""
    with connection:
        while True:
            try:
                piece = connection.recv(65536)
            except ConnectionError:
                return found
            if not piece:
                return found
            found += piece


async def test_a_reader_that_takes_nothing_is_cut_off_and_resumes_where_it_was(
    http: aiohttp.ClientSession, server: RunningServer, log: LabelLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "STALLED_S", 1.0)
    job = await open_job(http)
    # Far more than the buffers of a connection hold: 6 MB.
    images = 20_000
    log.write(job, (result(number) for number in range(images)), together=7)
    await call(http, "POST", f"{job}/close", 200, json={"images": images})
    stalled = connect_and_stall(server, job)

    async def cut_off() -> bool:
        return await metric(http, "convnet_server_label_readers") == 0

    async def reading() -> bool:
        return await metric(http, "convnet_server_label_readers") == 1

    await until_true(reading)
    # Others are not held up meanwhile.
    lines, _ = await stream(http, job)
    assert len(lines) == images
    await until_true(cut_off)
    got = await asyncio.to_thread(drain, stalled)
    ids = [int(line[4:]) for line in got.split(b"\n")[:-1] if line.startswith(b"id: ")]
    assert 0 < len(ids) < images
    # What came whole counts; the last event may have been cut in two.
    source = EventSource(http, f"{job}/labels", last_id=str(ids[-2]))
    rest, end = await source.all()
    assert [int(label["cursor"]) for label in rest] == [int(line["cursor"]) for line in lines][len(ids) - 1 :]
    assert end is not None
    assert end["end"] == "complete"


async def test_a_silent_stream_shows_that_it_lives(http: aiohttp.ClientSession, log: LabelLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.05)
    job = await open_job(http)
    log.write(job, [result(number) for number in range(5)])
    source = EventSource(http, f"{job}/labels")
    reading = asyncio.create_task(source.all(failed="true"))
    await until_async(lambda: source.comments > 3 and source.last_id, what="heartbeats that move the cursor")
    lines = asyncio.create_task(stream(http, job))
    await call(http, "POST", f"{job}/close", 200, json={"images": 5})
    # What was filtered out need not be looked at again after a break: the heartbeats have said so.
    everything, _ = await lines
    assert int(source.last_id) >= int(everything[-1]["cursor"])
    assert (await reading)[0] == []


async def test_one_too_many_who_catch_up_is_told_to_come_back(
    http: aiohttp.ClientSession, log: LabelLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    start = PartitionReader.start

    def slow(reader: PartitionReader, offset: int) -> None:
        go_on.wait(60)
        start(reader, offset)

    jobs: dict[int, list[str]] = {0: [], 1: []}
    while min(map(len, jobs.values())) < 2:
        job = await open_job(http)
        jobs[job_in(job)[1]].append(job)
    for job, other, *_ in jobs.values():
        # A reader makes the partition be read live. What comes while nobody reads the job is passed, and must be caught up on.
        await call(http, "GET", other, 200)
        log.write(job, [result(1)])
        log.write(other, [result(1)])
        assert (await call(http, "GET", f"{other}/labels", 200, params={"wait": "30"}))["labels"]
    first, second = jobs[0][0], jobs[1][0]
    monkeypatch.setattr(PartitionReader, "start", slow)
    try:
        waiting = asyncio.create_task(call(http, "GET", f"{first}/labels", 200))

        async def reading() -> bool:
            return await metric(http, "convnet_server_label_readers") == 1

        await until_true(reading)
        for headers in ({}, EVENTS, {"Accept": "application/x-ndjson"}):
            answer = await call(http, "GET", f"{second}/labels", 503, headers=headers)
            assert answer["type"] == "/problems/too-many-scans"
    finally:
        go_on.set()
    assert [label["name"] for label in (await waiting)["labels"]] == ["1.png"]

    async def room() -> bool:
        async with http.get(f"{second}/labels") as answer:
            return answer.status == 200

    await until_true(room)


async def test_followers_are_told_to_reconnect_and_one_that_does_not_read_holds_nobody_up(
    http: aiohttp.ClientSession, server: RunningServer, log: LabelLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LEAVING_S", 1.0)
    job = await open_job(http)
    log.write(job, (result(number) for number in range(20_000)), together=64)
    stalled = connect_and_stall(server, job)
    last = str(312 * 1000 + 999)  # of 313 records, the first of the topic
    sources = [EventSource(http, f"{job}/labels") for _ in range(3)]
    following = [asyncio.create_task(source.all()) for source in sources]
    await until_async(lambda: all(source.last_id == last for source in sources), 60, "all labels at those who read")
    server.ask_to_stop(hurry=True)
    for labels, end in await asyncio.gather(*following):
        assert len(labels) == 20_000
        assert end == {"end": "reconnect", "cursor": last, "total": None}
    # Far less than the minute that requests in progress would have been given.
    await asyncio.to_thread(server.join, 30)
    assert server.error is None
    assert b"event: end" not in await asyncio.to_thread(drain, stalled)


async def test_a_labels_topic_made_anew_ends_old_jobs_and_serves_new_ones(
    http: aiohttp.ClientSession, server: RunningServer, broker: LocalBroker, prefix: str
) -> None:
    with FakeClassifier(broker.bootstrap_servers, prefix):
        old = await open_job(http)
        await upload(http, old, {"old.png": png("old")})
        assert len((await call(http, "GET", f"{old}/labels", 200, params={"wait": "30"}))["labels"]) == 1
        following = asyncio.create_task(EventSource(http, f"{old}/labels").all())
        waiting = asyncio.create_task(http.get(f"{old}/labels", params={"wait": "60", "cursor": "1000000"}))

        async def reading() -> bool:
            return await metric(http, "convnet_server_label_readers") == 2

        await until_true(reading)
        topic = f"{prefix}.labels"
        client = admin(broker.bootstrap_servers)
        await asyncio.to_thread(client.delete_topics([topic])[topic].result, 20)

        def gone() -> bool:
            return topic not in client.list_topics(timeout=5).topics

        await until_async(gone)
        await asyncio.to_thread(make_topic, broker.bootstrap_servers, 2, topic)

        labels, end = await following
        assert (len(labels), end) == (1, {"end": "reconnect", "cursor": labels[0]["cursor"], "total": None})
        async with await waiting as answer:
            assert answer.status == 410
            assert json.loads(await answer.read())["type"] == "/problems/job-of-another-cluster"
        for method, path in (("GET", old), ("GET", f"{old}/labels"), ("POST", f"{old}/images"), ("POST", f"{old}/close")):
            options = {"data": png("x"), "headers": {"Content-Type": "image/png"}} if method == "POST" else {}
            assert (await call(http, method, path, 410, **options))["type"] == "/problems/job-of-another-cluster"

        await until_ready(http)
        # On every partition, those that were read before among them; a classifier's producer needs a moment to find the new topic.
        for number in range(6):
            job = await open_job(http)
            await upload(http, job, {f"{number}.png": png(f"new {number}")})
            await call(http, "POST", f"{job}/close", 200, json={"images": 1})
            lines, end = await stream(http, job)
            assert ([line["name"] for line in lines], end and end["end"]) == ([f"{number}.png"], "complete")
