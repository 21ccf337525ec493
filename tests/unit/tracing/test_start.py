"""Traces are asked for by OpenTelemetry's own variables; without them nothing of it is loaded."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from convnet_kafka import tracing
from convnet_kafka.client.api import Api, _route
from convnet_kafka.errors import SettingsError

VARIABLES = (
    "OTEL_TRACES_EXPORTER",
    "OTEL_SDK_DISABLED",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
)


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "environment", [{}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}]
)
def test_off_is_nothing_at_all(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert tracing.start("server") is None
    assert Api("http://127.0.0.1:1").traces is None


def test_off_imports_nothing_of_opentelemetry() -> None:
    code = (
        "import sys\nfrom convnet_kafka import tracing\nassert tracing.start('server') is None\n"
        "import convnet_kafka.server.run, convnet_kafka.classifier.service, convnet_kafka.client\n"
        "print(*[name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "can be otlp, console or none"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf only"),
    ],
)
def test_what_cannot_be_had_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], told: str) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=told):
        tracing.start("server")


def test_a_missing_extra_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    for module in ("provider", "calls"):
        monkeypatch.setitem(sys.modules, f"convnet_kafka.tracing.{module}", None)
    with pytest.raises(SettingsError, match=r"convnet-kafka\[tracing\]"):
        tracing.start("server")
    with pytest.raises(SettingsError, match=r"convnet-kafka\[tracing\]"):
        Api("http://127.0.0.1:1", tracing=True)


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "convnet-kafka-server"),
        ({"OTEL_SERVICE_NAME": "mine"}, "mine"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=ours,team=a"}, "ours"),
    ],
)
def test_the_service_has_its_name_from_the_environment_or_from_us(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], name: str
) -> None:
    for variable, value in ({"OTEL_TRACES_EXPORTER": "otlp"} | environment).items():
        monkeypatch.setenv(variable, value)
    started = tracing.start("server")
    assert started is not None
    try:
        assert started._provider.resource.attributes["service.name"] == name
    finally:
        started.close(5.0)


def test_a_collector_that_is_away_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    started = tracing.start("server")
    assert started is not None
    started.tracer.start_span("lost").end()
    began = time.monotonic()
    started.close(0.2)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/jobs", "/v1/jobs"),
        ("/v1/classify", "/v1/classify"),
        ("/v1/jobs/secret", "/v1/jobs/{job}"),
        ("/v1/jobs/secret/labels", "/v1/jobs/{job}/labels"),
    ],
)
def test_a_clients_span_names_the_route_and_never_the_job(path: str, route: str) -> None:
    assert _route(path) == route
