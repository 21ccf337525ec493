"""helm/kafka: what it renders, and that Strimzi's definitions take all of it."""

from __future__ import annotations

from typing import Any

import pytest

from convnet_kafka.local.brokersettings import BrokerSettings, server_properties
from support.charts import Object, conforming
from support.kafka_chart import CHART, EVERYTHING, security_contexts


def kafka(values: dict[str, Any] | None = None) -> Object:
    return CHART.render(values).one("Kafka")["spec"]


def test_the_defaults_are_three_brokers_that_are_controllers_too() -> None:
    rendered = CHART.render()
    assert rendered.names() == {"Kafka/kafka", "KafkaNodePool/brokers"}
    pool = rendered.one("KafkaNodePool")
    assert pool["spec"]["replicas"] == 3
    assert pool["spec"]["roles"] == ["controller", "broker"]
    assert pool["metadata"]["labels"]["strimzi.io/cluster"] == "kafka"
    conforming(rendered.text)


def test_everything_switched_on_conforms() -> None:
    rendered = CHART.render(EVERYTHING)
    assert rendered.names() == {
        "Kafka/kafka",
        "KafkaNodePool/brokers",
        "KafkaNodePool/controllers",
        "PodMonitor/kafka-brokers",
        "PodMonitor/kafka-exporter",
        "PodMonitor/kafka-entity-operator",
    }
    conforming(rendered.text)


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_helm_finds_nothing_to_say_about_it(values: dict[str, Any]) -> None:
    CHART.lint({**values, "crdChecks": False})


def test_brokers_and_controllers_of_their_own_have_one_role_each() -> None:
    rendered = CHART.render(EVERYTHING)
    assert rendered.one("KafkaNodePool", "controllers")["spec"]["roles"] == ["controller"]
    brokers = rendered.one("KafkaNodePool", "brokers")["spec"]
    assert brokers["roles"] == ["broker"]
    assert [(disk["id"], disk.get("kraftMetadata"), disk["class"]) for disk in brokers["storage"]["volumes"]] == [
        (0, "shared", "fast"),
        (1, None, "fast"),
    ]


def test_clients_log_on_with_tls_and_scram_and_may_do_only_what_acls_say() -> None:
    spec = kafka()["kafka"]
    assert [(each["tls"], each["authentication"]["type"]) for each in spec["listeners"]] == [(True, "scram-sha-512")]
    assert spec["authorization"] == {"type": "simple"}


# What only a broker that stands alone on a small machine wants (brokersettings.py), or what Strimzi decides.
OF_THE_LAPTOP = {
    "process.roles", "node.id", "listeners", "advertised.listeners", "listener.security.protocol.map", "inter.broker.listener.name",
    "controller.listener.names", "controller.quorum.voters", "log.dirs", "default.replication.factor", "min.insync.replicas",
    "offsets.topic.replication.factor", "transaction.state.log.replication.factor", "transaction.state.log.min.isr",
    "share.coordinator.state.topic.replication.factor", "share.coordinator.state.topic.min.isr", "offsets.topic.num.partitions",
    "transaction.state.log.num.partitions", "share.coordinator.state.topic.num.partitions", "group.initial.rebalance.delay.ms",
    "socket.request.max.bytes", "queued.max.request.bytes", "log.segment.bytes", "log.index.size.max.bytes", "offsets.topic.segment.bytes",
    "num.network.threads", "num.io.threads", "background.threads", "group.coordinator.threads", "group.coordinator.background.threads",
    "log.cleaner.dedupe.buffer.size", "controller.quorum.append.linger.ms", "metadata.max.idle.interval.ms", "broker.session.timeout.ms",
    "broker.heartbeat.interval.ms", "metric.reporters",
}  # fmt: skip


def test_the_brokers_are_set_as_the_local_one_where_that_makes_sense() -> None:
    local = dict(line.split("=", 1) for line in server_properties(BrokerSettings(1, 2)).splitlines())
    cluster = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in kafka()["kafka"]["config"].items()}
    same = local.keys() - OF_THE_LAPTOP
    assert len(same) > 8
    assert {key: cluster.get(key) for key in same} == {key: local[key] for key in same}


@pytest.mark.parametrize(("brokers", "copies", "in_sync"), [(1, 1, 1), (3, 3, 2), (5, 3, 2)])
def test_copies_follow_the_number_of_brokers(brokers: int, copies: int, in_sync: int) -> None:
    config = kafka({"brokers": {"replicas": brokers}})["kafka"]["config"]
    assert {config[key] for key in config if key.endswith("replication.factor")} == {copies}
    assert {config[key] for key in config if key.endswith((".min.isr", "insync.replicas"))} == {in_sync}


def test_one_value_the_largest_image_drives_what_brokers_take() -> None:
    config = kafka({"maxImageBytes": 200 * 2**20})["kafka"]["config"]
    assert config["message.max.bytes"] == config["replica.fetch.max.bytes"] == 202 * 2**20
    assert config["socket.request.max.bytes"] == 203 * 2**20
    assert "socket.request.max.bytes" not in kafka()["kafka"]["config"]


def test_a_setting_of_the_users_wins() -> None:
    config = kafka({"config": {"group.consumer.session.timeout.ms": 20000, "log.retention.hours": 24}})["kafka"]["config"]
    assert config["group.consumer.session.timeout.ms"] == 20000
    assert config["log.retention.hours"] == 24
    assert config["group.consumer.heartbeat.interval.ms"] == 1000


def test_the_disruption_budget_is_strimzis_own() -> None:
    rendered = CHART.render({"disruptionBudget": {"maxUnavailable": 0}})
    assert "PodDisruptionBudget" not in rendered.kinds()
    assert rendered.one("Kafka")["spec"]["kafka"]["template"]["podDisruptionBudget"] == {"maxUnavailable": 0}


def test_optional_parts_are_there_only_when_asked_for() -> None:
    spec = kafka({"metrics": {"enabled": False}, "exporter": {"enabled": False}})
    assert "metricsConfig" not in spec["kafka"]
    assert not {"kafkaExporter", "cruiseControl"} & spec.keys()
    spec = kafka(EVERYTHING)
    assert spec["kafka"]["metricsConfig"]["type"] == "strimziMetricsReporter"
    assert spec["cruiseControl"]["autoRebalance"] == [{"mode": "add-brokers"}, {"mode": "remove-brokers"}]
    assert spec["kafka"]["rack"] == {"topologyKey": "topology.kubernetes.io/zone"}
    assert "rack" not in kafka()["kafka"]


def test_series_are_labelled_as_those_of_the_other_chart() -> None:
    for monitor in CHART.render(EVERYTHING).all("PodMonitor"):
        labels = {each["targetLabel"] for each in monitor["spec"]["podMetricsEndpoints"][0]["relabelings"]}
        assert labels == {"namespace", "pod", "release", "component"}


def test_all_pods_and_containers_are_as_the_restricted_standard_asks() -> None:
    contexts = security_contexts(CHART.render(EVERYTHING).objects)
    assert len(contexts) == 2 * 3 + 3 + 2 + 2, "pools, entity operator, exporter, Cruise Control"
    for each in contexts:
        security = each["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        if each["name"] != "pod":
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}


def test_an_uninstall_leaves_the_cluster_unless_told_otherwise() -> None:
    policies = {each["metadata"].get("annotations", {}).get("helm.sh/resource-policy") for each in CHART.render().objects}
    assert policies == {"keep"}
    policies = {each["metadata"].get("annotations", {}).get("helm.sh/resource-policy") for each in CHART.render({"keep": False}).objects}
    assert policies == {None}


def test_notes_say_how_to_get_the_operator_and_in_which_order_all_goes() -> None:
    notes = CHART.notes({"crdChecks": False})
    order = ["helm uninstall convnet", "delete kafkatopics,kafkausers", "helm uninstall kafka", "delete kafka/kafka", "delete pvc"]
    assert [notes.index(each) for each in order] == sorted(notes.index(each) for each in order)
    assert "helm install strimzi" in notes
    assert "NOT FOR PRODUCTION" not in notes
    assert "NOT FOR PRODUCTION" in CHART.notes({"crdChecks": False, "brokers": {"replicas": 1}})
    assert "topics.replicationFactor=1" in CHART.notes({"crdChecks": False, "brokers": {"replicas": 1}})
    assert "NOT FOR PRODUCTION" in CHART.notes({"crdChecks": False, "brokers": {"storage": {"type": "ephemeral"}}})
