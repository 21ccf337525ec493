"""A folder of pictures, a server that misbehaves on request, and a client that retries without waiting."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from convnet_kafka.cli.main import main
from convnet_kafka.client import ClientOptions
from convnet_kafka.client.retry import RetryPolicy
from support.classifying import PNG
from support.fake_server import FakeServer


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder with so many pictures, all different."""

    def make(count: int, folder: str = "pictures") -> Path:
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        for number in range(count):
            (root / f"{number:04d}.png").write_bytes(PNG + folder.encode() + str(number).encode())
        return root

    return make


@pytest.fixture
def slept() -> list[float]:
    """The pauses that a client with `quick` options would have made."""
    return []


@pytest.fixture
def quick(slept: list[float]) -> ClientOptions:
    """Passes no time between tries, and gives up after 200 of them."""
    now = [0.0]

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += 1.0
        await asyncio.sleep(0)

    return ClientOptions(connections=2, retry=RetryPolicy(give_up_s=200, sleep=sleep, clock=lambda: now[0]))


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs `convnet-kafka` in this process as the console script does."""
    monkeypatch.setenv("COLUMNS", "300")
    for name in ("IMG_DIR", "SERVER_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["convnet-kafka", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Ran(ended.value.code or 0, captured.out, captured.err)

    return run
