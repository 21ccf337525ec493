"""A job against a server that misbehaves: every image gets one outcome, and the close count is exact."""

from __future__ import annotations

import asyncio
import gc
import itertools
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from convnet_kafka.client import (
    Client,
    ClientOptions,
    SourceError,
)
from convnet_kafka.client.errors import Refused
from convnet_kafka.client.retry import RetryPolicy
from convnet_kafka.errors import ServerError, SettingsError
from support.classifying import outcomes
from support.fake_server import FakeServer
from support.misbehaviour import Upload
from support.waiting import until_async

Pictures = Callable[..., Path]


async def test_every_image_gets_one_label_and_the_job_is_closed_with_their_number(
    server: FakeServer, quick: ClientOptions, pictures: Pictures
) -> None:
    labels = await outcomes(server, quick, pictures(1000))
    assert Counter(label.name for label in labels) == Counter(f"{number:04d}.png" for number in range(1000))
    assert {(label.label, label.confidence, label.model, label.error) for label in labels} == {("seven", 0.5, 3, None)}
    assert server.job.closes == [1000]
    assert server.requests["upload"] >= 3


async def test_refused_and_failed_images_are_named_and_only_accepted_ones_count(
    server: FakeServer, quick: ClientOptions, pictures: Pictures
) -> None:
    folder = pictures(5)
    (folder / "notes.txt").write_bytes(b"hello")
    (folder / "bad.png").write_bytes(b"\x89PNG")
    labels = {label.name: label for label in await outcomes(server, quick, folder)}
    assert (labels["notes.txt"].error, labels["notes.txt"].image) == ("unsupported", None)
    assert (labels["bad.png"].error, labels["bad.png"].detail) == ("undecodable", "broken")
    assert (len(labels), server.job.closes) == (7, [6])


async def test_a_job_of_refused_images_alone_ends(server: FakeServer, quick: ClientOptions, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"hello")
    (label,) = await outcomes(server, quick, tmp_path)
    assert (label.error, server.job.closes) == ("unsupported", [0])


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_busy_server_is_asked_again_no_sooner_than_it_says(
    server: FakeServer, quick: ClientOptions, pictures: Pictures, slept: list[float], status: int
) -> None:
    server.uploads.extend([Upload(status=status, headers={"Retry-After": "7"})] * 3)
    labels = await outcomes(server, quick, pictures(10))
    assert (len(labels), server.job.closes) == (10, [10])
    assert len([seconds for seconds in slept if 7 < seconds < 13]) == 3


@pytest.mark.parametrize("share", [0, 0.3, 1])
async def test_a_broken_upload_is_sent_again_whole_and_counts_once(
    server: FakeServer, quick: ClientOptions, pictures: Pictures, share: float
) -> None:
    server.uploads.extend([Upload(cut=share)] * 4)
    labels = await outcomes(server, quick, pictures(700))
    assert len({label.name for label in labels}) == len(labels) == 700
    assert server.job.closes == [700]


@pytest.mark.parametrize("stored", [True, False])
async def test_unknown_images_alone_are_sent_again(server: FakeServer, quick: ClientOptions, pictures: Pictures, stored: bool) -> None:
    server.label = lambda name: False
    server.uploads.extend([Upload(unknown=lambda name: name < "0010", store_unknown=stored)] * 2)
    server.on_upload = lambda: server.label_all() if server.requests["upload"] >= 2 else None
    labels = await outcomes(server, quick, pictures(100))
    assert (len(labels), server.job.closes) == (100, [100])
    assert server.members["0050.png"] == 1
    assert server.members["0001.png"] == 3


async def test_an_image_that_stays_unknown_is_given_up_by_name(server: FakeServer, quick: ClientOptions, pictures: Pictures) -> None:
    server.every_upload = Upload(unknown=lambda name: name == "0003.png")
    labels = await outcomes(server, quick, pictures(10))
    assert [label.name for label in labels if label.error == "not-accepted"] == ["0003.png"]
    assert (len(labels), server.job.closes, server.members["0003.png"]) == (10, [9], 8)


async def test_a_label_tells_that_an_unknown_image_was_stored(server: FakeServer, quick: ClientOptions, pictures: Pictures) -> None:
    server.every_upload = Upload(unknown=lambda name: True, store_unknown=True)
    labels = await outcomes(server, quick, pictures(10))
    # However it went, each name has a label at last, and the last close counts all of them.
    assert {label.name for label in labels if label.label} == {f"{number:04d}.png" for number in range(10)}
    assert server.job.closes[-1] == 10


@pytest.mark.parametrize(
    "lie",
    [
        {"accepted": 9, "refused": 0, "unknown": 0, "problems": []},
        {"accepted": 10, "refused": 0, "unknown": 0},
        {"accepted": 9, "refused": 1, "unknown": 0, "problems": [{"name": "other", "status": "refused", "code": "x", "detail": ""}]},
        {"accepted": "many", "refused": 0, "unknown": 0, "problems": []},
        {},
    ],
)
async def test_an_answer_that_does_not_account_for_every_image_is_not_believed(
    server: FakeServer, quick: ClientOptions, pictures: Pictures, lie: dict[str, object]
) -> None:
    server.uploads.append(Upload(lie=lie))
    labels = await outcomes(server, quick, pictures(10))
    assert (len(labels), server.job.closes, server.requests["upload"]) == (10, [10], 2)


async def test_a_request_too_large_for_somebody_on_the_way_is_split(server: FakeServer, quick: ClientOptions, pictures: Pictures) -> None:
    server.max_body = 20_000
    folder = pictures(300)
    (folder / "huge.png").write_bytes(b"\x89PNG" + bytes(30_000))
    labels = await outcomes(server, quick, folder)
    assert [label.name for label in labels if label.error == "too-large"] == ["huge.png"]
    assert (len(labels), server.job.closes) == (301, [300])


async def test_a_stream_that_breaks_at_any_byte_is_resumed_without_loss_or_repetition(
    server: FakeServer, quick: ClientOptions, pictures: Pictures
) -> None:
    server.streams.extend(range(1, 500, 3))
    labels = await outcomes(server, replace(quick, retry=replace(quick.retry, give_up_s=1000)), pictures(60))
    assert sorted(label.name for label in labels) == [f"{number:04d}.png" for number in range(60)]
    cursors = [int(cursor or 0) for cursor in server.cursors]
    assert cursors == sorted(cursors)
    assert len(cursors) > 20


async def test_a_server_that_goes_away_politely_is_followed_elsewhere(server: FakeServer, quick: ClientOptions, pictures: Pictures) -> None:
    server.streams.extend(["reconnect"] * 5)
    labels = await outcomes(server, quick, pictures(20))
    assert len(labels) == 20
    assert server.requests["stream"] == 6


@pytest.mark.parametrize("noise", ["\n\n\n", "no json\n", '{"name": "half"}\n', "[1]\n", '{"x": "' + "y" * 300_000])
async def test_noise_in_the_stream_harms_nothing(server: FakeServer, quick: ClientOptions, pictures: Pictures, noise: str) -> None:
    server.streams.append(noise)
    assert len(await outcomes(server, quick, pictures(20))) == 20


async def test_repeated_labels_are_told_once_and_strangers_not_at_all(server: FakeServer, quick: ClientOptions, pictures: Pictures) -> None:
    server.label = lambda name: False

    def repeat() -> None:
        for image, name in list(server.job.images.items()):
            line = {"image": image, "name": name, "revision": 0, "label": "one", "confidence": 1.0, "model": 1}
            for _ in range(3):
                server.add_line(server.job, dict(line))
            server.add_line(server.job, {**line, "name": "stranger"})

    server.later(0.05, repeat)
    labels = await outcomes(server, quick, pictures(5))
    assert [label.name for label in labels] == [f"{number:04d}.png" for number in range(5)]


async def test_a_replayed_image_is_told_again_with_its_revision(server: FakeServer, quick: ClientOptions, pictures: Pictures) -> None:
    folder = pictures(3)
    (folder / "bad.png").write_bytes(b"\x89PNG")
    server.label = lambda name: name != "0000.png"
    seen = []
    async with Client(server.url, quick) as client:
        async for label in client.classify([folder]):
            seen.append((label.name, label.revision, label.label))
            if label.name == "bad.png":
                server.replay("bad.png") if label.revision == 0 else server.label_all()
    assert [item for item in seen if item[0] == "bad.png"] == [("bad.png", 0, None), ("bad.png", 1, "seven")]
    assert len(seen) == 5


async def test_a_result_that_never_comes_is_named_as_missing(server: FakeServer, quick: ClientOptions, pictures: Pictures) -> None:
    server.label = lambda name: name != "0002.png"

    def pretend() -> None:
        line = {"image": "f" * 32, "name": "stranger", "revision": 0, "label": "one", "confidence": 1.0, "model": 1}
        server.add_line(server.job, line)

    server.later(0.05, pretend)
    labels = await outcomes(server, quick, pictures(5))
    assert [label.name for label in labels if label.error == "missing"] == ["0002.png"]
    assert len(labels) == 5


async def test_a_server_killed_and_started_again_in_mid_job_is_survived(server: FakeServer, pictures: Pictures) -> None:
    options = ClientOptions(connections=2, retry=RetryPolicy(give_up_s=30, first_pause_s=0.01, longest_pause_s=0.02))
    server.label = lambda name: False
    uploads = itertools.count()

    async def kill_and_start() -> None:
        for _ in range(3):
            seen = next(uploads)
            await until_async(lambda seen=seen: server.requests["upload"] > seen)
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
        server.label_all()

    folder = pictures(1500)
    async with asyncio.TaskGroup() as group:
        group.create_task(kill_and_start())
        labels = await outcomes(server, options, folder)
    assert len({label.name for label in labels}) == len(labels) == 1500
    assert server.job.closes[-1] == 1500


async def test_where_nobody_says_to_go_on_images_are_sent_without_asking(
    server: FakeServer, quick: ClientOptions, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convnet_kafka.client.api._CONTINUE_S", 0.2)
    server.never_continues = True
    labels = await outcomes(server, quick, pictures(5))
    assert [label.error for label in labels] == [None] * 5


async def test_a_server_that_stays_away_is_given_up_and_the_job_named(server: FakeServer, quick: ClientOptions, pictures: Pictures) -> None:
    server.every_upload = Upload(status=503)
    async with Client(server.url, replace(quick, retry=replace(quick.retry, give_up_s=5))) as client:
        classification = client.classify([pictures(5)])
        with pytest.raises(ServerError, match="503: not now"):
            async for _ in classification:
                pass
        assert classification.job == "job-1"


async def test_a_proxy_that_knows_no_way_for_a_moment_is_waited_for(server: FakeServer, quick: ClientOptions, pictures: Pictures) -> None:
    """So does Traefik's Ingress while all servers are away. Our own 404s are problems, and final."""
    server.uploads += [Upload(status=404, by_proxy=True), Upload(status=404, by_proxy=True)]
    assert [label.error for label in await outcomes(server, quick, pictures(5))] == [None] * 5


async def test_a_proxy_that_never_knew_a_way_is_told_at_once(
    server: FakeServer, quick: ClientOptions, pictures: Pictures, slept: list[float]
) -> None:
    server.opening.append(web.Response(status=404, text="404 page not found"))
    with pytest.raises(Refused, match="404"):
        await outcomes(server, quick, pictures(5))
    assert slept == []


async def test_an_unknown_job_ends_at_once(server: FakeServer, quick: ClientOptions, pictures: Pictures, slept: list[float]) -> None:
    with pytest.raises(ServerError, match="404") as ended:
        await outcomes(server, quick, pictures(5), job="forged")
    assert (ended.value.slug, slept) == ("job-unknown", [])


async def test_opening_waits_for_a_busy_server_but_not_for_one_that_is_not_there(
    server: FakeServer, quick: ClientOptions, pictures: Pictures, slept: list[float]
) -> None:
    server.opening.append(web.Response(status=503, headers={"Retry-After": "3"}))
    assert len(await outcomes(server, quick, pictures(5))) == 5
    assert [seconds for seconds in slept if seconds >= 3]
    server.stop()
    with pytest.raises(ServerError, match=r"cannot be reached: .*refused"):
        await outcomes(server, quick, pictures(5))


async def test_something_else_behind_the_address_is_named(server: FakeServer, quick: ClientOptions, pictures: Pictures) -> None:
    server.opening.append(web.Response(text="<html>", content_type="text/html"))
    with pytest.raises(ServerError, match="is not a convnet-kafka server"):
        await outcomes(server, quick, pictures(1))
    server.opening.append(web.Response(status=308, headers={"Location": "https://elsewhere"}))
    with pytest.raises(ServerError, match="points to https://elsewhere"):
        await outcomes(server, quick, pictures(1))
    with pytest.raises(SettingsError, match="http://"):
        Client("localhost:8080")


async def test_an_empty_folder_opens_no_job(server: FakeServer, quick: ClientOptions, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no files to send"):
        await outcomes(server, quick, tmp_path)
    assert server.requests["open"] == 0


async def test_leaving_early_closes_the_job_with_what_was_accepted(server: FakeServer, quick: ClientOptions, pictures: Pictures) -> None:
    server.label = lambda name: name == "0000.png"
    async with Client(server.url, quick) as client:
        async for _ in client.classify([pictures(600)]):
            break
    assert server.job.closes[-1] == len(server.job.images) > 0


async def test_many_jobs_at_once_do_not_wait_for_each_others_connections(server: FakeServer, quick: ClientOptions) -> None:
    async def one(client: Client, job: int) -> int:
        pictures = [(f"{job}-{number}.png", b"\x89PNG\r\n\x1a\n%d" % number) for number in range(300)]
        return len([label async for label in client.classify(iter(pictures))])

    async with Client(server.url, quick) as client, asyncio.timeout(60):
        assert await asyncio.gather(*(one(client, job) for job in range(12))) == [300] * 12


async def test_a_client_keeps_nothing_of_a_job_that_is_over(server: FakeServer, quick: ClientOptions) -> None:
    """Not even until somebody looks for garbage: few objects hold much here, so that Python sees no reason to look."""
    gc.collect()
    gc.disable()
    try:
        async with Client(server.url, quick) as client:
            kept = []
            for job in range(3):
                classification = client.classify((f"{job}-{number}.png", b"\x89PNG\r\n\x1a\n%d" % number) for number in range(3))
                assert len([label async for label in classification]) == 3
                kept += [weakref.ref(classification), weakref.ref(classification._sources), weakref.ref(classification._outcomes)]
                del classification
            await asyncio.sleep(0)
            assert [reference() for reference in kept[:6]] == [None] * 6
    finally:
        gc.enable()
