"""Several callers of `POST /v1/classify` at once, each on a connection of its own, one call after the other: in a process of their own."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp

_BUSY = "fast-lane-busy"


@dataclass
class Calls:
    """What became of them.

    Attributes:
        seconds: of each that was answered, with all labels or without.
        late: of these, those without all labels: 202.
        refused: those answered 503 (`fast-lane-busy`) at once; the caller waited as long as it was told to, and called again.
    """

    seconds: list[float] = field(default_factory=list)
    late: int = 0
    refused: int = 0

    def add(self, others: Calls) -> None:
        """Take in those of another time."""
        self.seconds += others.seconds
        self.late += others.late
        self.refused += others.refused

    @property
    def refused_share(self) -> float:
        """Of all that were made."""
        return self.refused / max(1, self.refused + len(self.seconds))


def prepare_callers(server_url: str, files: Sequence[Path], content_type: str) -> Callable[[int, int, float], Calls]:
    """The work is to have so many callers call for so many seconds, with so many images a call."""
    from convnet_kafka.client.tarstream import END, member  # noqa: PLC0415 - only the callers' process needs it

    pictures = [(file.name, file.read_bytes()) for file in files]

    def bodies(images: int) -> Iterator[tuple[bytes, str]]:
        for first in itertools.count(step=images):
            chosen = [pictures[number % len(pictures)] for number in range(first, first + images)]
            if images == 1:
                yield chosen[0][1], content_type
            else:
                yield b"".join(member(name, content) for name, content in chosen) + END, "application/x-tar"

    def work(callers: int, images: int, seconds: float) -> Calls:
        return asyncio.run(_call(server_url, callers, bodies(images), time.monotonic() + seconds))

    return work


async def _call(server_url: str, callers: int, bodies: Iterator[tuple[bytes, str]], until: float) -> Calls:
    import aiohttp  # noqa: PLC0415 - only the callers' process needs it

    calls = Calls()
    connector = aiohttp.TCPConnector(limit=callers)
    async with aiohttp.ClientSession(server_url, connector=connector) as session, asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(_one_caller(session, bodies, until, calls))
    return calls


async def _one_caller(session: aiohttp.ClientSession, bodies: Iterator[tuple[bytes, str]], until: float, calls: Calls) -> None:
    while time.monotonic() < until:
        body, content_type = next(bodies)
        started = time.monotonic()
        async with session.post("/v1/classify", data=body, headers={"Content-Type": content_type}) as answer:
            text = await answer.text()
        if answer.status == 503 and _BUSY in text:
            calls.refused += 1
            await asyncio.sleep(max(0.0, min(float(answer.headers["Retry-After"]), until - time.monotonic())))
        elif answer.status in {200, 202}:
            calls.seconds.append(time.monotonic() - started)
            calls.late += answer.status == 202
        else:
            raise RuntimeError(f"classify answered {answer.status}: {text[:300]}")
