"""Reading results over HTTP: pages that resume, streams that end, and jobs that say how far they are."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from dataclasses import replace

import aiohttp
import pytest

from convnet_kafka.server.jobs import JobSigner
from support.fake_classifier import FakeClassifier
from support.http import call, open_job, png, stream, upload
from support.running_server import SIGNING_KEY
from support.waiting import until_true

LIFE_MS = 3 * 24 * 3_600_000
STREAM = {"Accept": "application/x-ndjson"}


async def pages(http: aiohttp.ClientSession, job: str, count: int, **query: str) -> list[dict[str, object]]:
    """All labels of a job, page after page."""
    found: list[dict[str, object]] = []
    cursor: dict[str, str] = {}
    async with asyncio.timeout(20):
        while len(found) < count:
            page = await call(http, "GET", f"{job}/labels", 200, params={"wait": "10", **query, **cursor})
            found += page["labels"]
            if page["cursor"] is not None:
                cursor = {"cursor": page["cursor"]}
            if page["labels"]:
                assert page["labels"][-1]["cursor"] == page["cursor"]
    return found


async def test_pages_of_any_size_give_every_label_once_in_the_documented_form(
    http: aiohttp.ClientSession, classifier: FakeClassifier
) -> None:
    job = await open_job(http)
    images = {f"{number}.png": png(f"page {number}") for number in range(50)} | {"bad.png": png("broken")}
    await upload(http, job, images)
    found = await pages(http, job, 51, limit="7")
    assert sorted(str(label["name"]) for label in found) == sorted(images)
    cursors = [int(str(label["cursor"])) for label in found]
    assert cursors == sorted(set(cursors))
    bad = next(label for label in found if label["name"] == "bad.png")
    assert (bad["error"], bad["detail"], bad["model"]) == ("undecodable", "it is broken", None)
    good = next(label for label in found if label["name"] == "1.png")
    assert set(good) == {
        *("cursor", "image", "name", "revision", "label", "confidence", "model", "lane", "submitted_at_ms", "labelled_at_ms"),
    }
    assert await pages(http, job, 51, limit="10000") == found
    middle = str(found[20]["cursor"])
    assert (await call(http, "GET", f"{job}/labels", 200, params={"cursor": middle, "wait": "10"}))["labels"] == found[21:]


async def test_a_page_waits_for_the_first_label_and_tells_when_the_job_is_complete(
    http: aiohttp.ClientSession, classifier: FakeClassifier
) -> None:
    job = await open_job(http)
    page = await call(http, "GET", f"{job}/labels", 200)
    assert page == {"labels": [], "cursor": None, "total": None, "complete": False}
    waiting = asyncio.create_task(call(http, "GET", f"{job}/labels", 200, params={"wait": "20"}))
    await upload(http, job, {"a.png": png("a")})
    page = await waiting
    assert [label["name"] for label in page["labels"]] == ["a.png"]
    await call(http, "POST", f"{job}/close", 200, json={"images": 1})
    started = time.monotonic()
    page = await call(http, "GET", f"{job}/labels", 200, params={"wait": "20", "cursor": page["cursor"]})
    assert (page["labels"], page["total"], page["complete"]) == ([], 1, True)
    assert time.monotonic() - started < 10, "a complete job is not waited for"
    page = await call(http, "GET", f"{job}/labels", 200, params={"expect": "1", "wait": "20"})
    assert len(page["labels"]) == 1
    assert page["complete"]


async def test_a_stream_shows_labels_as_they_come_and_ends_by_itself(http: aiohttp.ClientSession, classifier: FakeClassifier) -> None:
    job = await open_job(http)
    reading = asyncio.create_task(stream(http, job))
    for number in range(5):
        await upload(http, job, {f"{number}-{other}.png": png(f"live {number} {other}") for other in range(20)})
    await call(http, "POST", f"{job}/close", 200, json={"images": 100})
    lines, end = await reading
    assert len({line["image"] for line in lines}) == len(lines) == 100
    assert end == {"end": "complete", "cursor": lines[-1]["cursor"], "total": 100}
    # Again from the start, from the middle, and with a number of one's own.
    assert await stream(http, job) == (lines, end)
    assert await stream(http, job, cursor=lines[49]["cursor"]) == (lines[50:], end)
    assert (await stream(http, job, expect="100"))[1] == end


async def test_a_stream_that_breaks_off_is_resumed_without_a_gap_or_a_repetition(
    http: aiohttp.ClientSession, classifier: FakeClassifier
) -> None:
    job = await open_job(http)
    images = {f"{number}.png": png(f"broken off {number}") for number in range(300)}
    await upload(http, job, images)
    await call(http, "POST", f"{job}/close", 200, json={"images": 300})
    seen: list[str] = []
    query: dict[str, str] = {}
    async with asyncio.timeout(20):
        while len(seen) < 300:
            async with http.get(f"{job}/labels", params=query, headers=STREAM) as answer:
                for _ in range(37):
                    value = json.loads(await answer.content.readline() or b'{"end": "broken"}')
                    if "end" in value:
                        break
                    seen.append(value["name"])
                    query = {"cursor": value["cursor"]}
                answer.close()
    assert sorted(seen) == sorted(images)


async def test_a_job_says_how_far_it_is(http: aiohttp.ClientSession, classifier: FakeClassifier) -> None:
    job = await open_job(http)
    state = await call(http, "GET", job, 200)
    assert (state["state"], state["total"], state["labelled"], state["failed"], state["complete"]) == ("open", None, 0, 0, False)
    assert state["expires_at_ms"] - state["opened_at_ms"] == LIFE_MS
    await upload(http, job, {"a.png": png("a"), "b.png": png("broken b")})
    await pages(http, job, 2)

    async def counted() -> bool:
        # Another server may read a moment later.
        state = await call(http, "GET", job, 200)
        return (state["state"], state["labelled"], state["failed"]) == ("open", 1, 1)

    await until_true(counted)
    state = await call(http, "POST", f"{job}/close", 200, json={"images": 2})
    assert (state["state"], state["total"], state["complete"]) == ("closed", 2, True)
    assert await call(http, "POST", f"{job}/close", 200, json={"images": 1}) == state
    larger = await call(http, "POST", f"{job}/close", 200, json={"images": 3})
    assert (larger["total"], larger["complete"]) == (3, False)

    async def agreed() -> bool:
        return await call(http, "GET", job, 200) == larger

    await until_true(agreed)


async def test_a_job_of_no_images_is_complete_when_it_is_closed(http: aiohttp.ClientSession) -> None:
    job = await open_job(http)
    assert (await call(http, "POST", f"{job}/close", 200, json={"images": 0}))["complete"]
    assert await stream(http, job) == ([], {"end": "complete", "cursor": None, "total": 0})


@pytest.mark.parametrize(
    "query",
    ["cursor=x", "cursor=-1", "limit=0", "limit=10001", "wait=61", "wait=nan", "expect=1.5", "limit=٣", "failed=1", "below=2", "below=nan"],
)
async def test_a_wrong_parameter_is_named(http: aiohttp.ClientSession, query: str) -> None:
    answer = await call(http, "GET", f"{await open_job(http)}/labels?{query}", 400)
    assert answer["type"] == "/problems/bad-request"
    assert f"?{query.split('=', maxsplit=1)[0]}=" in answer["detail"]


@pytest.mark.parametrize(("method", "end"), [("GET", ""), ("GET", "/labels"), ("POST", "/close"), ("POST", "/images")])
async def test_no_call_serves_a_job_that_is_forged_expired_or_of_another_kafka(http: aiohttp.ClientSession, method: str, end: str) -> None:
    token = (await open_job(http)).rpartition("/")[2]
    # Signed with the server's own key: what differs is only what the job says. Its topic's UUID stands after 37 bytes.
    topic = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[37:53]
    signer = JobSigner([SIGNING_KEY], lambda: topic, LIFE_MS)
    job = signer.parse(token, "default")
    expired = signer.token(replace(job, opened_at_ms=job.opened_at_ms - LIFE_MS - 1))
    elsewhere = signer.token(replace(job, topic_id=b"x" * 16))
    foreign = signer.token(replace(job, tenant="somebody"))
    options = {"data": png("x"), "headers": {"Content-Type": "image/png"}} if method == "POST" else {}
    for wrong, status, slug in (
        (token[:-1], 404, "job-unknown"),
        (foreign, 404, "job-unknown"),
        (expired, 410, "job-expired"),
        (elsewhere, 410, "job-of-another-cluster"),
    ):
        answer = await call(http, method, f"/v1/jobs/{wrong}{end}", status, **options)
        assert answer["type"] == f"/problems/{slug}"
