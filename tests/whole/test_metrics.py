"""Metrics of the real stack: all of them named in the catalogue, all of them moving, and in agreement with the client to the image."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from convnet.digits import DigitsFolders
from convnet_kafka.client import Client
from convnet_kafka.local.stack import Stack
from support.scraping import Scrape, growth
from support.waiting import until
from unit.test_metrics import METRICS

CLASSIFIERS = ("classifier-1", "classifier-2")


@pytest.fixture(scope="session")
def pictures(digits: DigitsFolders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real digits, one cut short, and a text that calls itself a picture."""
    folder = tmp_path_factory.mktemp("metered")
    files = sorted(digits.test.rglob("*.png"))
    for number, file in enumerate(files):
        (folder / f"{number:04d}.png").write_bytes(file.read_bytes())
    (folder / "truncated.png").write_bytes(files[0].read_bytes()[:60])
    (folder / "text.png").write_text("no picture at all")
    return folder


async def test_counters_agree_with_the_client_to_the_image(stack: Stack, pictures: Path) -> None:
    server, classifiers = [stack.urls["server"]], [stack.urls[name] for name in CLASSIFIERS]
    grown = {
        "accepted": growth(server, "convnet_server_images_total", lane="bulk", outcome="accepted"),
        "refused": growth(server, "convnet_server_images_refused_total", reason="unsupported"),
        "labelled": growth(classifiers, "convnet_classifier_images_total", lane="bulk", result="labelled"),
        "failed": growth(classifiers, "convnet_classifier_images_total", lane="bulk", result="undecodable"),
        "dead letters": growth(classifiers, "convnet_classifier_dead_letters_total", reason="undecodable"),
        "by class": growth(classifiers, "convnet_classifier_labels_total", role="stable"),
        "confidences": growth(classifiers, "convnet_classifier_confidence_count", role="stable"),
        "waited": growth(classifiers, "convnet_classifier_queue_seconds_count", lane="bulk"),
        "end to end": growth(classifiers, "convnet_classifier_end_to_end_seconds_count", lane="bulk"),
        "sent": growth(server, "convnet_server_labels_sent_total"),
        "repeated": growth(server, "convnet_server_results_repeated_total"),
    }
    async with Client(stack.server_url) as client:
        outcomes = [outcome async for outcome in client.classify([pictures])]
    labelled = sum(outcome.label is not None for outcome in outcomes)
    told = {"labelled": labelled, "failed": 1, "refused": 1, "accepted": labelled + 1, "dead letters": 1, "by class": labelled}
    told |= {"confidences": labelled, "waited": labelled + 1, "end to end": labelled + 1, "sent": labelled + 1, "repeated": 0}
    assert len(outcomes) == labelled + 2 > 300
    until(lambda: {name: grow() for name, grow in grown.items()} == told, 20, f"agreement with {told}")


async def test_every_metric_is_in_the_catalogue_and_moves(stack: Stack, pictures: Path) -> None:
    async with Client(stack.server_url) as client:
        async for _ in client.classify([pictures]):
            pass
    async with aiohttp.ClientSession(stack.server_url) as http:
        picture = (pictures / "0000.png").read_bytes()
        async with http.post("/v1/classify", data=picture, headers={"Content-Type": "image/png"}) as answer:
            assert answer.status == 200
    # Shown only while something is in progress, or waits.
    passing = {name for name, metric in METRICS.items() if metric.kind == "gauge" and name.startswith("convnet_server_")} - {
        "convnet_server_ready",
        "convnet_server_processes",
        "convnet_server_kafka_silent_seconds",
        "convnet_server_backlog_silent_seconds",
    }
    passing |= {"convnet_classifier_batches_in_flight", "convnet_classifier_cancelled_jobs", "convnet_classifier_canary_percent"}
    passing |= {"convnet_classifier_compared_images_total"}  # nothing is on trial here; test_canary sees it move
    passing |= {"convnet_kafka_client_queue_messages", "convnet_kafka_client_queue_bytes"}
    rare = {name for name, metric in METRICS.items() if metric.rare}

    def still() -> set[str]:
        scrapes = [Scrape.of(stack.urls[name]) for name in ("server", *CLASSIFIERS)]
        exposed = set().union(*(scrape.families for scrape in scrapes))
        assert exposed == METRICS.keys()
        return exposed - set().union(*(scrape.moved() for scrape in scrapes)) - passing - rare

    until(lambda: not still(), 20, "all metrics that move without trouble have moved")
