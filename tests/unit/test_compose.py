"""compose.yaml: Kafka set as the local broker is, pods locked down, and everything it names is there."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from convnet_kafka.local import brokersettings
from convnet_kafka.local.brokersettings import BrokerSettings
from convnet_kafka.settings import ClassifierSettings, KafkaSettings, ServerSettings, TopicSettings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = ["server", "trainer", "classifier"]
# What differs for a reason: where it listens, who it is, where its data lies, its heap.
OWN = {
    "KAFKA_NODE_ID",
    "KAFKA_PROCESS_ROLES",
    "KAFKA_LISTENERS",
    "KAFKA_ADVERTISED_LISTENERS",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
    "KAFKA_INTER_BROKER_LISTENER_NAME",
    "KAFKA_CONTROLLER_LISTENER_NAMES",
    "KAFKA_CONTROLLER_QUORUM_VOTERS",
    "KAFKA_LOG_DIRS",
    "KAFKA_HEAP_OPTS",
}


def test_kafka_in_compose_is_set_as_the_local_broker_is() -> None:
    text = brokersettings.server_properties(BrokerSettings(port=1, controller_port=2))
    local = dict(line.split("=", 1) for line in text.splitlines())
    shared = {name: value for name, value in SERVICES["kafka"]["environment"].items() if name not in OWN}
    # The image of Apache Kafka turns KAFKA_A_B into the setting a.b.
    assert {name: local.get(name.removeprefix("KAFKA_").replace("_", ".").lower()) for name in shared} == shared
    # A group setting left out would be a broker default of 45 s.
    groups = {name for name in local if name.startswith("group.consumer.")}
    assert groups <= {name.removeprefix("KAFKA_").replace("_", ".").lower() for name in shared}


def test_compose_runs_the_kafka_version_that_the_local_broker_runs() -> None:
    from convnet_kafka.local.kafkajars import KAFKA_VERSION

    assert SERVICES["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


@pytest.mark.parametrize("name", OURS)
def test_our_containers_are_locked_down(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


@pytest.mark.parametrize("name", OURS)
def test_our_containers_set_only_settings_that_exist(name: str) -> None:
    known = {
        f"{settings.model_config['env_prefix']}{field}".upper()
        for settings in (KafkaSettings, TopicSettings, ServerSettings, ClassifierSettings)
        for field in settings.model_fields
    }
    assert set(SERVICES[name].get("environment", {})) <= known


@pytest.mark.parametrize("name", ["signing-key", *OURS])
def test_what_a_container_is_built_from_is_there(name: str) -> None:
    build = SERVICES[name]["build"]
    stages = (ROOT / build["dockerfile"]).read_text()
    assert f" AS {build.get('target', 'server')}\n" in stages
    for volume in SERVICES[name].get("volumes", []):
        assert volume.split(":")[0] in COMPOSE["volumes"]
