"""What is looked at: the settings of this place, as its services read them, and clients to ask Kafka with.

Owns the admin client. Opens nothing before it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka.admin import AdminClient

from convnet_kafka.diagnosis.endpoints import Endpoint
from convnet_kafka.kafka.connection import Options, admin_options, reader_options
from convnet_kafka.kafka.positions import GroupPositions
from convnet_kafka.messages import Lane
from convnet_kafka.settings import ClassifierSettings, KafkaSettings, ServerSettings, TopicSettings
from convnet_kafka.topology import Topology, max_dead_letter_bytes

# Our share of a process that does nothing else.
BUFFER_SHARE = 0.25


@dataclass(slots=True)
class Installation:
    """One release, seen from where we run.

    Attributes:
        kafka: how to reach Kafka.
        topics: what the topics must be like.
        server: a server's settings, None when no server is set up here.
        classifier: a classifier's settings, None when none is set up here.
        environment: the variables that the settings came from.
        endpoints: where servers and classifiers answer over HTTP.
        folder: data folder of a stack on this machine, None elsewhere.
        job: id of a job to look at, or None.
        patience_s: seconds that Kafka, a name or an address may take to answer.
        kafka_answers: set by the check that asks Kafka first.
    """

    kafka: KafkaSettings
    topics: TopicSettings
    server: ServerSettings | None = None
    classifier: ClassifierSettings | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    endpoints: Sequence[Endpoint] = ()
    folder: Path | None = None
    job: str | None = None
    patience_s: float = 5.0
    kafka_answers: bool = False
    _admin: AdminClient | None = None

    @property
    def topology(self) -> Topology:
        """Names of the topics and groups."""
        return Topology(self.kafka.topic_prefix)

    @property
    def client_id(self) -> str:
        """As the brokers' logs name us."""
        return f"{self.kafka.topic_prefix}-doctor"

    @property
    def bootstrap(self) -> list[tuple[str, int]]:
        """Hosts and ports of `KAFKA_BOOTSTRAP_SERVERS`; a port is 9092 where none stands, as librdkafka has it."""
        found = []
        for address in self.kafka.bootstrap_servers.split(","):
            # An address may begin with a protocol, and an IPv6 address stands in brackets.
            host, _, port = address.strip().rpartition("://")[2].rpartition(":")
            found.append((host.strip("[]"), int(port)) if host and port.isdigit() else (port.strip("[]"), 9092))
        return [(host, port) for host, port in found if host]

    def admin(self) -> AdminClient:
        """One client for all checks."""
        if self._admin is None:
            self._admin = AdminClient(admin_options(self.kafka, self.client_id))
        return self._admin

    def reading(self) -> Options:
        """Options of a consumer without a group."""
        return reader_options(self.kafka, self.client_id, share=BUFFER_SHARE, max_record_bytes=max_dead_letter_bytes(self.kafka))

    def positions(self, lane: Lane) -> GroupPositions:
        """Looks at a lane's group; to be closed by whoever asked."""
        return GroupPositions(self.reading(), self.topology.images(lane), self.topology.group(lane))
