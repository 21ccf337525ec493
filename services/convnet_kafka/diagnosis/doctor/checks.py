"""The list of checks, in the order in which they make sense: what a later one needs, an earlier one has looked at. And who runs them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

import structlog
from confluent_kafka import KafkaException

from convnet_kafka.diagnosis.doctor import kafka, lanes, machine, model, network, records, replicas, secrets, topics
from convnet_kafka.diagnosis.doctor.findings import Finding, Findings, fail, skip
from convnet_kafka.diagnosis.doctor.installation import Installation
from convnet_kafka.errors import ConvnetKafkaError

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at.

    Attributes:
        name: stable; scripts select by it.
        look: looks; its docstring's first line says at what.
        needs_kafka: whether it can only look when Kafka answers.
    """

    name: str
    look: Callable[[Installation], Findings]
    needs_kafka: bool = True

    @property
    def says(self) -> str:
        """What is as it must be when it passes."""
        return (self.look.__doc__ or "").partition("\n")[0]


CHECKS = (
    Check("settings", machine.settings, needs_kafka=False),
    Check("versions", machine.versions, needs_kafka=False),
    Check("disk", machine.disk, needs_kafka=False),
    Check("signing-keys", secrets.signing, needs_kafka=False),
    Check("api-keys", secrets.api_keys, needs_kafka=False),
    Check("kafka-password", secrets.kafka_password, needs_kafka=False),
    Check("model", model.registry, needs_kafka=False),
    Check("names", network.names, needs_kafka=False),
    Check("ports", network.ports, needs_kafka=False),
    Check("tls", network.tls, needs_kafka=False),
    Check("kafka", kafka.answers, needs_kafka=False),
    Check("brokers", kafka.brokers),
    Check("topics", topics.settings),
    Check("partitions", topics.partitions),
    Check("job", topics.job),
    Check("groups", lanes.groups),
    Check("backlog", lanes.backlog),
    Check("wire", records.wire),
    Check("clocks", records.clocks),
    Check("control", model.told),
    Check("dead-letters", records.dead_letters),
    Check("replicas", replicas.answers, needs_kafka=False),
)


def examine(place: Installation, names: Collection[str] = ()) -> Iterator[Finding]:
    """What the checks find, one after the other.

    Args:
        place: what to look at.
        names: only these checks, and whether Kafka answers where one of them needs it; all when empty.
    """
    chosen = [check for check in CHECKS if not names or check.name in names]
    if any(check.needs_kafka for check in chosen) and all(check.name != "kafka" for check in chosen):
        chosen.insert(0, next(check for check in CHECKS if check.name == "kafka"))
    for check in chosen:
        if check.needs_kafka and not place.kafka_answers:
            yield replace(skip("Kafka does not answer"), check=check.name)
            continue
        for finding in _looked(check, place):
            yield replace(finding, check=check.name)


def _looked(check: Check, place: Installation) -> Iterator[Finding]:
    try:
        yield from check.look(place)
    except ConvnetKafkaError as error:
        yield fail(str(error), "")
    except KafkaException as error:
        yield fail(
            f"Kafka refused: {error.args[0].str()}", "may this user do what the check needs (ACLs: Describe, Read, DescribeConfigs)?"
        )
    except Exception as error:
        # The other checks are worth having all the same.
        logger.debug("a check failed", check=check.name, exc_info=True)
        yield fail(f"the check itself failed: {type(error).__name__}: {error}", "that is a fault of convnet-kafka: please report it")
