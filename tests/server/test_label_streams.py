"""Streams of labels as browsers and programs read them, over two servers: events, resuming, filters, revisions, and what is no label."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from convnet_kafka.local.broker import LocalBroker
from support.fake_classifier import FakeClassifier
from support.http import call, open_job, png, stream, upload
from support.label_log import LabelLog, result
from support.sse import EventSource

EVENTS = {"Accept": "text/event-stream"}


@pytest.fixture(scope="module")
def log(broker: LocalBroker, prefix: str) -> LabelLog:
    return LabelLog(broker.bootstrap_servers, prefix)


async def close(http: aiohttp.ClientSession, job: str, images: int) -> None:
    await call(http, "POST", f"{job}/close", 200, json={"images": images})


async def pages(http: aiohttp.ClientSession, job: str, **query: str) -> tuple[list[str], str]:
    """Names on all pages until the job is complete, and the last cursor."""
    names: list[str] = []
    cursor: dict[str, str] = {}
    async with asyncio.timeout(30):
        while True:
            page = await call(http, "GET", f"{job}/labels", 200, params={"wait": "5", "limit": "9", **query, **cursor})
            names += [label["name"] for label in page["labels"]]
            if page["cursor"] is not None:
                cursor = {"cursor": page["cursor"]}
            if page["complete"]:
                return names, page["cursor"]


async def test_events_come_as_they_happen_and_say_how_far_the_job_is(http: aiohttp.ClientSession, classifier: FakeClassifier) -> None:
    job = await open_job(http)
    source = EventSource(http, f"{job}/labels")
    images = {f"{number}.png": png(f"sse {number}") for number in range(40)} | {"bad.png": png("broken")}
    sent = False
    seen: list[dict[str, object]] = []
    progress, end = {}, None
    async with asyncio.timeout(30):
        async for event in source.connect():
            assert end is None
            if not sent:
                # The stream was open before the first image was sent: the first event says how far an empty job is.
                assert (event.name, event.data) == ("progress", {"labelled": 0, "failed": 0, "total": None})
                sent = True
                await upload(http, job, images)
                await close(http, job, 41)
            elif event.name == "label":
                assert event.last_id == event.data["cursor"]
                seen.append(event.data)
            elif event.name == "progress":
                progress = event.data
            else:
                end = event.data
    assert sorted(str(label["name"]) for label in seen) == sorted(images)
    assert progress == {"labelled": 40, "failed": 1, "total": 41}
    assert end == {"end": "complete", "cursor": seen[-1]["cursor"], "total": 41}
    assert source.last_id == seen[-1]["cursor"]
    assert source.retry_ms is not None
    assert 1000 <= source.retry_ms <= 3000
    assert (source.headers["Cache-Control"], source.headers["X-Accel-Buffering"]) == ("no-store", "no")
    assert await stream(http, job) == (seen, end)


async def test_events_that_break_off_are_resumed_without_a_gap_or_a_repetition(
    http: aiohttp.ClientSession, classifier: FakeClassifier
) -> None:
    job = await open_job(http)
    images = {f"{number}.png": png(f"resumed {number}") for number in range(200)}
    await upload(http, job, images)
    await close(http, job, 200)
    source = EventSource(http, f"{job}/labels")
    seen: list[str] = []
    given: dict[str, str] = {}
    async with asyncio.timeout(30):
        while len(seen) < 200:
            taken = 0
            async for event in source.connect(**given):
                if event.name == "label":
                    seen.append(event.data["name"])
                    # A browser repeats the URL it was given, old cursor and all: what it saw last counts.
                    given = given or {"cursor": event.last_id}
                    taken += 1
                if taken == 37:
                    break
    assert sorted(seen) == sorted(images)
    # The job is complete and all was told: the browser is to stay away.
    assert await source.all() == ([], None)
    assert source.status == 204
    # Who asks without having seen anything gets it all again.
    labels, end = await EventSource(http, f"{job}/labels").all()
    assert len(labels) == 200
    assert end is not None
    assert end["end"] == "complete"


@pytest.mark.parametrize("identity", ["x", "-1", "1.5", "99999999999999999999"])
async def test_a_wrong_last_event_id_is_named(http: aiohttp.ClientSession, identity: str) -> None:
    headers = EVENTS | {"Last-Event-ID": identity}
    answer = await call(http, "GET", f"{await open_job(http)}/labels", 400, headers=headers)
    assert answer["type"] == "/problems/bad-request"
    assert "Last-Event-ID" in answer["detail"]


async def test_filters_show_less_on_pages_and_streams_and_change_no_count(http: aiohttp.ClientSession, log: LabelLog) -> None:
    job = await open_job(http)
    results = [result(number, confidence=number / 100, error="undecodable" if number % 10 == 7 else None) for number in range(100)]
    log.write(job, results)
    await close(http, job, 100)
    failed = [f"{number}.png" for number in range(100) if number % 10 == 7]
    unsure = [f"{number}.png" for number in range(60) if number % 10 != 7]
    labelled = [f"{number}.png" for number in range(100) if number % 10 != 7]
    whole, _ = await stream(http, job)
    last = whole[-1]["cursor"]
    for query, expected in (({"failed": "true"}, failed), ({"below": "0.6"}, unsure), ({"failed": "false"}, labelled)):
        names, cursor = await pages(http, job, **query)
        assert names == expected
        assert int(cursor) >= int(last)
        lines, end = await stream(http, job, **query)
        events, event_end = await EventSource(http, f"{job}/labels").all(**query)
        assert [label["name"] for label in lines] == [label["name"] for label in events] == expected
        assert end is not None
        assert event_end is not None
        # Nothing that was filtered out is looked at again with the cursor of the end.
        assert (end["end"], end["total"]) == (event_end["end"], event_end["total"]) == ("complete", 100)
        assert int(end["cursor"]) >= int(last)
        assert await stream(http, job, **query, cursor=end["cursor"]) == ([], end)
    # `expect` counts images too, not what is shown.
    page = await call(http, "GET", f"{job}/labels", 200, params={"failed": "true", "expect": "100", "wait": "10"})
    assert (len(page["labels"]), page["complete"]) == (10, True)


async def test_a_revision_is_a_later_event_and_counts_take_the_highest(http: aiohttp.ClientSession, log: LabelLog) -> None:
    job = await open_job(http)
    log.write(job, [result(1, error="model-error"), result(2)])
    await close(http, job, 2)
    first, end = await stream(http, job)
    assert [label["revision"] for label in first] == [0, 0]
    log.write(job, [result(1, revision=1), result(1, revision=1, error="model-error")])
    assert end is not None
    async with asyncio.timeout(20):
        while not (page := await call(http, "GET", f"{job}/labels", 200, params={"cursor": end["cursor"], "wait": "5"}))["labels"]:
            pass
    assert [(label["name"], label["revision"], label.get("error")) for label in page["labels"]] == [("1.png", 1, None)]
    state = await call(http, "GET", job, 200)
    assert (state["labelled"] + state["failed"], state["total"], state["complete"]) == (2, 2, True)


async def test_a_record_that_is_no_json_object_is_passed_over_by_every_reader(http: aiohttp.ClientSession, log: LabelLog) -> None:
    job = await open_job(http)
    for value in (b"rubbish", b"", b"[1]", b'{"cut', b"{}", b'{"a":1}\nevent: end\ndata: {}\n'):
        log.write_raw(job, f"{1:032x}", value)
    log.write_raw(job, f"{1:032x}", json.dumps(result(1), indent=2).encode())
    log.flush()
    await close(http, job, 1)
    lines, end = await stream(http, job)
    assert lines == [{"cursor": lines[0]["cursor"], **result(1)}]
    assert await EventSource(http, f"{job}/labels").all() == (lines, end)
    assert (await call(http, "GET", f"{job}/labels", 200, params={"wait": "10"}))["labels"] == lines
    state = await call(http, "GET", job, 200)
    assert (state["labelled"], state["failed"]) == (1, 0)
