"""What the probes answer, over HTTP, whatever the loop does."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry

from convnet_kafka.classifier.health import HealthServer
from convnet_kafka.errors import SettingsError
from convnet_kafka.metrics import ClassifierMetrics


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_probes_say_yes_or_why_not_and_metrics_are_served() -> None:
    alive: list[str] = []
    ready = ["no stable model yet: train one"]
    idle = ["idle in the fast lane"]
    registry = CollectorRegistry()
    ClassifierMetrics(registry).model.labels("stable").set(3)
    with HealthServer(
        "127.0.0.1", 0, not_alive=lambda: alive, not_ready=lambda: ready, notes=lambda: idle, registry=registry, replica="host-7"
    ) as server:
        url = f"http://127.0.0.1:{server.port}"
        assert get(f"{url}/healthz") == (200, b'{"alive": true, "reasons": []}')
        status, body = get(f"{url}/readyz")
        assert (status, json.loads(body)) == (
            503,
            {"ready": False, "reasons": ["no stable model yet: train one"], "notes": [], "replica": "host-7"},
        )
        ready.clear()
        alive.append("the loop has not gone round for 31 s")
        status, body = get(f"{url}/readyz")
        assert (status, json.loads(body)) == (200, {"ready": True, "reasons": [], "notes": ["idle in the fast lane"], "replica": "host-7"})
        assert get(f"{url}/healthz")[0] == 503
        assert b'convnet_classifier_model_version{role="stable"} 3.0' in get(f"{url}/metrics")[1]


def test_metrics_say_whether_it_is_ready_though_nobody_asks_that() -> None:
    registry = CollectorRegistry()
    metrics = ClassifierMetrics(registry)
    found: list[str] = []

    def not_ready() -> list[str]:
        metrics.ready.set(not found)
        return found

    with HealthServer("127.0.0.1", 0, not_alive=list, not_ready=not_ready, notes=list, registry=registry) as server:
        url = f"http://127.0.0.1:{server.port}/metrics"
        assert b"convnet_classifier_ready 1.0" in get(url)[1]
        found.append("Kafka does not answer")
        assert b"convnet_classifier_ready 0.0" in get(url)[1]


def test_a_port_in_use_is_a_wrong_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = HealthServer(
            "127.0.0.1", taken.getsockname()[1], not_alive=list, not_ready=list, notes=list, registry=CollectorRegistry(), replica=""
        )
        with pytest.raises(SettingsError, match="CONVNET_CLASSIFIER_PORT"), server:
            pass
