"""The promise, with real kills: every image answered as accepted has exactly one result, whatever dies in between."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from convnet.digits import DigitsFolders
from convnet_kafka.client import Client
from convnet_kafka.client.label import Label
from convnet_kafka.local.stack import Stack, StackOptions
from support.ledger import read_ledger
from support.scraping import Prometheus, growth
from support.waiting import until, until_async, until_ready

IMAGES = 20_000
# Far enough in that images are on every stretch of the way, and far enough from the end that much is left to lose.
KILL_AT = (4_000, 10_000)
TOPIC = "convnet.labels"


@pytest.fixture(scope="module")
def pictures(digits: DigitsFolders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20,000 files: the held-out digits again and again, each under a name of its own, and a few that are no pictures."""
    folder = tmp_path_factory.mktemp("stream")
    originals = sorted(digits.test.rglob("*.png"))
    for number in range(IMAGES - 2):
        file = folder / f"{number % 20:02d}" / f"{number:06d}.png"
        file.parent.mkdir(exist_ok=True)
        os.link(originals[number % len(originals)], file)
    (folder / "notes.txt").write_text("not a picture")
    (folder / "truncated.png").write_bytes(originals[0].read_bytes()[:60])
    return folder


@pytest.fixture(scope="module")
def stack(digits_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One for all tests here: what is killed comes back, and the next test finds it as it was left."""
    data = tmp_path_factory.mktemp("stack") / "data"
    options = StackOptions(models=digits_models, data=data, classifiers=2, broker_jvm_flags=("-XX:TieredStopAtLevel=1",))
    with Stack(options) as running:
        yield running


async def stream(stack: Stack, folder: Path, kill: Callable[[], None]) -> tuple[str, dict[str, Label]]:
    """Classify a folder with the client library, killing along the way; the outcome of each file by name."""
    outcomes: dict[str, Label] = {}
    due = list(KILL_AT)
    async with Client(stack.server_url) as client:
        classification = client.classify([folder])
        async for label in classification:
            assert label.name not in outcomes, f"{label.name} was told twice"
            outcomes[label.name] = label
            if due and len(outcomes) >= due[0]:
                due.pop(0)
                await asyncio.to_thread(kill)
        assert classification.job is not None
        return classification.job, outcomes


def kill_one(stack: Stack, victim: str) -> Callable[[], None]:
    """`kill -9`, and wait until the supervisor has brought it back."""

    def kill() -> None:
        dead = stack.kill(victim)
        until(lambda: stack.processes.get(victim, dead) != dead, 60, f"{victim} being back")

    return kill


def names(folder: Path) -> set[str]:
    """What a client calls the files of a folder."""
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("victim", ["classifier-1", "server", "broker"])
async def test_every_accepted_image_has_one_result_although_it_is_killed(victim: str, stack: Stack, pictures: Path) -> None:
    job, outcomes = await stream(stack, pictures, kill_one(stack, victim))

    files = names(pictures)
    assert outcomes.keys() == files
    without_label = {name: label.error for name, label in outcomes.items() if label.error is not None}
    assert without_label == {"notes.txt": "unsupported", "truncated.png": "undecodable"}

    await until_async(lambda: stack.processes.keys() >= {"broker", "server", "classifier-1"})
    # The last one killed may be a process already and not listen yet, while the client had all it wanted and ended.
    await asyncio.to_thread(until_ready, stack.server_url)
    ledger = await asyncio.to_thread(read_ledger, stack.server_url, job, stack.bootstrap_servers, TOPIC)
    accepted = files - {"notes.txt"}
    assert ledger.by_http.keys() == accepted
    assert set(ledger.by_http.values()) == {1}
    assert ledger.total == len(accepted)
    assert len(ledger.records) == len(accepted)
    assert {name: label.label for name, label in outcomes.items() if name in accepted} == ledger.answers


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_the_books_of_the_metrics_balance_across_a_kill(stack: Stack, pictures: Path) -> None:
    classifiers = [stack.urls[name] for name in ("classifier-1", "classifier-2")]
    repeated = growth([stack.urls["server"]], "convnet_server_results_repeated_total")
    with Prometheus(classifiers, "convnet_classifier_images_total", every_s=0.25) as prometheus:
        job, _ = await stream(stack, pictures, kill_one(stack, "classifier-1"))
        ledger = await asyncio.to_thread(read_ledger, stack.server_url, job, stack.bootstrap_servers, TOPIC)
    results = sum(ledger.records.values())
    # What a killed one did after its last scrape nobody knows; all else is counted.
    assert abs(prometheus.look() - results) <= 2 * prometheus.most_in_an_interval
    assert repeated() == results - len(ledger.records)


@pytest.mark.timeout(400)
async def test_sending_everything_again_in_other_chunks_adds_no_result(stack: Stack, pictures: Path) -> None:
    folder = pictures / "00"
    async with Client(stack.server_url) as client:
        first = client.classify([folder])
        labels = {label.name: label async for label in first}
        assert first.job is not None
        files = sorted(folder.iterdir(), reverse=True)
        for chunk in (files[:300], files[300:]):
            again = client.classify(chunk, job=first.job)
            assert {label.name for label in [label async for label in again]} == {file.name for file in chunk}
    ledger = await asyncio.to_thread(read_ledger, stack.server_url, first.job, stack.bootstrap_servers, TOPIC)
    assert ledger.by_http.keys() == labels.keys()
    assert set(ledger.by_http.values()) == {1}
