"""One server and one fake classifier for each module, on the shared Kafka, with topics of their own."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from convnet_kafka.local.broker import LocalBroker
from support.fake_classifier import FakeClassifier
from support.http import until_ready
from support.running_server import RunningServer, config


@pytest.fixture(scope="module")
def prefix() -> str:
    return f"server-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def server(broker: LocalBroker, prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder: Path = tmp_path_factory.mktemp("server")
    settings = config(
        folder,
        broker.bootstrap_servers,
        prefix,
        kafka={"max_image_bytes": 100_000},
        max_request_bytes=4 * 1024 * 1024,
        max_request_images=3000,
        max_uploads=2,
    )
    with RunningServer(settings) as running:
        yield running


@pytest.fixture(scope="module")
def classifier(server: RunningServer, broker: LocalBroker, prefix: str) -> Iterator[FakeClassifier]:
    with FakeClassifier(broker.bootstrap_servers, prefix) as running:
        yield running


@pytest.fixture
async def http(server: RunningServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(server.url, timeout=aiohttp.ClientTimeout(total=40)) as session:
        await until_ready(session)
        yield session
