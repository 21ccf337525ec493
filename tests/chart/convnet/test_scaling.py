"""Autoscaling and disruption budgets: one who decides, fast up, slow down, and nothing that stands in a drain's way."""

from __future__ import annotations

from typing import Any

import pytest

from convnet_kafka.messages import Lane
from convnet_kafka.topology import Topology
from support.convnet_chart import CHART, EXTERNAL, STRIMZI, TRIAL, Values, over


def scaled(values: Values, part: str = "classifier", **autoscaling: Any) -> Values:
    return over(values, **{f"{part}__autoscaling": {"mode": "keda", **autoscaling}})


@pytest.mark.parametrize("part", ["server", "classifier"])
@pytest.mark.parametrize("mode", ["none", "hpa", "keda"])
def test_exactly_one_decides_how_many_there_are(part: str, mode: str) -> None:
    found = CHART.render(scaled(TRIAL, part, mode=mode))
    deciding = {"hpa": ["HorizontalPodAutoscaler"], "keda": ["ScaledObject"]}.get(mode, [])
    assert [each["kind"] for each in found.objects if each["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}] == deciding
    for each in (found.one(kind) for kind in deciding):
        assert each["spec"]["scaleTargetRef"]["name"] == f"convnet-{part}"


@pytest.mark.parametrize("part", ["server", "classifier"])
def test_an_hpa_goes_by_cpu_and_by_what_you_add(part: str) -> None:
    mine = {"type": "External", "external": {"metric": {"name": "lag"}, "target": {"type": "AverageValue", "averageValue": "500"}}}
    spec = CHART.render(scaled(TRIAL, part, mode="hpa", minReplicas=2, maxReplicas=8, cpuUtilization=60, metrics=[mine])).one(
        "HorizontalPodAutoscaler"
    )["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 8)
    assert spec["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
        mine,
    ]


def test_replicas_come_fast_and_go_slowly() -> None:
    for kind, path in (
        ("HorizontalPodAutoscaler", ["behavior"]),
        ("ScaledObject", ["advanced", "horizontalPodAutoscalerConfig", "behavior"]),
    ):
        behavior = CHART.render(scaled(TRIAL, mode="hpa" if kind.startswith("H") else "keda")).one(kind)["spec"]
        for key in path:
            behavior = behavior[key]
        up, down = behavior["scaleUp"], behavior["scaleDown"]
        assert up["stabilizationWindowSeconds"] == 0 < down["stabilizationWindowSeconds"]
        assert max(policy["value"] / policy["periodSeconds"] for policy in up["policies"]) > 10 * max(
            policy["value"] / policy["periodSeconds"] for policy in down["policies"]
        )


def test_keda_looks_at_both_lanes_of_the_running_code() -> None:
    topology = Topology("convnet")
    triggers = CHART.render(scaled(TRIAL)).one("ScaledObject")["spec"]["triggers"]
    assert [(each["metadata"]["topic"], each["metadata"]["consumerGroup"]) for each in triggers] == [
        (topology.images(lane), topology.group(lane)) for lane in (Lane.BULK, Lane.FAST)
    ]
    for each in triggers:
        assert each["type"] == "kafka"
        # What classifiers do where nothing was committed; `latest` would run a replica for an empty topic for ever.
        assert each["metadata"]["offsetResetPolicy"] == "earliest"
        assert "authenticationRef" not in each


def test_keda_scales_to_zero_and_falls_back_as_you_say() -> None:
    spec = CHART.render(
        scaled(
            TRIAL, minReplicas=0, maxReplicas=9, keda={"activationLag": 7, "cooldownS": 33, "pollingIntervalS": 3, "fallbackReplicas": 2}
        )
    ).one("ScaledObject")["spec"]
    assert {key: spec[key] for key in ("minReplicaCount", "maxReplicaCount", "cooldownPeriod", "pollingInterval", "fallback")} == {
        "minReplicaCount": 0, "maxReplicaCount": 9, "cooldownPeriod": 33, "pollingInterval": 3,
        "fallback": {"failureThreshold": 3, "replicas": 2},
    }  # fmt: skip
    assert {each["metadata"]["activationLagThreshold"] for each in spec["triggers"]} == {"7"}
    assert "fallback" not in CHART.render(scaled(TRIAL)).one("ScaledObject")["spec"]


def test_keda_logs_on_as_its_own_user() -> None:
    found = CHART.render(scaled(STRIMZI))
    for trigger in found.one("ScaledObject")["spec"]["triggers"]:
        assert (trigger["metadata"]["sasl"], trigger["metadata"]["tls"]) == ("scram_sha512", "enable")
        assert trigger["authenticationRef"] == {"name": "convnet-classifier"}
    assert found.one("TriggerAuthentication", "convnet-classifier")["spec"] == {
        "secretTargetRef": [
            {"parameter": "password", "name": "convnet-keda", "key": "password"},
            {"parameter": "ca", "name": "main-cluster-ca-cert", "key": "ca.crt"},
        ],
        "configMapTargetRef": [{"parameter": "username", "name": "convnet-keda", "key": "username"}],
    }
    assert found.one("ConfigMap", "convnet-keda")["data"] == {"username": "convnet-keda"}


def test_keda_logs_on_to_any_kafka_with_a_users_secret_or_with_an_authentication_that_is_there() -> None:
    found = CHART.render(scaled(EXTERNAL))
    wanted = {each["parameter"]: each["name"] for each in found.one("TriggerAuthentication")["spec"]["secretTargetRef"]}
    assert wanted == {"password": "kafka-keda", "username": "kafka-keda", "ca": "kafka-ca"}
    assert "configMapTargetRef" not in found.one("TriggerAuthentication")["spec"]
    mine = CHART.render(scaled(EXTERNAL, keda={"authenticationRef": "mine"}))
    assert "TriggerAuthentication" not in mine.kinds()
    assert {each["authenticationRef"]["name"] for each in mine.one("ScaledObject")["spec"]["triggers"]} == {"mine"}


@pytest.mark.parametrize(
    ("budget", "spec"),
    [
        ({}, {"maxUnavailable": 1}),
        ({"maxUnavailable": "25%"}, {"maxUnavailable": "25%"}),
        ({"minAvailable": 1}, {"minAvailable": 1}),
        ({"minAvailable": "50%", "maxUnavailable": 1}, {"minAvailable": "50%"}),
        ({"enabled": False}, None),
    ],
)
def test_a_drain_takes_as_many_as_the_budget_says(budget: dict[str, Any], spec: dict[str, Any] | None) -> None:
    found = CHART.render(over(TRIAL, server__disruptionBudget=budget)).all("PodDisruptionBudget", component="server")
    assert [{key: value for key, value in each["spec"].items() if key.startswith(("min", "max"))} for each in found] == (
        [spec] if spec else []
    )
