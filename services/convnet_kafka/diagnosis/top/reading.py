"""One look at everything: what each replica and Kafka said at one moment. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from convnet_kafka.diagnosis.endpoints import Endpoint
from convnet_kafka.diagnosis.groups import Group
from convnet_kafka.diagnosis.top.samples import Samples
from convnet_kafka.kafka.positions import Position
from convnet_kafka.messages import Lane


@dataclass(frozen=True, slots=True)
class ReplicaReading:
    """A server or classifier.

    Attributes:
        endpoint: where it is.
        role: `server`, `classifier`, or empty when it did not say.
        replica: host and process, as it names itself in its Kafka clients; empty when it did not say.
        ready: whether it says that it is.
        reasons: why it is not, or why it did not answer.
        samples: its metrics.
    """

    endpoint: Endpoint
    role: str
    replica: str
    ready: bool
    reasons: tuple[str, ...]
    samples: Samples


@dataclass(frozen=True, slots=True)
class LaneReading:
    """A lane in Kafka.

    Attributes:
        positions: the group on each partition.
        group: who is a member, None when that cannot be seen.
    """

    positions: Mapping[int, Position]
    group: Group | None


@dataclass(frozen=True, slots=True)
class KafkaReading:
    """Kafka.

    Attributes:
        brokers: how many there are.
        lanes: what waits.
        dead_letters: records in the topic of dead letters; None when it cannot be seen.
        dead_letters_ever: its end offsets summed, which only grow.
    """

    brokers: int
    lanes: Mapping[Lane, LaneReading]
    dead_letters: int | None
    dead_letters_ever: int


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything, at one moment.

    Attributes:
        at: `time.monotonic()`.
        replicas: what was asked and what it said.
        kafka: None when it did not answer.
        problems: sentences about what could not be looked at.
    """

    at: float
    replicas: tuple[ReplicaReading, ...] = ()
    kafka: KafkaReading | None = None
    problems: tuple[str, ...] = field(default=())
