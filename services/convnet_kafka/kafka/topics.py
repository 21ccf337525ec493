"""Topics as they must be: created where that is allowed, otherwise compared, with every difference said.

Owns no connection: it is given an AdminClient.
"""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without `as`
    AdminClient,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from convnet_kafka.errors import KafkaUnavailable, TopicMismatch

if TYPE_CHECKING:
    from concurrent.futures import Future

# Broker-side work on a handful of topics takes milliseconds; a loaded broker gets a few seconds.
ADMIN_TIMEOUT_S = 10.0
SEEN_STEP_S = 0.02
SESSION_TIMEOUT = "group.consumer.session.timeout.ms"
# As local/brokersettings.py has it; Kafka's own default is 45 s.
WANTED_SESSION_MS = 10_000

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic must be like.

    Attributes:
        name: full name, prefix included.
        partitions: at least this many.
        replication_factor: copies of each partition, used when it is created.
        config: topic settings as Kafka names them, values as Kafka prints them.
    """

    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str]


def _result(future: Future[Any], what: str) -> Any:
    """An admin future's result, with our error where Kafka did not answer."""
    try:
        return future.result(timeout=ADMIN_TIMEOUT_S + 1)
    except concurrent.futures.TimeoutError as error:
        raise KafkaUnavailable(f"Kafka did not answer in {ADMIN_TIMEOUT_S:.0f} s while asked to {what}") from error


def _existing(admin: AdminClient) -> dict[str, int]:
    """Names of all topics and how many partitions each has."""
    try:
        metadata = admin.list_topics(timeout=ADMIN_TIMEOUT_S)
    except KafkaException as error:
        raise KafkaUnavailable(
            f"Kafka did not list its topics in {ADMIN_TIMEOUT_S:.0f} s: {error.args[0]}; is KAFKA_BOOTSTRAP_SERVERS right?"
        ) from error
    return {name: len(topic.partitions) for name, topic in metadata.topics.items()}


def create_missing(admin: AdminClient, specs: Sequence[TopicSpec]) -> list[str]:
    """Create the topics that are not there, and return when they can be seen; two processes may do so at once.

    Returns:
        Names of the topics this call created.

    Raises:
        KafkaUnavailable: Kafka did not answer.
        TopicMismatch: Kafka refused to create one, for example because it has fewer brokers than copies were asked for.
    """
    existing = _existing(admin)
    missing = [spec for spec in specs if spec.name not in existing]
    if not missing:
        return []
    futures = admin.create_topics(
        [NewTopic(spec.name, spec.partitions, spec.replication_factor, config=dict(spec.config)) for spec in missing],
        operation_timeout=ADMIN_TIMEOUT_S,
        request_timeout=ADMIN_TIMEOUT_S,
    )
    created = []
    for name, future in futures.items():
        try:
            _result(future, f"create topic {name}")
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicMismatch(f"Kafka refused to create topic {name}: {error.args[0].str()}") from error
        else:
            created.append(name)
    _wait_until_seen(admin, specs)
    return created


def _wait_until_seen(admin: AdminClient, specs: Sequence[TopicSpec]) -> None:
    """The controller answers before the brokers know: a topic just created may be unknown to them for some milliseconds."""
    deadline = time.monotonic() + ADMIN_TIMEOUT_S
    while unseen := missing(admin, specs):
        if time.monotonic() > deadline:
            raise KafkaUnavailable(f"topics were created but cannot be seen after {ADMIN_TIMEOUT_S:.0f} s: {', '.join(unseen)}")
        time.sleep(SEEN_STEP_S)


def missing(admin: AdminClient, specs: Sequence[TopicSpec]) -> list[str]:
    """Names of the topics that are not there, or that we may not see.

    Raises:
        KafkaUnavailable: Kafka did not answer.
    """
    existing = _existing(admin)
    return [spec.name for spec in specs if spec.name not in existing]


def grow(admin: AdminClient, wanted: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Give topics more partitions, and return when they can be seen. Records stay where they are.

    Args:
        admin: of the cluster.
        wanted: topic -> partitions. One that has as many or more is left as it is: Kafka takes none away.

    Returns:
        Topic -> partitions before and after, for those that have grown.

    Raises:
        KafkaUnavailable: Kafka did not answer.
        TopicMismatch: a topic does not exist, or Kafka refused.
    """
    existing = _existing(admin)
    if absent := [name for name in wanted if name not in existing]:
        raise TopicMismatch(f"topics do not exist: {', '.join(absent)}; run 'convnet-kafka topics create'")
    grown = {name: (existing[name], count) for name, count in wanted.items() if existing[name] < count}
    if not grown:
        return {}
    new = [NewPartitions(name, count) for name, (_, count) in grown.items()]
    futures = admin.create_partitions(new, operation_timeout=ADMIN_TIMEOUT_S, request_timeout=ADMIN_TIMEOUT_S)
    for name, future in futures.items():
        try:
            _result(future, f"grow topic {name}")
        except KafkaException as error:
            raise TopicMismatch(f"Kafka refused to grow topic {name} to {wanted[name]} partitions: {error.args[0].str()}") from error
    deadline = time.monotonic() + ADMIN_TIMEOUT_S
    while any(_existing(admin)[name] < count for name, (_, count) in grown.items()):
        if time.monotonic() > deadline:
            raise KafkaUnavailable(f"topics have grown but that cannot be seen after {ADMIN_TIMEOUT_S:.0f} s: {', '.join(grown)}")
        time.sleep(SEEN_STEP_S)
    return grown


def slow_groups(admin: AdminClient) -> str | None:
    """How long the brokers let a killed member of a KIP-848 group keep its partitions, in a sentence, when that is long; else None.

    None as well where they do not tell: brokers before 4.0 have no such setting, and ACLs may hide it.
    """
    try:
        broker = next(iter(admin.list_topics(timeout=ADMIN_TIMEOUT_S).brokers))
        resource = ConfigResource(ResourceType.BROKER, str(broker))
        settings = _result(admin.describe_configs([resource], request_timeout=ADMIN_TIMEOUT_S)[resource], "describe a broker")
    except (KafkaException, StopIteration) as error:
        logger.debug("the broker's settings cannot be read", error=str(error))
        return None
    session = settings.get(SESSION_TIMEOUT)
    if session is None or int(session.value) <= WANTED_SESSION_MS:
        return None
    return (
        f"the brokers have {SESSION_TIMEOUT}={session.value}: the images of a killed classifier wait for that long; "
        f"{WANTED_SESSION_MS} is ours, with group.consumer.heartbeat.interval.ms=1000 and their minima to match"
    )


def differences(admin: AdminClient, specs: Sequence[TopicSpec]) -> list[str]:
    """One sentence for each way in which the topics are not as they must be.

    Raises:
        KafkaUnavailable: Kafka did not answer.
    """
    existing = _existing(admin)
    found = []
    present = []
    for spec in specs:
        partitions = existing.get(spec.name)
        if partitions is None:
            found.append(f"topic {spec.name} does not exist: create it with {spec.partitions} partitions")
            continue
        present.append(spec)
        if partitions < spec.partitions:
            found.append(f"topic {spec.name} has {partitions} partitions, {spec.partitions} are set")
    if not present:
        return found
    resources = {spec.name: ConfigResource(ResourceType.TOPIC, spec.name) for spec in present}
    futures = admin.describe_configs(list(resources.values()), request_timeout=ADMIN_TIMEOUT_S)
    configs = {resource.name: future for resource, future in futures.items()}
    for spec in present:
        try:
            actual = _result(configs[spec.name], f"describe topic {spec.name}")
        except KafkaException as error:
            found.append(f"topic {spec.name}: its settings cannot be read ({error.args[0].str()}); allow DescribeConfigs to check them")
            continue
        found += [
            f"topic {spec.name} has {key}={actual[key].value}, must be {value}"
            for key, value in spec.config.items()
            if key in actual and actual[key].value != value
        ]
    return found


def topic_id(admin: AdminClient, topic: str) -> bytes:
    """The topic's UUID (KIP-516), 16 bytes; another one means that the topic, or its cluster, was made anew.

    Raises:
        KafkaUnavailable: Kafka did not answer.
        TopicMismatch: the topic does not exist.
    """
    future = admin.describe_topics(TopicCollection([topic]), request_timeout=ADMIN_TIMEOUT_S)[topic]
    try:
        description = _result(future, f"describe topic {topic}")
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise TopicMismatch(f"topic {topic} does not exist: run 'convnet-kafka topics create', or create it") from error
        raise KafkaUnavailable(f"Kafka did not describe topic {topic}: {error.args[0].str()}") from error
    uuid = description.topic_id
    most, least = uuid.get_most_significant_bits(), uuid.get_least_significant_bits()
    return b"".join((half & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "big") for half in (most, least))
