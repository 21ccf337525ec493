"""Replicas that come and go by themselves: servers by CPU, classifiers by what waits in both lanes, from none and back to none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from convnet_kafka.client import Client
from convnet_kafka.client.label import Label
from support.camera import Camera
from support.kubernetes import has_kind
from support.release import Release
from support.ways_in import gateway, lacking

Pictures = list[tuple[str, bytes]]
Figures = dict[str, Any]

# Down as soon as it can be seen: who waits for the chart's five quiet minutes proves Kubernetes, not us.
SOON = {"scaleDown": {"stabilizationWindowSeconds": 5, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 5}]}}


@pytest.fixture
def opened(release: Release) -> Iterator[tuple[Release, str]]:
    """The release with its way in, and one replica of each at the end again."""
    way = gateway()
    release.upgrade(way.values)
    yield release, way.address(release)
    release.upgrade({**way.closed(), "server": {"autoscaling": {"mode": "none"}}, "classifier": {"autoscaling": {"mode": "none"}}})
    for component in ("server", "classifier"):
        release.scale(component, 1)


def test_keda_scales_classifiers_from_none_with_the_lag_of_both_lanes_and_back(
    opened: tuple[Release, str], pictures: Pictures, figures: Figures
) -> None:
    if not has_kind("scaledobjects.keda.sh"):
        lacking("KEDA")
    release, url = opened
    keda = {"minReplicas": 0, "maxReplicas": 3, "behavior": SOON, "keda": {"lag": {"bulk": 5}, "pollingIntervalS": 2, "cooldownS": 5}}
    release.upgrade({"classifier": {"autoscaling": {"mode": "keda", **keda}}})
    none = lambda: release.replicas("classifier") == 0 and not release.pods("classifier")  # noqa: E731 - a condition with a name
    release.namespace.until(none, 120, "no classifier, when nothing waits")

    # One picture in the fast lane, where somebody waits.
    begun = time.monotonic()
    label = asyncio.run(one_in_the_fast_lane(url, release.api_key(), pictures[0][1]))
    assert label.error is None
    figures["KEDA, from no classifier: first picture (fast lane) to its label, seconds"] = round(time.monotonic() - begun, 1)
    release.namespace.until(none, 120, "no classifier again")

    # A stream in the bulk lane; what is in flight between two commits is more than one replica is meant for.
    begun = time.monotonic()
    with Camera(url, release.api_key(), pictures, pace=400, least=2000) as camera:
        release.namespace.until(lambda: camera.labelled(1), 120, "the first label of the stream")
        figures["KEDA, from no classifier: first picture (bulk lane) to its label, seconds"] = round(time.monotonic() - begun, 1)
        release.namespace.until(lambda: len(release.pods("classifier")) >= 2, 120, "a second classifier by the lag")
    camera.books.balance()
    took = release.namespace.until(none, 120, "no classifier, when all is done")
    figures["KEDA: from the last label to no classifier, seconds"] = round(took, 1)


async def one_in_the_fast_lane(url: str, key: str, content: bytes) -> Label:
    """Sent at once, waited for as long as it takes."""
    async with Client(url, key=key) as client:
        (label,) = await client.classify_now([("first.png", content)], timeout=120)
        return label


@pytest.mark.long
def test_an_hpa_scales_servers_up_under_load_and_down_after(opened: tuple[Release, str], pictures: Pictures, figures: Figures) -> None:
    release, url = opened
    scaling = {"mode": "hpa", "minReplicas": 1, "maxReplicas": 3, "cpuUtilization": 60, "behavior": SOON}
    release.upgrade({"server": {"autoscaling": scaling}})
    begun = time.monotonic()
    with Camera(url, release.api_key(), pictures, pace=1500, least=5000, connections=4) as camera:
        release.namespace.until(lambda: len(release.pods("server")) >= 2, 180, "a second server under load")
        figures["HPA: load to a second ready server, seconds"] = round(time.monotonic() - begun, 1)
    camera.books.balance()
    took = release.namespace.until(lambda: release.replicas("server") == 1, 240, "one server without load")
    figures["HPA: end of load to one server, seconds"] = round(took, 1)
