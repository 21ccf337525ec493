"""A job from outside: sent into again, read, filtered and cancelled."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from convnet_kafka.client import (
    Client,
    ClientOptions,
    DeadlineExceeded,
    Label,
)
from convnet_kafka.errors import SettingsError
from support.classifying import PNG, outcomes, take
from support.fake_server import FakeServer
from support.waiting import until_async

Pictures = Callable[..., Path]


async def test_a_broken_off_upload_goes_on_in_its_job(server: FakeServer, quick: ClientOptions, pictures: Pictures) -> None:
    folder = pictures(600)
    async with Client(server.url, quick) as client:
        async for _ in client.classify([folder]):
            break
    labels = await outcomes(server, quick, folder, job="job-1")
    assert Counter(label.name for label in labels) == Counter(f"{number:04d}.png" for number in range(600))
    assert (server.job.closes[-1], len(server.job.images)) == (600, 600)


async def test_sending_more_into_a_job_counts_what_others_sent(server: FakeServer, quick: ClientOptions, pictures: Pictures) -> None:
    await outcomes(server, quick, pictures(10, "first"))
    (pictures(1, "second") / "other.png").write_bytes(b"\x89PNG other")
    labels = await outcomes(server, quick, pictures(0, "second") / "other.png", job="job-1")
    assert [label.name for label in labels] == ["other.png"]
    assert server.job.closes == [10, 11]


async def test_results_are_read_from_the_start_with_and_without_waiting(
    server: FakeServer, quick: ClientOptions, pictures: Pictures
) -> None:
    await outcomes(server, quick, pictures(10))
    server.streams.extend([400, "reconnect"])
    async with Client(server.url, quick) as client:
        for wait in (True, False):
            names = [label.name async for labels in client.results("job-1", wait=wait) for label in labels]
            assert names == [f"{number:04d}.png" for number in range(10)]


async def test_a_cancelled_job_gives_what_it_has_and_takes_no_more(server: FakeServer, quick: ClientOptions) -> None:
    server.label = lambda name: name == "0.png"

    async def camera() -> AsyncIterator[tuple[str, bytes]]:
        for number in itertools.count():
            yield f"{number}.png", PNG + str(number).encode()
            if number == 9:
                await until_async(lambda: server.jobs and len(server.job.images) == 10)
            if number > 9:
                await asyncio.Event().wait()

    seen: dict[str, Label] = {}
    async with Client(server.url, quick) as client:
        classification = client.classify(camera())
        async for label in classification:
            if not seen:
                await until_async(lambda: len(server.job.images) >= 10)
                await classification.cancel()
            seen[label.name] = label
    assert seen["0.png"].label == "seven"
    assert {seen[f"{number}.png"].error for number in range(1, 10)} == {"cancelled"}
    assert server.job.closes[-1] == len(server.job.images) == len([label for label in seen.values() if label.image])


async def test_a_job_that_somebody_else_cancels_ends_by_itself(server: FakeServer, quick: ClientOptions, pictures: Pictures) -> None:
    server.label = lambda name: name == "0000.png"
    async with Client(server.url, quick) as client, Client(server.url, quick) as other:
        classification = client.classify([pictures(1000)])
        seen = {}
        async for label in classification:
            if not seen:
                assert classification.job is not None
                assert (await other.cancel(classification.job))["state"] == "cancelled"
            seen[label.name] = label
    assert server.job.images.keys() == {label.image for label in seen.values() if label.image}
    assert server.job.closes == [len(server.job.images)]


@pytest.mark.parametrize("knows_filters", [True, False])
async def test_only_the_results_that_are_wanted(server: FakeServer, quick: ClientOptions, pictures: Pictures, knows_filters: bool) -> None:
    server.knows_filters = knows_filters
    folder = pictures(10)
    (folder / "bad.png").write_bytes(b"\x89PNG")
    await outcomes(server, quick, folder)
    async with Client(server.url, quick) as client:
        for wait in (True, False):
            assert [label.name async for label in client.labels("job-1", wait=wait, failed=True)] == ["bad.png"]
            assert len([label async for label in client.labels("job-1", wait=wait, failed=False)]) == 10
            assert len([label async for label in client.labels("job-1", wait=wait, below=0.6)]) == 10
            assert [label async for label in client.labels("job-1", wait=wait, below=0.5)] == []
        with pytest.raises(SettingsError, match="from 0 to 1"):
            await anext(client.labels("job-1", below=60))


async def test_results_end_with_the_callers_deadline(server: FakeServer, quick: ClientOptions, pictures: Pictures) -> None:
    await outcomes(server, quick, pictures(3))
    server.job.closes.clear()
    seen: list[Label] = []
    async with Client(server.url, quick) as client:
        with pytest.raises(DeadlineExceeded):
            await take(client.results("job-1", timeout=1), seen)
    assert len(seen) == 3
