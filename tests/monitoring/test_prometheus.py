"""Panels and recording rules on a real Prometheus that scrapes two servers, two classifiers and Kafka under load.

Counters must say what the client was told, to the image.
"""

from __future__ import annotations

import itertools
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from conftest import SHORT_LIVED
from convnet.digits import DigitsFolders
from convnet_charts.rules.tuning import Tuning
from convnet_kafka.client import classify
from support.dashboards import Panel, boards, panels, ready
from support.exposition import Exposition, recorded
from support.waiting import until
from support.watched_stack import SCRAPE_S, WatchedStack, same_versions

RECORDED = Path(__file__).parent / "recorded" / "kubernetes.prom"
# An hour is five seconds. Several scrapes fall into the shortest window.
QUICK = Tuning(scale=720, shortest_window_s=5 * SCRAPE_S)
JOBS = 4
IMAGES_A_JOB = 300
BROKEN_A_JOB = 30
FAST_CALLS = 60


@dataclass
class Told:
    """What clients were told: outcomes of images, by lane.

    Attributes:
        outcomes: (lane, None for a label or the error) -> images.
        began: unix time.
        ended: unix time.
    """

    outcomes: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    began: float = 0.0
    ended: float = 0.0

    def images(self, lane: str) -> int:
        return sum(count for (of, _), count in self.outcomes.items() if of == lane)


def wait_scraped(stack: WatchedStack) -> None:
    """Until every target was scraped once more: a series has a rate from its second value on."""
    now = time.time()
    until(lambda: stack.prometheus.value("min(timestamp(up))") > now, 30, "a scrape of every target")


def send_bulk(stack: WatchedStack, folder: Path, pictures: list[bytes], told: Told) -> None:
    """One job after the other, through each server in turn, each seen by a scrape, some pictures broken."""
    for number, server in zip(range(JOBS), itertools.cycle(stack.servers)):
        job = folder / str(number)
        job.mkdir()
        for index in range(IMAGES_A_JOB):
            content = pictures[(number * IMAGES_A_JOB + index) % len(pictures)]
            (job / f"{index}.png").write_bytes(content[:60] if index < BROKEN_A_JOB else content)
        for label in classify([job], server=server):
            told.outcomes["bulk", label.error] += 1
        wait_scraped(stack)


def send_fast(stack: WatchedStack, pictures: list[bytes], told: Told) -> None:
    """One picture a call, half of them after a scrape has seen the others."""
    for number, (content, server) in enumerate(zip(pictures[:FAST_CALLS], itertools.cycle(stack.servers))):
        if number == FAST_CALLS // 2:
            wait_scraped(stack)
        call = urllib.request.Request(f"{server}/v1/classify?timeout=20", content, {"Content-Type": "image/png"})
        with urllib.request.urlopen(call, timeout=30) as answer:
            assert answer.status == 200
            told.outcomes["fast", None] += 1


@pytest.fixture(scope="module")
def watched(digits: DigitsFolders, digits_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WatchedStack, Told]]:
    """The stack after a load whose every outcome is known, with a canary and a shadow at work."""
    folder = tmp_path_factory.mktemp("watched")
    registry = same_versions(digits_models, folder / "models", 3)
    registry.set_alias("canary", 2, canary_percent=50)
    registry.set_alias("shadow", 3)
    pictures = [path.read_bytes() for path in sorted(digits.test.rglob("*.png"))]
    told = Told()
    with (
        Exposition(recorded(RECORDED)) as kubernetes,
        WatchedStack(folder, registry.folder, [QUICK], exporters=[kubernetes.address], broker_jvm_flags=SHORT_LIVED) as stack,
    ):
        until(lambda: stack.prometheus.value('sum(convnet_classifier_model_version{role="shadow"})') == 6, 60, "the shadow is loaded")
        told.began = time.time()
        bulk = threading.Thread(target=send_bulk, args=(stack, folder, pictures, told))
        bulk.start()
        send_fast(stack, pictures, told)
        bulk.join(120)
        assert not bulk.is_alive()
        # Rules are evaluated after the scrape that they read.
        until(lambda: stack.prometheus.value("sum(convnet:images_accepted:rate5m)") > 0, 30, "rules have read the load")
        settled = time.time()
        until(lambda: stack.prometheus.value("timestamp(sum(up))") > settled + 2 * SCRAPE_S, 30, "two scrapes since")
        told.ended = time.time()
        yield stack, told


PANELS = [panel for name, content in boards().items() for panel in panels(name, content)]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: f"{panel.board}: {panel.title}")
def test_every_query_of_a_panel_returns_data(watched: tuple[WatchedStack, Told], panel: Panel) -> None:
    stack, told = watched
    for expr, legend in panel.queries:
        query = ready(expr, interval="5s")
        found = stack.prometheus.over(query, told.began, told.ended, SCRAPE_S)
        assert any(series.points for series in found), query
        for name in set(legend.split("{{")[1:]):
            assert all(name.split("}}")[0] in series.labels for series in found), f"{legend} names no label of {query}"


def test_every_annotation_marks_something(watched: tuple[WatchedStack, Told]) -> None:
    stack, told = watched
    marks = {mark["name"]: mark["expr"] for content in boards().values() for mark in content["annotations"]["list"]}
    for name in ("Deployed", "Promoted"):
        assert stack.prometheus.over(ready(marks[name], interval="5s"), told.began - 30, told.ended, SCRAPE_S), name
    # Nothing changes hands here; the long test kills a classifier and sees it.
    stack.prometheus.over(ready(marks["Rebalanced"], interval="5s"), told.began, told.ended, SCRAPE_S)


def test_every_rule_is_evaluated_and_what_is_recorded_has_data(watched: tuple[WatchedStack, Told]) -> None:
    stack, told = watched
    rules = stack.prometheus.rules()
    assert len(rules) > 60
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"] == []
    for name in {rule["name"] for rule in rules if rule["type"] == "recording"}:
        assert any(series.points for series in stack.prometheus.over(name, told.began, told.ended, SCRAPE_S)), name


def test_counters_say_what_the_client_was_told_to_the_image(watched: tuple[WatchedStack, Told]) -> None:
    stack, told = watched
    ask = stack.prometheus.value
    assert told.images("bulk") == JOBS * IMAGES_A_JOB
    assert told.images("fast") == FAST_CALLS
    for lane in ("bulk", "fast"):
        assert ask(f'sum(convnet_server_images_total{{lane="{lane}",outcome="accepted"}})') == told.images(lane)
        labelled = told.outcomes[lane, None]
        assert ask(f'sum(convnet_classifier_images_total{{lane="{lane}",result="labelled"}})') == labelled
        failed = told.images(lane) - labelled
        assert ask(f'sum(convnet_classifier_images_total{{lane="{lane}",result!="labelled"}})') == failed
    assert told.outcomes["bulk", "undecodable"] == JOBS * BROKEN_A_JOB
    assert ask('sum(convnet_classifier_dead_letters_total{reason="undecodable"})') == JOBS * BROKEN_A_JOB
    assert ask("sum(convnet_classifier_end_to_end_seconds_count)") == sum(told.outcomes.values())
    assert ask('sum(convnet_classifier_labels_total{role!="shadow"})') == sum(told.outcomes[lane, None] for lane in ("bulk", "fast"))
    assert ask("sum(convnet_server_results_repeated_total)") == 0


def test_alerts_fire_with_their_words_filled_in(watched: tuple[WatchedStack, Told]) -> None:
    stack, _ = watched
    for alert in stack.prometheus.alerts():
        for text in alert["annotations"].values():
            assert "{{" not in text
            assert "<error" not in text
