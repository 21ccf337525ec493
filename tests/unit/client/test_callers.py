"""What callers bring along: sources of their own, deadlines, callbacks, and the wish to stop early."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from convnet_kafka.client import (
    Client,
    ClientOptions,
    DeadlineExceeded,
    Label,
    Progress,
    SourceError,
)
from support.classifying import PNG, outcomes, take
from support.fake_server import FakeServer
from support.waiting import until, until_async

Pictures = Callable[..., Path]


async def test_pictures_that_the_callers_own_coroutine_makes_are_sent_as_they_come(server: FakeServer, quick: ClientOptions) -> None:
    async def camera() -> AsyncIterator[tuple[str, bytes]]:
        for number in range(1000):
            # Only when the first has its label come the others: what is there is sent, although more is to come.
            if number == 1:
                await until_async(lambda: server.jobs and server.job.lines)
            yield f"{number:04d}.png", PNG + str(number).encode()

    async with Client(server.url, quick) as client:
        labels = [label async for label in client.classify(camera())]
    assert Counter(label.name for label in labels) == Counter(f"{number:04d}.png" for number in range(1000))
    assert server.job.closes == [1000]


async def test_what_the_callers_own_code_raises_ends_the_job_with_what_was_accepted(server: FakeServer, quick: ClientOptions) -> None:
    def camera() -> Iterator[tuple[str, bytes]]:
        yield "1.png", PNG
        until_sent()
        raise ValueError("the camera is gone")

    def until_sent() -> None:
        until(lambda: server.jobs and server.job.lines)

    async with Client(server.url, quick) as client:
        with pytest.raises(ValueError, match="the camera is gone"):
            async for _ in client.classify(camera()):
                pass
    assert server.job.closes == [1]


async def test_leaving_early_does_not_wait_for_a_silent_source(server: FakeServer, quick: ClientOptions) -> None:
    async def silent() -> AsyncIterator[tuple[str, bytes]]:
        yield "1.png", PNG
        await asyncio.Event().wait()

    async with Client(server.url, quick) as client:
        async for _ in client.classify(silent()):
            break
    assert server.job.closes == [1]


async def test_the_callers_deadline_ends_it_and_closes_the_job_with_what_was_accepted(
    server: FakeServer, quick: ClientOptions, pictures: Pictures
) -> None:
    server.label = lambda name: name < "0005"
    seen: list[Label] = []
    async with Client(server.url, quick) as client:
        classification = client.classify([pictures(10)], timeout=2)
        with pytest.raises(DeadlineExceeded, match="within 2 s: 10 uploaded, 5 labelled"):
            await take(classification.batches(), seen)
    assert len(seen) == 5
    assert server.job.closes == [10]


async def test_a_callback_is_told_how_far_it_is_and_at_last_that_all_is_done(
    server: FakeServer, quick: ClientOptions, pictures: Pictures
) -> None:
    told: list[Progress] = []
    async with Client(server.url, quick) as client:
        async for _ in client.classify([pictures(50)], on_progress=told.append):
            pass
    assert (told[-1].found, told[-1].found_all, told[-1].accepted, told[-1].labelled, told[-1].failed) == (50, True, 50, 50, 0)
    assert told[-1].rate > 0
    assert [now.labelled for now in told] == sorted(now.labelled for now in told)


async def test_a_callback_that_fails_ends_the_iteration(server: FakeServer, quick: ClientOptions, pictures: Pictures) -> None:
    def broken(_progress: Progress) -> None:
        raise ValueError("no room on the screen")

    async with Client(server.url, quick) as client:
        with pytest.raises(ValueError, match="no room on the screen"):
            async for _ in client.classify([pictures(5)], on_progress=broken):
                pass


async def test_strictly_the_first_file_that_cannot_be_read_ends_it(server: FakeServer, quick: ClientOptions, pictures: Pictures) -> None:
    folder = pictures(5)
    (folder / "gone.png").symlink_to(folder / "nothing")
    assert [label.error for label in await outcomes(server, quick, folder) if label.error] == ["unreadable"]
    with pytest.raises(SourceError, match=r"gone\.png cannot be sent"):
        await outcomes(server, replace(quick, strict=True), folder)
    assert len(server.jobs) == 1
