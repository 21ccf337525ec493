"""What tests of the client do again and again: send what lies at some paths, and take all there is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from convnet_kafka.client import Client, ClientOptions, Label
from support.fake_server import FakeServer

PNG = b"\x89PNG\r\n\x1a\n"


async def outcomes(server: FakeServer, options: ClientOptions, *paths: Path, job: str | None = None) -> list[Label]:
    async with Client(server.url, options) as client:
        return [label async for label in client.classify(paths, job=job)]


async def take(lists: AsyncIterator[list[Label]], into: list[Label]) -> None:
    """All there is; what came stays when it ends with an error."""
    async for labels in lists:
        into.extend(labels)
