"""helm/kafka refuses what cannot work or would lose images, in a sentence that says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from support.charts import ALL_APIS
from support.kafka_chart import CHART

NAKED = {"name": "outside", "port": 9095, "type": "nodeport", "tls": True}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param({"brokers": {"replicas": 4}}, "every broker is a controller too", id="even quorum of brokers"),
        pytest.param({"controllers": {"enabled": True, "replicas": 4}}, "controllers decide by majority", id="even quorum of controllers"),
        pytest.param({"controllers": {"enabled": True, "pool": "brokers"}}, "two pools need two names", id="one name for two pools"),
        pytest.param(
            {"brokers": {"replicas": 1}, "cruiseControl": {"enabled": True}}, "nowhere to move partitions to", id="balancing one broker"
        ),
        pytest.param({"config": {"listeners": "a"}}, "Strimzi decides what begins with", id="a setting that Strimzi decides"),
        pytest.param({"config": {"sasl.enabled.mechanisms": "a"}}, "Strimzi decides what begins with", id="another one"),
        pytest.param({"config": {"unclean.leader.election.enable": True}}, "would be gone", id="unclean election"),
        pytest.param({"config": {"unclean.leader.election.enable": "true"}}, "would be gone", id="unclean election in quotes"),
        pytest.param({"config": {"auto.create.topics.enable": True}}, "misspelt name", id="topics by themselves"),
        pytest.param({"config": {"default.replication.factor": 5}}, "Set brokers.replicas to 5 or more", id="more copies than brokers"),
        pytest.param({"config": {"min.insync.replicas": 4}}, "nothing could be written", id="more in sync than copies"),
        pytest.param({"extraListeners": [NAKED]}, "without authentication", id="an open listener"),
        pytest.param(
            {"extraListeners": [{**NAKED, "port": 9093, "authentication": {"type": "tls"}}]}, "must be its own", id="a port used twice"
        ),
        pytest.param(
            {"extraListeners": [{**NAKED, "name": "tls", "authentication": {"type": "tls"}}]}, "must be its own", id="a name used twice"
        ),
    ],
)
def test_what_cannot_work_is_refused(values: dict[str, Any], said: str) -> None:
    assert said in CHART.refusal(values)


def test_settings_that_strimzi_leaves_to_users_are_taken() -> None:
    CHART.render({"config": {"broker.heartbeat.interval.ms": 1000, "ssl.protocol": "TLSv1.3"}})


def test_without_strimzis_definitions_it_says_how_to_get_them() -> None:
    said = CHART.refusal(apis=())
    assert "does not know Kafka of kafka.strimzi.io/v1" in said
    assert "helm install strimzi" in said
    old = CHART.refusal(apis=("kafka.strimzi.io/v1beta2", "kafka.strimzi.io/v1beta2/Kafka"))
    assert "1.0 or newer" in old
    CHART.render({"crdChecks": False}, apis=())


def test_without_the_prometheus_operator_monitors_are_refused() -> None:
    strimzi = [each for each in ALL_APIS if "strimzi" in each]
    assert "Prometheus operator" in CHART.refusal({"podMonitor": {"enabled": True}}, apis=strimzi)
    CHART.render(apis=strimzi)


@pytest.mark.parametrize(
    "values",
    [
        {"broker": {}},
        {"brokers": {"replica": 3}},
        {"brokers": {"storage": {"size": "lots"}}},
        {"brokers": {"heap": "2 GB"}},
        {"brokers": {"storage": {"type": "hostPath"}}},
        {"version": "3.9.0"},
        {"version": "4.1.2"},
        {"fullnameOverride": "Kafka"},
        {"config": {"a": {"b": 1}}},
        {"disruptionBudget": {"maxUnavailable": -1}},
    ],
)
def test_the_schema_refuses_what_is_misspelt_or_out_of_range(values: dict[str, Any]) -> None:
    assert "values don't meet the specifications of the schema" in CHART.refusal(values)


def test_it_takes_a_parents_globals() -> None:
    CHART.render({"global": {"anything": 1}})
