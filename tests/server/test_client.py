"""The client against the real server on a real Kafka: the contract that its stand-in plays in the unit tests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from convnet_kafka.client import Client, ClientOptions, JobUnknown, Label, SyncClient
from convnet_kafka.client.retry import RetryPolicy
from convnet_kafka.errors import ServerError
from support.fake_classifier import FakeClassifier
from support.server_pair import ServerPair
from support.waiting import until_async

PNG = b"\x89PNG\r\n\x1a\n"
QUICK = ClientOptions(connections=2, retry=RetryPolicy(give_up_s=30, first_pause_s=0.01, longest_pause_s=0.05))


def write(folder: Path, count: int) -> Path:
    """So many pictures, all different; some in folders and under names that need a pax header."""
    for number in range(count):
        name = f"{'ü' * 60 if number % 50 == 1 else ''}{number:05d}.png"
        path = folder / str(number // 500) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG + number.to_bytes(4, "big"))
    return folder


async def outcomes(server: ServerPair, path: Path, job: str | None = None) -> tuple[dict[str, Label], str]:
    async with Client(server.url, QUICK) as client:
        classification = client.classify([path], job=job)
        labels = [label async for label in classification]
        assert classification.job is not None
        assert len({label.name for label in labels}) == len(labels)
        return {label.name: label for label in labels}, classification.job


@pytest.mark.usefixtures("http", "classifier")
async def test_every_image_has_its_label_and_the_job_is_complete(server: ServerPair, tmp_path: Path) -> None:
    folder = write(tmp_path, 3000)
    (folder / "bad.png").write_bytes(PNG + b"broken")
    (folder / "notes.txt").write_bytes(b"hello")
    (folder / "empty.png").write_bytes(b"")
    (folder / "large.png").write_bytes(PNG + bytes(200_000))
    labels, job = await outcomes(server, folder)
    assert len(labels) == 3004
    failed = {name: label.error for name, label in labels.items() if label.error}
    assert failed == {"bad.png": "undecodable", "notes.txt": "unsupported", "empty.png": "empty", "large.png": "too-large"}
    async with Client(server.url, QUICK) as client:
        status = await client.status(job)
        assert (status["total"], status["labelled"], status["failed"], status["complete"]) == (3001, 3000, 1, True)
        for wait in (True, False):
            again = [label async for chunk in client.results(job, wait=wait) for label in chunk]
            assert {label.name: label for label in again} == {name: label for name, label in labels.items() if label.image}


async def test_leaving_early_and_going_on_in_the_same_job(server: ServerPair, classifier: FakeClassifier, tmp_path: Path) -> None:
    folder = write(tmp_path, 2000)
    (folder / "held.png").write_bytes(PNG + b"hold")
    async with Client(server.url, QUICK) as client:
        classification = client.classify([folder])
        async for _ in classification.batches():
            break
    assert classification.job is not None
    classifier.release()
    labels, job = await outcomes(server, folder, classification.job)
    classifier.hold()
    assert len(labels) == 2001
    async with Client(server.url, QUICK) as client:
        assert (await client.status(job))["total"] == 2001


@pytest.mark.usefixtures("http", "classifier")
async def test_one_image_on_the_fast_lane(server: ServerPair) -> None:
    async with Client(server.url, QUICK) as client:
        label = await client.classify_one(PNG + b"one", "one.png")
        assert (label.name, label.label) == ("one.png", "seven")
        with pytest.raises(ServerError, match="not a picture"):
            await client.classify_one(b"hello")


@pytest.mark.usefixtures("http", "classifier")
async def test_a_few_images_on_the_fast_lane(server: ServerPair) -> None:
    given = [(f"{number}.png", PNG + str(number).encode()) for number in range(100)]
    given[7], given[8] = ("notes.txt", b"hello"), ("broken.png", PNG + b"broken")
    async with Client(server.url, QUICK) as client:
        labels = await client.classify_now(given)
    assert [label.name for label in labels] == [name for name, _ in given]
    assert (labels[7].error, labels[8].error) == ("unsupported", "undecodable")
    assert {label.label for label in labels[9:]} == {"seven"}


@pytest.mark.usefixtures("http")
async def test_a_fast_image_that_takes_its_time_is_told_later(server: ServerPair, classifier: FakeClassifier) -> None:
    async with Client(server.url, QUICK) as client:
        (late,) = await client.classify_now(("held.png", PNG + b"hold"), timeout=0.5)
        assert late.error == "missing"
        waiting = asyncio.create_task(client.classify_now(("later.png", PNG + b"hold more"), timeout=30))
        await until_async(lambda: any(b"hold more" in content for content in classifier.contents))
        classifier.release()
        assert [label.label for label in await waiting] == ["seven"]
    classifier.hold()


@pytest.mark.usefixtures("http", "classifier")
async def test_results_are_filtered_by_failure_and_confidence(server: ServerPair, tmp_path: Path) -> None:
    folder = write(tmp_path, 20)
    (folder / "broken.png").write_bytes(PNG + b"broken")
    _, job = await outcomes(server, folder)
    async with Client(server.url, QUICK) as client:
        for wait in (True, False):
            assert [label.name async for label in client.labels(job, wait=wait, failed=True)] == ["broken.png"]
            assert len([label async for label in client.labels(job, wait=wait, below=0.8)]) == 20
            assert [label async for label in client.labels(job, wait=wait, below=0.7)] == []


@pytest.mark.usefixtures("http", "classifier")
async def test_a_cancelled_job_takes_no_more_images(server: ServerPair, tmp_path: Path) -> None:
    _, job = await outcomes(server, write(tmp_path / "first", 3))
    async with Client(server.url, QUICK) as client:
        assert (await client.cancel(job))["state"] == "cancelled"
    for each in server.servers:
        # Each hears of it from Kafka.
        with SyncClient(each.url, QUICK) as one:
            await until_async(lambda one=one: one.status(job)["state"] == "cancelled")
    # Others than before: what the job has already has its label.
    (tmp_path / "second").mkdir()
    for number in range(3):
        (tmp_path / "second" / f"late-{number}.png").write_bytes(PNG + b"late %d" % number)
    labels, _ = await outcomes(server, tmp_path / "second", job)
    assert len(labels) == 3
    assert {label.error for label in labels.values()} == {"not-accepted"}


@pytest.mark.usefixtures("http", "classifier")
async def test_every_call_without_an_event_loop(server: ServerPair, tmp_path: Path) -> None:
    def work() -> None:
        with SyncClient(server.url, QUICK) as client:
            classification = client.classify(write(tmp_path, 50))
            assert {label.label for label in classification} == {"seven"}
            job = classification.job
            assert job is not None
            assert client.status(job)["complete"]
            assert len(list(client.labels(job))) == 50
            assert [label.label for label in client.classify_now(("1.png", PNG + b"now"))] == ["seven"]

    await asyncio.to_thread(work)


@pytest.mark.usefixtures("http")
async def test_a_forged_job_is_refused_at_once(server: ServerPair, tmp_path: Path) -> None:
    with pytest.raises(JobUnknown):
        await outcomes(server, write(tmp_path, 3), "forged")
