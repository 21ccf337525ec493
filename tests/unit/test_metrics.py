"""The catalogue of metrics: complete, consistent with the code's own words, bounded, used; and what makes its numbers right."""

from __future__ import annotations

import ast
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from convnet_kafka.messages import FailureCode, Lane
from convnet_kafka.metrics import ClassifierMetrics, ServerMetrics, exposition, values
from convnet_kafka.metrics.catalogue import Metric
from convnet_kafka.metrics.classifier import ROLES
from convnet_kafka.metrics.server import LANE_OF
from convnet_kafka.metrics.weighted import WeightedHistogram
from convnet_kafka.server.outcome import RefusalCode

SERVICES = Path(__file__).parents[2] / "services" / "convnet_kafka"
CATALOGUES = [ServerMetrics(CollectorRegistry()).catalogue, ClassifierMetrics(CollectorRegistry()).catalogue]
METRICS = {metric.name: metric for catalogue in CATALOGUES for metric in catalogue.metrics}
# What a label may not hold: as many values as there are jobs, images, keys or callers.
UNBOUNDED = {"job", "image", "name", "key", "tenant", "pod", "partition", "offset", "path", "url"}


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_every_metric_has_a_unit_in_its_name_and_says_what_it_means(metric: Metric) -> None:
    assert metric.means.endswith(".")
    assert not metric.todo or metric.todo.endswith((".", "?"))
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    assert (metric.unit == "seconds") == ("_seconds" in metric.name)
    assert (metric.unit == "bytes") == ("_bytes" in metric.name)
    assert not UNBOUNDED & metric.labels.keys()
    assert list(metric.buckets) == sorted(set(metric.buckets))


def test_values_of_labels_are_those_that_the_code_uses() -> None:
    assert set(values.LANES) == {lane.value for lane in Lane}
    assert set(LANE_OF.values()) == set(values.LANES)
    assert set(values.FAILURES) == {code.value for code in FailureCode}
    assert set(values.REFUSALS) == {code.value for code in RefusalCode}
    from convnet_kafka.classifier.models import Role

    assert set(ROLES) == {role.value for role in Role}


def test_the_objectives_of_latency_are_bounds_of_the_histogram_they_are_measured_by() -> None:
    assert {1, 300} <= set(METRICS["convnet_classifier_end_to_end_seconds"].buckets)


def test_every_metric_is_used_by_its_service() -> None:
    """One that moves only in trouble may not move in a test of the whole; but somebody must count it."""
    attributes = {
        node.attr
        for file in SERVICES.rglob("*.py")
        if "metrics" not in file.parts
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.Attribute)
    }
    for service in (ServerMetrics, ClassifierMetrics):
        made = service(CollectorRegistry())
        unused = {name for name, value in vars(made).items() if hasattr(value, "labels") and name not in attributes}
        # Used inside of the package itself.
        assert unused <= {"requests", "request_seconds", "processes"}


def test_known_series_exist_from_the_start_at_zero() -> None:
    metrics = ClassifierMetrics(CollectorRegistry())
    assert metrics.registry.get_sample_value("convnet_classifier_images_total", {"lane": "fast", "result": "quarantined"}) == 0
    assert metrics.registry.get_sample_value("convnet_classifier_end_to_end_seconds_count", {"lane": "bulk"}) == 0


def test_a_weighted_histogram_shows_what_an_ordinary_one_would() -> None:
    registry = CollectorRegistry()
    histogram = WeightedHistogram("waited_seconds", "Waited.", ("lane",), (0.5, 1, 300))
    registry.register(histogram)
    series = histogram.labels("bulk")
    series.observe(0.5, 3)  # a bound belongs to its bucket
    series.observe(1.5)
    series.observe_all([0.1, 1000.0])
    assert histogram.labels("bulk") is series
    with pytest.raises(ValueError, match="lane"):
        histogram.labels()
    body, content_type = exposition(registry)
    assert content_type.startswith("text/plain")
    (family,) = text_string_to_metric_families(body.decode())
    assert {sample.labels["le"]: sample.value for sample in family.samples if sample.name.endswith("_bucket")} == {
        "0.5": 4,
        "1.0": 4,
        "300.0": 5,
        "+Inf": 6,
    }
    assert registry.get_sample_value("waited_seconds_count", {"lane": "bulk"}) == 6
    assert math.isclose(registry.get_sample_value("waited_seconds_sum", {"lane": "bulk"}) or 0, 1003.1)


def test_a_scraper_gets_open_metrics_when_it_asks_for_them() -> None:
    metrics = ServerMetrics(CollectorRegistry())
    body, content_type = exposition(metrics.registry, "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")


def test_requests_are_counted_by_lane_and_only_good_answers_are_timed() -> None:
    metrics = ServerMetrics(CollectorRegistry())
    for status in (202, 503):
        metrics.answered("/v1/jobs/{job}/images", status, 0.2)
    value = metrics.registry.get_sample_value
    labels = {"lane": "bulk", "route": "/v1/jobs/{job}/images"}
    assert value("convnet_server_requests_total", labels | {"status": "503"}) == 1
    assert value("convnet_server_request_seconds_count", labels) == 1
    metrics.answered("/v1/jobs/{job}/images", 202, 0.2, "fast")  # a job's lane wins over the route's
    assert value("convnet_server_request_seconds_count", labels | {"lane": "fast"}) == 1


def statistics(**changed: object) -> str:
    broker = {"nodeid": 1, "state": "UP", "txbytes": 1000, "rxbytes": 500, "txerrs": 1, "rxerrs": 1, "disconnects": 2}
    broker |= {"rtt": {"p50": 2000, "p99": 9000}, "throttle": {"avg": 250}, **changed}
    bootstrap = broker | {"nodeid": -1, "txbytes": 10**9}
    return orjson.dumps({"type": "producer", "msg_cnt": 7, "msg_size": 4096, "brokers": {"a": broker, "b": bootstrap}}).decode()


def test_statistics_of_kafka_clients_become_metrics_and_their_counters_only_grow() -> None:
    metrics = ServerMetrics(CollectorRegistry())
    record = metrics.kafka.recorder("producer", "bulk")
    value = metrics.registry.get_sample_value
    labels = {"client": "producer", "lane": "bulk"}
    record(statistics())
    record(statistics(txbytes=1500))
    assert value("convnet_kafka_client_sent_bytes_total", labels) == 1500
    record(statistics(txbytes=100))  # another client has taken its place
    assert value("convnet_kafka_client_sent_bytes_total", labels) == 1600
    assert value("convnet_kafka_client_errors_total", labels) == 2
    assert value("convnet_kafka_client_brokers_up", labels) == 1
    assert value("convnet_kafka_client_queue_messages", labels) == 7
    assert value("convnet_kafka_client_throttle_seconds", labels) == 0.25
    assert value("convnet_kafka_client_round_trip_seconds", labels | {"quantile": "0.99"}) == 0.009


SEVERAL = """
import sys
from convnet_kafka.metrics import ServerMetrics, exposition, process_registry
metrics = ServerMetrics(process_registry())
metrics.images.labels("bulk", "accepted").inc(5)
metrics.backlog_images.labels("bulk").set(40)
metrics.request_seconds.labels("bulk", "/").observe(0.3)
metrics.process.sample()
metrics.process.sample()
if sys.argv[1] == "show":
    sys.stdout.buffer.write(exposition(metrics.registry)[0])
"""


def test_several_processes_show_sums_of_their_own_and_what_they_all_see_once(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for word in ("hide", "show"):
        done = subprocess.run([sys.executable, "-c", SEVERAL, word], env=environment, capture_output=True, check=True, timeout=60)
    text = done.stdout.decode()
    found = {name: float(value) for name, value in re.findall(r"^([a-z_]+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}
    assert found['convnet_server_images_total{lane="bulk",outcome="accepted"}'] == 10
    assert found['convnet_server_backlog_images{lane="bulk"}'] == 40
    assert found['convnet_server_request_seconds_count{lane="bulk",route="/"}'] == 2
    assert found["convnet_server_processes"] == 2
    assert found["process_cpu_seconds_total"] > 0
    assert found["process_resident_memory_bytes"] > 0
    assert found["process_start_time_seconds"] > 1.7e9
    assert {name for name in METRICS if name.startswith(("process_", "python_gc_"))} <= set(
        re.findall(r"^# HELP (\S+)", text, re.MULTILINE)
    )
