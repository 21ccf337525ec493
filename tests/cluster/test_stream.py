"""A stream of pictures from outside while everything that serves it is scaled, killed, upgraded and given another model."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from support.camera import Camera, read_again
from support.kubernetes import finished, pod
from support.release import Release
from support.ways_in import Way, gateway, ingress

Pictures = list[tuple[str, bytes]]
Figures = dict[str, Any]

IMAGES = 20_000
# So that the faults fall into the stream and not behind it: a replica alone would label all of them within seconds.
PACE = 150.0

# Before its pod is deleted by force: the kubelet asks even that one to end, and the broker would have closed its files in good order.
_KILL_JAVA = """
import os, pathlib, signal
for process in pathlib.Path("/proc").glob("[0-9]*"):
    if (process / "comm").read_text() == "java\\n":
        os.kill(int(process.name), signal.SIGKILL)
"""

# Run in the cluster: of each image the results in the labels topic, the first one counts.
_LEDGER = """
import collections, json
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
consumer = Consumer({{"bootstrap.servers": "{servers}", "group.id": "books", "enable.partition.eof": True}})
partitions = consumer.list_topics("{topic}", timeout=30).topics["{topic}"].partitions
consumer.assign([TopicPartition("{topic}", number, OFFSET_BEGINNING) for number in partitions])
first, count, ended = {{}}, collections.Counter(), 0
while ended < len(partitions):
    for message in consumer.consume(5000, 1.0):
        if message.error() is not None:
            ended += 1
            continue
        headers = dict(message.headers() or [])
        if headers.get("job") == b"{job}" and "image" in headers:
            for value in map(json.loads, message.value().splitlines()):
                count[value["image"]] += 1
                first.setdefault(value["image"], [value.get("label"), value.get("error")])
print(json.dumps({{"first": first, "repeats": sum(count.values()) - len(count)}}))
"""


@pytest.mark.parametrize("way_in", [gateway, pytest.param(ingress, marks=pytest.mark.long)])
def test_each_picture_has_one_result_whatever_happens_to_those_that_serve(
    release: Release, images: str, next_images: str, pictures: Pictures, figures: Figures, way_in: Callable[[], Way]
) -> None:
    way = way_in()
    # Neither the trial broker nor a training is part of what is rolled out.
    pinned = {
        "kafka": {"embedded": {"image": {"tag": images}}},
        "trainer": {"image": {"tag": images}, "args": ["--seed", "2", "--epochs", "3"]},
    }
    release.upgrade({**way.values, **pinned})
    url, key = way.address(release), release.api_key()
    newest, stable = second_version(release), stable_version(release)
    gaps: dict[str, float] = {}
    with Camera(url, key, pictures, pace=PACE, least=IMAGES) as camera:
        books = camera.books
        release.namespace.until(lambda: camera.labelled(500), 120, "the first labels")
        for what in disturbances(release, next_images, newest if stable != newest else 1):
            begun = time.monotonic()
            what()
            # Each disturbance meets a stream that goes on, and the next one comes when it has gone on after it.
            seen = len(books.told)
            release.namespace.until(lambda seen=seen: camera.labelled(seen + 500), 120, f"labels after {what.__name__}")
            gaps[what.__name__] = round(books.gap_s(begun, time.monotonic()), 1)
    books.balance()
    assert len(books.sent) >= IMAGES
    versions = {label.model for label in books.told.values()}
    assert len(versions) == 2, "the promotion fell into the stream"
    check_books(release, url, key, books.job, {label.image: (label.label, label.error) for label in books.told.values() if label.image})
    figures[f"{way.name}: longest time without a label in {len(books.sent)} pictures, seconds"] = round(books.longest_gap_s, 1)
    figures[f"{way.name}: of these, during"] = gaps
    figures[f"{way.name}: right"] = round(books.right, 3)
    release.tag = images
    release.scale("server", 1)
    release.scale("classifier", 1)
    release.upgrade(way.closed())


def disturbances(release: Release, next_tag: str, version: int) -> list[Callable[[], None]]:
    """What happens, in this order."""
    broker = f"{release.name}-kafka-0"

    def four_classifiers() -> None:
        release.scale("classifier", 4)

    def two_classifiers() -> None:
        release.scale("classifier", 2)

    def classifier_gone() -> None:
        release.delete_by_force("classifier")

    def server_gone() -> None:
        release.scale("server", 2)
        release.delete_by_force("server")

    def broker_ended() -> None:
        # Returns when it has ended: until then labels would go on coming.
        release.namespace.kubectl("delete", "pod", broker, timeout_s=90)

    def broker_gone() -> None:
        release.namespace.execute(broker, "python", "-c", _KILL_JAVA)
        release.namespace.kubectl("delete", "pod", broker, "--grace-period=0", "--force")
        release.namespace.until(lambda: release.pods("kafka"), 120, "the broker's next pod")
        assert "since no clean shutdown file was found" in release.namespace.kubectl("logs", broker)

    def upgraded() -> None:
        before = {component: release.images_by_pod(component) for component in ("server", "classifier")}
        release.tag = next_tag
        release.upgrade()
        for component, old in before.items():
            new = release.images_by_pod(component)
            assert old.keys().isdisjoint(new), f"the {component} pods were not rolled"
            assert set(old.values()).isdisjoint(new.values()), f"the {component} image of the other tag is the same one"
        # Nobody wrote `replicas` into the values: what kubectl scale said has outlived the upgrade.
        assert (release.replicas("server"), release.replicas("classifier")) == (2, 2)

    def promoted() -> None:
        on_models(release, "convnet-kafka", "models", "promote", str(version), "--models", "/models", writes=True)

    return [four_classifiers, two_classifiers, classifier_gone, server_gone, broker_ended, broker_gone, upgraded, promoted]


def on_models(release: Release, *command: str, writes: bool = False) -> str:
    """What a command prints that runs on the registry's volume, beside those that use it."""
    claims = {"/models": f"{release.name}-models" + ("" if writes else ":ro")}
    return finished(release.namespace, pod("models", release.image("classifier"), command, claims=claims))


def stable_version(release: Release) -> int:
    """The version that classifiers use."""
    return int(on_models(release, "python", "-c", "import json; print(json.load(open('/models/aliases.json'))['stable'])"))


def second_version(release: Release) -> int:
    """The newest version, once the second training has ended."""

    def trained() -> bool:
        jobs = release.namespace.all("jobs", release.labels("trainer"))
        return bool(jobs) and all(job["status"].get("succeeded") == 1 for job in jobs)

    release.namespace.until(trained, 300, "the second training")
    return int(on_models(release, "python", "-c", "import os; print(max(int(name) for name in os.listdir('/models') if name.isdigit()))"))


def check_books(release: Release, url: str, key: str, job: str, told: dict[str, tuple[str | None, str | None]]) -> None:
    """What the client was told, what a reader sees from the start, and what lies in Kafka are the same."""
    by_http, shown_twice = read_again(url, key, job)
    assert shown_twice == []
    assert by_http == told
    script = _LEDGER.format(servers=f"{release.name}-kafka:9092", topic=f"{release.name}.labels", job=random_part(job))
    # The policies let nobody ask Kafka but the release's own parts, and its tools.
    labels = {"app.kubernetes.io/name": "convnet-kafka", **release.labels("tools")}
    in_kafka = json.loads(finished(release.namespace, pod("books", release.image("server"), ["python", "-c", script], labels=labels)))[
        "first"
    ]
    assert {image: tuple(result) for image, result in in_kafka.items()} == told


def random_part(job: str) -> str:
    """What of a job's id stands in Kafka's headers: 16 bytes after the version (server/jobs.py)."""
    return base64.urlsafe_b64decode(job + "=" * (-len(job) % 4))[1:17].hex()
