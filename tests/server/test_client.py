"""The client against the real server on a real Kafka: the contract that its stand-in plays in the unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from convnet_kafka.client import Client, ClientOptions, Label
from convnet_kafka.client.retry import RetryPolicy
from convnet_kafka.errors import ServerError
from support.fake_classifier import FakeClassifier
from support.running_server import RunningServer

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


async def outcomes(server: RunningServer, path: Path, job: str | None = None) -> tuple[dict[str, Label], str]:
    async with Client(server.url, QUICK) as client:
        classification = client.classify([path], job=job)
        labels = [label async for label in classification]
        assert classification.job is not None
        assert len({label.name for label in labels}) == len(labels)
        return {label.name: label for label in labels}, classification.job


@pytest.mark.usefixtures("http", "classifier")
async def test_every_image_has_its_label_and_the_job_is_complete(server: RunningServer, tmp_path: Path) -> None:
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


async def test_leaving_early_and_going_on_in_the_same_job(server: RunningServer, classifier: FakeClassifier, tmp_path: Path) -> None:
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
async def test_one_image_on_the_fast_lane(server: RunningServer) -> None:
    async with Client(server.url, QUICK) as client:
        label = await client.classify_one(PNG + b"one", "one.png")
        assert (label.name, label.label) == ("one.png", "seven")
        with pytest.raises(ServerError, match="not a picture"):
            await client.classify_one(b"hello")


@pytest.mark.usefixtures("http")
async def test_a_forged_job_is_refused_at_once(server: RunningServer, tmp_path: Path) -> None:
    with pytest.raises(ServerError) as ended:
        await outcomes(server, write(tmp_path, 3), "forged")
    assert ended.value.slug == "job-unknown"
