"""Counters across `kill -9` of a classifier: they differ from what the client was told by one scrape interval's work at most."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from convnet.digits import DigitsFolders
from convnet_charts.rules.tuning import Tuning
from convnet_kafka.client import classify
from support.dashboards import boards, ready
from support.prometheus import Series
from support.waiting import until
from support.watched_stack import SCRAPE_S, WatchedStack

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
IMAGES = 20_000
# Slow enough that a kill falls into the middle of the work, and quick enough that batches stay large (40 ms of work at most).
SLOW = {"CONVNET_CLASSIFIER_BACKEND": "support.deadly_backend:load", "SLOW_BATCH_S": "0.01"}


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


def test_a_killed_classifier_takes_at_most_one_scrape_intervals_work_out_of_the_counters(
    digits: DigitsFolders, digits_models: Path, tmp_path: Path
) -> None:
    pictures = [path.read_bytes() for path in sorted(digits.test.rglob("*.png"))]
    folder = tmp_path / "job"
    folder.mkdir()
    for index in range(IMAGES):
        (folder / f"{index}.png").write_bytes(pictures[index % len(pictures)])
    told: Counter[str | None] = Counter()
    with WatchedStack(tmp_path, digits_models, [Tuning(scale=60, shortest_window_s=5)], SLOW) as stack:
        victim = stack.classifiers[0]
        began = time.time()

        def send() -> None:
            for label in classify([folder], server=stack.servers[0]):
                told[label.error] += 1

        sending = threading.Thread(target=send)
        sending.start()
        done = f'sum(convnet_classifier_images_total{{pod="{victim.name}"}})'
        until(lambda: stack.prometheus.value(done) > 500, 60, "the victim has worked")
        victim.end(signal.SIGKILL)
        victim.start()
        sending.join(300)
        assert not sending.is_alive()
        settled = time.time()
        until(lambda: stack.prometheus.value("timestamp(sum(up))") > settled + 2 * SCRAPE_S, 30, "two scrapes since")
        ended = time.time()
        assert told == {None: IMAGES}
        assert stack.prometheus.value('sum(convnet_server_images_total{outcome="accepted"})') == IMAGES
        # Raw samples, as they were scraped.
        series = stack.prometheus.now(f'convnet_classifier_images_total{{lane="bulk",result="labelled"}}[{int(ended - began) + 30}s]')
        counted = sum(risen(each) for each in series)
        repeated = stack.prometheus.value("sum(convnet_server_results_repeated_total)")
        interval = max(most_in_one_scrape(each) for each in series)
        missing = IMAGES + repeated - counted
        print(f"told {IMAGES}, counted {counted:.0f}, repeated {repeated:.0f}: {missing:.0f} missing of at most {interval:.0f}")
        assert 0 <= missing <= interval
        assert stack.prometheus.value("sum(convnet_classifier_images_alone_total)") > 0
        marks = {mark["name"]: mark["expr"] for mark in boards()["overview"]["annotations"]["list"]}
        assert stack.prometheus.over(ready(marks["Rebalanced"], interval="5s"), began, ended, SCRAPE_S)
