"""For each module two servers behind a round robin and one fake classifier, on the shared Kafka, with topics of their own.

Every request of `http` makes a connection of its own, and so goes to the other server than the one before it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from convnet_kafka.local.broker import LocalBroker
from support.fake_classifier import FakeClassifier
from support.http import until_ready
from support.running_server import config
from support.server_pair import ServerPair


@pytest.fixture(scope="module")
def prefix() -> str:
    return f"server-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def server(broker: LocalBroker, prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerPair]:
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
    with ServerPair(settings) as running:
        yield running


@pytest.fixture(scope="module")
def classifier(server: ServerPair, broker: LocalBroker, prefix: str) -> Iterator[FakeClassifier]:
    with FakeClassifier(broker.bootstrap_servers, prefix) as running:
        yield running


@pytest.fixture
async def http(server: ServerPair) -> AsyncIterator[aiohttp.ClientSession]:
    """Through the round robin."""
    await asyncio.to_thread(server.until_ready)
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(server.url, connector=connector, timeout=aiohttp.ClientTimeout(total=40)) as session:
        yield session


@pytest.fixture
async def one(server: ServerPair) -> AsyncIterator[aiohttp.ClientSession]:
    """To one of the servers, for what belongs to a process."""
    async with aiohttp.ClientSession(server.servers[0].url, timeout=aiohttp.ClientTimeout(total=40)) as session:
        await until_ready(session)
        yield session
