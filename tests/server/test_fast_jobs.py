"""Jobs on the fast lane: opened there for good, small requests, held back before people wait behind them."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from convnet_kafka.client import Client, ClientOptions
from convnet_kafka.client.retry import RetryPolicy
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.server.fastlane import MOST_IMAGES, UNJUDGED_IMAGES
from support.fake_classifier import FakeClassifier
from support.http import TAR, call, png, stream, tar, upload
from support.server_pair import ServerPair
from support.waiting import until_true

QUICK = ClientOptions(connections=2, retry=RetryPolicy(give_up_s=30, first_pause_s=0.01, longest_pause_s=0.05))


async def open_fast(http: aiohttp.ClientSession) -> str:
    opened = await call(http, "POST", "/v1/jobs?lane=fast", 201)
    assert opened["lane"] == "fast"
    return f"/v1/jobs/{opened['job']}"


def pictures(first: int, count: int = MOST_IMAGES) -> dict[str, bytes]:
    return {f"{number}.png": png(f"fast {number}") for number in range(first, first + count)}


async def test_a_job_that_sends_more_than_is_done_is_held_back_until_it_is(
    one: aiohttp.ClientSession, broker: LocalBroker, prefix: str
) -> None:
    job = await open_fast(one)
    for first in range(0, UNJUDGED_IMAGES, MOST_IMAGES):
        assert (await upload(one, job, pictures(first)))["accepted"] == MOST_IMAGES
    async with one.post(f"{job}/images", data=tar(pictures(UNJUDGED_IMAGES)), headers=TAR) as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert (await answer.json(content_type="application/problem+json"))["type"] == "/problems/fast-lane-busy"
    # Who opens a job on the bulk lane is none of its business.
    bulk = f"/v1/jobs/{(await call(one, 'POST', '/v1/jobs', 201))['job']}"
    assert (await upload(one, bulk, pictures(0)))["accepted"] == MOST_IMAGES
    with FakeClassifier(broker.bootstrap_servers, prefix):

        async def taken() -> bool:
            async with one.post(f"{job}/images", data=tar(pictures(UNJUDGED_IMAGES)), headers=TAR) as answer:
                return answer.status == 202

        await until_true(taken)
        await call(one, "POST", f"{job}/close", 200, json={"images": UNJUDGED_IMAGES + MOST_IMAGES})
        lines, end = await stream(one, job)
    assert end is not None
    assert end["end"] == "complete"
    assert {line["lane"] for line in lines} == {"fast"}


async def test_the_lane_is_the_jobs_whichever_server_is_asked(http: aiohttp.ClientSession, classifier: FakeClassifier) -> None:
    job = await open_fast(http)
    for first in (0, 10):  # each by another server
        await upload(http, job, pictures(first, 10))
    shown = await call(http, "POST", f"{job}/close", 200, json={"images": 20})
    assert shown["lane"] == "fast"
    lines, _ = await stream(http, job)
    assert [line["lane"] for line in lines] == ["fast"] * 20
    assert (await call(http, "GET", job, 200))["lane"] == "fast"


async def test_requests_to_it_are_small_and_there_are_two_lanes(http: aiohttp.ClientSession) -> None:
    job = await open_fast(http)
    problem = await call(http, "POST", f"{job}/images", 413, data=tar(pictures(0, MOST_IMAGES + 1)), headers=TAR)
    assert problem["type"] == "/problems/too-large"
    assert problem["accepted"] <= MOST_IMAGES
    assert "bulk or fast" in (await call(http, "POST", "/v1/jobs?lane=express", 400))["detail"]


async def test_the_client_sends_a_job_on_the_fast_lane_and_goes_on_with_it(
    server: ServerPair, http: aiohttp.ClientSession, classifier: FakeClassifier, tmp_path: Path
) -> None:
    for name, content in pictures(0, 350).items():
        (tmp_path / name).write_bytes(content)
    async with Client(server.url, QUICK) as client:
        first = client.classify([tmp_path], lane="fast")
        labels = [label async for label in first]
        assert len(labels) == 350
        assert {label.label for label in labels} == {"seven"}
        assert first.job is not None
        assert (await client.status(first.job))["lane"] == "fast"
        # It does not know that job's lane, and finds out what it takes.
        again = [label async for label in client.classify([tmp_path], job=first.job)]
        assert len(again) == 350


async def test_opening_a_job_counts_for_its_lane(one: aiohttp.ClientSession) -> None:
    """A job that cannot be opened is an upload that cannot begin: the objective of availability must see it."""
    await open_fast(one)
    await call(one, "POST", "/v1/jobs", 201)
    async with one.get("/metrics") as answer:
        metrics = await answer.text()
    for lane in ("bulk", "fast"):
        assert f'convnet_server_requests_total{{lane="{lane}",route="/v1/jobs",status="201"}}' in metrics
