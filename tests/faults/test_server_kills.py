"""Servers that are killed while images are sent through whoever is left: the client ends by itself, and every image has one result."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from convnet_kafka.client import Client, Progress
from convnet_kafka.local.broker import LocalBroker
from support.fake_classifier import FakeClassifier
from support.ledger import read_ledger
from support.running_server import config
from support.server_pair import ServerPair
from support.server_process import ServerProcess

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def prefix() -> str:
    return f"kills-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def pair(broker: LocalBroker, prefix: str, tmp_path: Path) -> Iterator[ServerPair]:
    """Two servers behind a round robin, with a classifier that tells every label twice."""
    with ServerPair(config(tmp_path, broker.bootstrap_servers, prefix)) as servers:
        servers.until_ready()
        with FakeClassifier(broker.bootstrap_servers, prefix):
            yield servers


class Kills:
    """Pictures, and at even distances among them a `kill -9` of a server, the two by turns. It is started again on its port.

    Giving goes on while a server dies, so that requests are in progress then; before the next one is killed the last is back.
    """

    def __init__(self, servers: list[ServerProcess], images: int, kills: int) -> None:
        self._servers = servers
        self._images = images
        self._at = {round((number + 0.5) * images / kills) for number in range(kills)}
        self.killed: list[int] = []

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        with ThreadPoolExecutor(1) as threads:
            back: Future[None] | None = None
            for number in range(self._images):
                if number in self._at:
                    if back is not None:
                        back.result(120)
                    back = threads.submit(self._kill, self._servers[len(self.killed) % 2])
                yield f"{number % 50:02d}/{number:06d}.png", PNG + number.to_bytes(4, "big") + bytes(600)

    def _kill(self, server: ServerProcess) -> None:
        self.killed.append(server.pid)
        os.kill(server.pid, signal.SIGKILL)
        server.__exit__(None, None, None)
        server.__enter__()
        server.wait()


@pytest.mark.parametrize(
    ("images", "kills"),
    [
        pytest.param(5_000, 3, marks=pytest.mark.timeout(300)),
        pytest.param(50_000, 10, marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
)
async def test_an_upload_ends_by_itself_although_its_servers_are_killed(
    images: int, kills: int, pair: ServerPair, broker: LocalBroker, prefix: str
) -> None:
    source = Kills(pair.servers, images, kills)
    told: list[Progress] = []
    outcomes: dict[str, str | None] = {}
    async with Client(pair.url) as client:
        classification = client.classify(iter(source), on_progress=told.append)
        async for labels in classification.batches():
            for label in labels:
                assert label.name not in outcomes, f"{label.name} was told twice"
                outcomes[label.name] = label.label
        job = classification.job
        assert job is not None
        assert (await client.status(job))["complete"]

    assert len(set(source.killed)) == kills
    expected = {f"{number % 50:02d}/{number:06d}.png" for number in range(images)}
    assert outcomes.keys() == expected
    assert set(outcomes.values()) == {"seven"}
    assert (told[-1].accepted, told[-1].labelled, told[-1].failed) == (images, images, 0)
    await asyncio.to_thread(pair.until_ready)
    for server in pair.servers:
        ledger = await asyncio.to_thread(read_ledger, server.url, job, broker.bootstrap_servers, f"{prefix}.labels")
        assert ledger.by_http.keys() == expected
        assert set(ledger.by_http.values()) == {1}
        assert (ledger.total, len(ledger.records)) == (images, images)
