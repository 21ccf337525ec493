"""What a cluster does to pods by itself: the kernel takes one for its memory, a node is drained, parts come up in the worst order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.camera import Camera
from support.kubernetes import Namespace, Object, is_ready
from support.release import Release
from support.ways_in import gateway

pytestmark = pytest.mark.long
Pictures = list[tuple[str, bytes]]
Figures = dict[str, Any]

# Processes, each smaller than the classifier, that together are more than the container may have: the kernel takes the largest, which is
# the classifier.
_HOGS = """
import os, time
for _ in range(64):
    if os.fork() == 0:
        block = bytearray(os.urandom(1024)) * 40_000
        time.sleep(60)
        os._exit(0)
time.sleep(60)
"""


@pytest.fixture
def opened(release: Release) -> Iterator[tuple[Release, str]]:
    """The release with its way in and two of each part."""
    way = gateway()
    release.upgrade(way.values)
    for component in ("server", "classifier"):
        release.scale(component, 2)
    yield release, way.address(release)
    for component in ("server", "classifier"):
        release.scale(component, 1)
    release.upgrade(way.closed())


def killed_for_memory(pod: Object) -> bool:
    """Whether the kernel took a container of this pod for its memory."""
    statuses = pod["status"].get("containerStatuses", [])
    return any(each.get(key, {}).get("terminated", {}).get("reason") == "OOMKilled" for each in statuses for key in ("lastState", "state"))


def test_a_classifier_that_the_kernel_kills_for_its_memory_loses_nothing(
    opened: tuple[Release, str], pictures: Pictures, figures: Figures
) -> None:
    release, url = opened
    victim = release.pods("classifier")[0]
    with Camera(url, release.api_key(), pictures, pace=150, least=3000) as camera:
        release.namespace.until(lambda: camera.labelled(300), 60, "the first labels")
        release.namespace.execute(victim, "python", "-c", _HOGS, timeout_s=90, check=False)
        release.namespace.until(lambda: killed_for_memory(release.namespace.get("pod", victim)), 60, "a kill for memory")
        release.namespace.until(lambda: len(release.pods("classifier")) == 2, 120, "two classifiers again")
    camera.books.balance()
    figures["OOM kill of one of two classifiers: longest time without a label, seconds"] = round(camera.books.longest_gap_s, 1)


def test_a_drain_is_refused_while_it_would_leave_too_few_and_all_resumes(
    opened: tuple[Release, str], pictures: Pictures, figures: Figures
) -> None:
    release, url = opened
    namespace = release.namespace
    (node,) = {each["spec"]["nodeName"] for each in namespace.all("pods", release.labels("server"))}
    selector = f"app.kubernetes.io/instance={release.name},app.kubernetes.io/component in (server,classifier)"
    with Camera(url, release.api_key(), pictures, pace=150, least=3000) as camera:
        namespace.until(lambda: camera.labelled(300), 60, "the first labels")
        try:
            drain = ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=45s", "--pod-selector", selector]
            refused = namespace.kubectl(*drain, timeout_s=120, check=False)
            # One of each part may go; there is no other node for its successor, so the second one must stay.
            assert "would violate the pod's disruption budget" in refused
            assert len(release.pods("server")) == 1
            assert len(release.pods("classifier")) == 1
        finally:
            namespace.kubectl("uncordon", node)
        for component in ("server", "classifier"):
            namespace.until(lambda component=component: len(release.pods(component)) == 2, 120, f"two {component} pods again")
    camera.books.balance()
    figures["drain: longest time without a label, seconds"] = round(camera.books.longest_gap_s, 1)


def test_parts_started_in_the_worst_order_all_become_ready_and_none_is_restarted(namespace: Namespace, images: str) -> None:
    release = Release("worst", namespace, images)
    objects = release.render()
    first = [each for each in objects if each["kind"] not in {"Deployment", "Job", "StatefulSet", "Pod"}]
    namespace.apply(*first)
    for kind, component in (("Deployment", "classifier"), ("Deployment", "server"), ("Job", "trainer"), ("StatefulSet", "kafka")):
        part = [each for each in objects if each["kind"] == kind and component in json.dumps(each["metadata"]["labels"])]
        assert len(part) == 1
        namespace.apply(*part)
        namespace.until(lambda component=component: started(namespace, release.labels(component)), 90, f"the start of the {component}")
        if component != "kafka":
            assert not namespace.ready(release.labels("classifier"))

    def all_ready() -> bool:
        return all(namespace.ready(release.labels(component)) for component in ("classifier", "server", "kafka"))

    namespace.until(all_ready, 240, "all parts being ready")
    assert namespace.restarts() == {}


def started(namespace: Namespace, labels: dict[str, str]) -> bool:
    """Whether a part's container has run, or runs."""
    pods = namespace.all("pods", labels)
    states = [each["state"] for pod in pods for each in pod["status"].get("containerStatuses", [])]
    return bool(states) and all("running" in state or "terminated" in state for state in states) and all(map(has_begun, pods))


def has_begun(pod: Object) -> bool:
    """Whether a pod runs, has ended well, or is ready."""
    return is_ready(pod) or pod["status"].get("phase") in {"Running", "Succeeded"}
