"""Kafka: how each part logs on, and that topics and users are those of the running code."""

from __future__ import annotations

from typing import Any

import pytest

from convnet_kafka.kafka.connection import admin_options
from convnet_kafka.settings import KafkaSettings, TopicSettings
from convnet_kafka.topology import Topology
from support.convnet_chart import CHART, EXTERNAL, STRIMZI, TRIAL, Values, container, env, over, pod

NAMES = {"KAFKA_", "CONVNET_TOPICS_"}


def told(values: Values, part: str = "server") -> dict[str, Any]:
    found = env(container(CHART.render(values).one("Deployment", f"convnet-{part}")))
    return {name: value for name, value in found.items() if name.startswith(tuple(NAMES))}


@pytest.mark.parametrize("part", ["server", "classifier"])
def test_with_strimzi_a_part_logs_on_as_its_own_user_over_tls(part: str) -> None:
    found = told(STRIMZI, part)
    assert found["KAFKA_BOOTSTRAP_SERVERS"] == "main-kafka-bootstrap.vision.svc:9093"
    assert (found["KAFKA_SECURITY_PROTOCOL"], found["KAFKA_SASL_MECHANISM"]) == ("SASL_SSL", "SCRAM-SHA-512")
    assert found["KAFKA_SASL_USERNAME"] == f"convnet-{part}"
    volumes = {each["name"]: each for each in pod(CHART.render(STRIMZI).one("Deployment", f"convnet-{part}"))["volumes"]}
    assert volumes["kafka-user"]["secret"]["secretName"] == f"convnet-{part}"
    assert volumes["kafka-ca"]["secret"]["secretName"] == "main-cluster-ca-cert"


def test_with_strimzi_and_users_of_your_own_their_secrets_are_used() -> None:
    users = {"create": False, "server": {"secret": "a", "username": "ann"}, "classifier": {"secret": "b", "passwordKey": "pw"}}
    values = over(STRIMZI, kafka__users=users)
    assert "KafkaUser" not in CHART.render(values).kinds()
    assert told(values)["KAFKA_SASL_USERNAME"] == "ann"
    assert told(values, "classifier")["KAFKA_SASL_USERNAME"] == {"secretKeyRef": {"name": "b", "key": "username"}}
    assert told(values, "classifier")["KAFKA_SASL_PASSWORD_FILE"] == "/etc/convnet-kafka/user/pw"


OWN_USERS = {"create": False, "server": {"secret": "a"}, "classifier": {"secret": "b"}}
EXTERNAL_WAYS: dict[str, tuple[dict[str, Any], dict[str, Any], set[str]]] = {
    "PLAINTEXT": ({"bootstrapServers": "k:9092"}, {"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}, set()),
    "TLS": (
        {"bootstrapServers": "k:9093", "securityProtocol": "SSL", "ca": {"secret": "ca", "key": "root.pem"}},
        {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_LOCATION": "/etc/convnet-kafka/ca/root.pem"},
        {"kafka-ca"},
    ),
    "mutual TLS": (
        {"bootstrapServers": "k:9093", "securityProtocol": "SSL", "clientCertificate": {"secret": "me"}},
        {
            "KAFKA_SSL_CERTIFICATE_LOCATION": "/etc/convnet-kafka/certificate/tls.crt",
            "KAFKA_SSL_KEY_LOCATION": "/etc/convnet-kafka/certificate/tls.key",
        },
        {"kafka-certificate"},
    ),
    "SCRAM": (
        EXTERNAL["kafka"],
        {
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": {"secretKeyRef": {"name": "kafka-server", "key": "username"}},
            "KAFKA_SASL_PASSWORD_FILE": "/etc/convnet-kafka/user/password",
        },
        {"kafka-user", "kafka-ca"},
    ),
    "PLAIN": (EXTERNAL["kafka"] | {"saslMechanism": "PLAIN", "ca": {}}, {"KAFKA_SASL_MECHANISM": "PLAIN"}, {"kafka-user"}),
    "OAUTHBEARER": (
        {
            "bootstrapServers": "k:9093",
            "securityProtocol": "SASL_SSL",
            "saslMechanism": "OAUTHBEARER",
            "clientOptionsSecret": {"secret": "oauth"},
        },
        {
            "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
            "KAFKA_CLIENT_OPTIONS": {"secretKeyRef": {"name": "oauth", "key": "options.json"}},
        },
        set(),
    ),
}


@pytest.mark.parametrize("way", EXTERNAL_WAYS)
def test_any_kafka_can_be_logged_on_to(way: str) -> None:
    kafka, wanted, volumes = EXTERNAL_WAYS[way]
    rendered = CHART.render({"kafka": kafka})
    for part in ("server", "classifier"):
        deployment = rendered.one("Deployment", f"convnet-{part}")
        found = env(container(deployment))
        mine = {
            name: {"secretKeyRef": value["secretKeyRef"] | {"name": value["secretKeyRef"]["name"].replace("server", part)}}
            if isinstance(value, dict)
            else value
            for name, value in wanted.items()
        }
        assert {name: found[name] for name in wanted} == mine
        mounted = {each["name"] for each in container(deployment)["volumeMounts"]}
        assert {name for name in mounted if name.startswith("kafka-")} == volumes
        assert {each["name"] for each in pod(deployment)["volumes"]} == mounted


def test_options_that_are_passed_through_arrive_as_they_were_written(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"sasl.oauthbearer.method": "oidc", "socket.timeout.ms": 2000000, "api.version.request": True}
    for name, value in told(over(TRIAL, kafka__clientOptions=options)).items():
        monkeypatch.setenv(name, value)
    assert KafkaSettings().client_options == options


@pytest.mark.parametrize("part", ["server", "classifier"])
def test_the_services_take_what_the_chart_tells_them(part: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Their own settings classes read it, and librdkafka's options can be made of it."""
    for name, value in told(over(STRIMZI, topics__imagesRetentionHours=36.5, kafka__maxImageBytes=200_000_000), part).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "password").write_text("secret")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", str(tmp_path / "password"))
    kafka, topics = KafkaSettings(), TopicSettings()
    assert kafka.max_image_bytes == 200_000_000
    wanted = {"create": False, "images_partitions": 12, "replication_factor": 3, "min_insync_replicas": 2, "images_retention_hours": 36.5}
    assert topics.model_dump(include=set(wanted)) == wanted
    assert admin_options(kafka, "test")["sasl.username"] == f"convnet-{part}"


def test_topics_are_those_of_the_running_code() -> None:
    values = over(STRIMZI, kafka__maxImageBytes=5_000_000, topics={"imagesPartitions": 24, "labelsPartitions": 8, "jobLifeHours": 1.5})
    rendered = {
        each["spec"]["topicName"]: (
            each["spec"]["partitions"],
            each["spec"]["replicas"],
            {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in each["spec"]["config"].items()},
        )
        for each in CHART.render(values).all("KafkaTopic")
    }
    topics = TopicSettings(images_partitions=24, labels_partitions=8, job_life_hours=1.5, replication_factor=3, min_insync_replicas=2)
    kafka = KafkaSettings(topic_prefix="convnet", max_image_bytes=5_000_000)
    specs = Topology("convnet").specs(kafka, topics)
    assert rendered == {spec.name: (spec.partitions, spec.replication_factor, dict(spec.config)) for spec in specs}


@pytest.mark.parametrize(
    ("values", "creates", "objects"),
    [
        (STRIMZI, "false", 5),
        (over(STRIMZI, topics__create="never"), "false", 0),
        (over(STRIMZI, topics__create="application", kafka__users=OWN_USERS), "true", 0),
        (TRIAL, "true", 0),
        (EXTERNAL, "false", 0),
        (over(EXTERNAL, topics__create="application"), "true", 0),
    ],
)
def test_somebody_or_nobody_makes_topics_but_never_two(values: Values, creates: str, objects: int) -> None:
    assert told(values)["CONVNET_TOPICS_CREATE"] == creates
    assert len(CHART.render(values).all("KafkaTopic")) == objects


def test_topics_stay_when_the_release_goes() -> None:
    for topic in CHART.render(STRIMZI).all("KafkaTopic"):
        assert topic["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        assert topic["metadata"]["labels"]["strimzi.io/cluster"] == "main"


def test_no_user_has_a_right_on_what_another_release_has() -> None:
    """A prefix ends in a dot: `a` must not have the rights of `a2`."""
    for user in CHART.render(over(STRIMZI, classifier__autoscaling={"mode": "keda"})).all("KafkaUser"):
        for acl in user["spec"]["authorization"]["acls"]:
            name, kind = acl["resource"].get("name", ""), acl["resource"].get("patternType")
            assert (acl["resource"]["type"] == "cluster" and user["metadata"]["name"] == "convnet-tools") or name.startswith("convnet.")
            assert kind != "prefix" or name.endswith(".")
            assert "All" not in acl["operations"]


def test_keda_has_a_user_only_where_keda_is_used() -> None:
    names = {each["metadata"]["name"] for each in CHART.render(STRIMZI).all("KafkaUser")}
    assert names == {"convnet-server", "convnet-classifier", "convnet-tools"}
    scaled = CHART.render(over(STRIMZI, classifier__autoscaling={"mode": "keda"}))
    assert {each["metadata"]["name"] for each in scaled.all("KafkaUser")} == names | {"convnet-keda"}
