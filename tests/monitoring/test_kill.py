"""Counters across `kill -9` of a classifier: they differ from what Kafka holds by one scrape interval's work at most."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from convnet.digits import DigitsFolders
from convnet_charts.rules.tuning import Tuning
from convnet_kafka.client import Client
from support.dashboards import boards, ready
from support.ledger import read_ledger
from support.prometheus import Series
from support.scraping import Scrape
from support.waiting import until
from support.watched_stack import SCRAPE_S, WatchedStack

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
IMAGES = 20_000
# Slow enough that a kill falls into the middle of the work, and quick enough that batches stay large (40 ms of work at most).
SLOW = {"CONVNET_CLASSIFIER_BACKEND": "support.deadly_backend:load", "SLOW_BATCH_S": "0.01"}
COUNTER = "convnet_classifier_images_total"
# A largest batch: as much as even a very busy machine does between two scrapes.
UNSEEN = 64
LOOK_S = 0.05


def risen(series: Series) -> float:
    """By how much a counter rose in all, over its restarts."""
    total, last = 0.0, 0.0
    for _, value in series.points:
        total += value - last if value >= last else value
        last = value
    return total


def most_in_one_scrape(series: Series) -> float:
    """The most that a counter rose by between two scrapes."""
    values = [value for _, value in series.points]
    return max((after - before for before, after in pairwise(values) if after >= before), default=0.0)


async def classified(server: str, folder: Path) -> tuple[str, Counter[str | None]]:
    """Classify a folder; the job, and how often each error was told, None for a label."""
    async with Client(server) as client:
        classification = client.classify([folder])
        told = Counter([label.error async for label in classification])
        assert classification.job is not None
        return classification.job, told


def kill_between_scrapes(stack: WatchedStack) -> None:
    """Kill a classifier that has done what no scrape has seen yet, and start it again."""
    victim = stack.classifiers[0]

    def ahead() -> bool:
        seen = stack.prometheus.value(f'sum({COUNTER}{{pod="{victim.name}"}})')
        return seen > 0 and Scrape.of(victim.url).value(COUNTER) >= seen + UNSEEN

    until(ahead, 120, "the victim being ahead of its last scrape", LOOK_S)
    victim.end(signal.SIGKILL)
    victim.start()


def wait_scraped(stack: WatchedStack) -> None:
    """Until every target was scraped once more, and answered."""
    now = time.time()
    ask = stack.prometheus.value
    until(lambda: ask("min(timestamp(up))") > now and ask("min(up)") == 1, 30, "a scrape of every target", LOOK_S)


def wait_drained(stack: WatchedStack) -> None:
    """Until nothing is redelivered any more."""
    wait_scraped(stack)
    until(lambda: stack.prometheus.value("max(convnet_server_backlog_images)") == 0, 60, "an empty backlog", LOOK_S)
    wait_scraped(stack)


async def test_a_killed_classifier_takes_at_most_one_scrape_intervals_work_out_of_the_counters(
    digits: DigitsFolders, digits_models: Path, tmp_path: Path
) -> None:
    pictures = [path.read_bytes() for path in sorted(digits.test.rglob("*.png"))]
    folder = tmp_path / "job"
    folder.mkdir()
    for index in range(IMAGES):
        (folder / f"{index}.png").write_bytes(pictures[index % len(pictures)])
    with WatchedStack(tmp_path, digits_models, [Tuning(scale=60, shortest_window_s=5)], SLOW) as stack:
        ask = stack.prometheus.value
        began = time.time()
        sending = asyncio.create_task(classified(stack.servers[0], folder))
        await asyncio.to_thread(kill_between_scrapes, stack)
        job, told = await asyncio.wait_for(sending, 300)
        await asyncio.to_thread(wait_drained, stack)
        assert told == {None: IMAGES}
        assert ask('sum(convnet_server_images_total{outcome="accepted"})') == IMAGES

        # The other server reads the whole job, and so counts every result that came again.
        ledger = await asyncio.to_thread(read_ledger, stack.servers[1], job, stack.stack.bootstrap_servers, "convnet.labels")
        await asyncio.to_thread(wait_scraped, stack)
        assert ledger.by_http.total() == len(ledger.records) == IMAGES
        results = sum(ledger.records.values())
        repeated = ask('convnet_server_results_repeated_total{pod="server-2"}')
        assert repeated == results - IMAGES > 0

        # Raw samples, as they were scraped.
        ended = time.time()
        series = stack.prometheus.now(f'{COUNTER}{{lane="bulk",result="labelled"}}[{int(ended - began) + 30}s]')
        counted = sum(risen(each) for each in series)
        interval = max(most_in_one_scrape(each) for each in series)
        missing = results - counted
        print(f"{IMAGES} images, {results} results, {repeated:.0f} of them again; {missing:.0f} not counted, of at most {interval:.0f}")
        assert abs(missing) <= interval
        marks = {mark["name"]: mark["expr"] for mark in boards()["overview"]["annotations"]["list"]}
        assert stack.prometheus.over(ready(marks["Rebalanced"], interval="5s"), began, ended, SCRAPE_S)
