"""Traces: off unless a collector is named, and then as the services and OpenTelemetry read it."""

from __future__ import annotations

from typing import Any

import pytest

from convnet_kafka.settings import TracingSettings
from support.convnet_chart import CHART, CONTROLLER, TRIAL, Values, container, env, over

TRACED = over(TRIAL, tracing={"endpoint": "https://collector.example.org", "ratio": 0.25, "images": 4})


def told(values: Values, part: str) -> dict[str, Any]:
    found = env(container(CHART.render(values).one("Deployment", f"convnet-{part}")))
    return {name: value for name, value in found.items() if name.startswith(("OTEL_", "CONVNET_TRACING_"))}


@pytest.mark.parametrize("part", ["server", "classifier"])
def test_traces_go_to_the_collector_with_the_pods_name(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(TRIAL, part) == {}
    found = told(TRACED, part)
    assert found["OTEL_TRACES_EXPORTER"] == "otlp"
    assert found["OTEL_EXPORTER_OTLP_ENDPOINT"] == "https://collector.example.org"
    assert (found["OTEL_TRACES_SAMPLER"], found["OTEL_TRACES_SAMPLER_ARG"]) == ("parentbased_traceidratio", "0.25")
    assert found["OTEL_RESOURCE_ATTRIBUTES"] == "k8s.namespace.name=vision,k8s.pod.name=$(POD_NAME),service.namespace=convnet"
    names = [each["name"] for each in container(CHART.render(TRACED).one("Deployment", f"convnet-{part}"))["env"]]
    # Kubernetes fills in only what stands before.
    assert names.index("POD_NAME") < names.index("OTEL_RESOURCE_ATTRIBUTES")
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    assert TracingSettings().images == 4


@pytest.mark.parametrize(
    ("values", "strangers"),
    [
        (TRACED, "false"),
        (over(TRACED, ingress={"enabled": True}, networkPolicy={"ingressFrom": CONTROLLER}), "true"),
        (over(TRACED, server__service={"type": "LoadBalancer"}, networkPolicy={"ingressFrom": CONTROLLER}), "true"),
        (over(TRACED, tracing__publicEndpoint=True), "true"),
        (over(TRACED, ingress={"enabled": True}, networkPolicy={"ingressFrom": CONTROLLER}, tracing__publicEndpoint=False), "false"),
    ],
)
def test_strangers_do_not_decide_what_is_recorded(values: Values, strangers: str) -> None:
    assert told(values, "server")["CONVNET_TRACING_PUBLIC_ENDPOINT"] == strangers
