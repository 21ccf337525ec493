"""Values about Kafka: which one, how to log on, the topics, the users, and the broker of the trial mode."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from convnet_charts.values.base import KubernetesObject, ObjectName, Port, Quantity, Values
from convnet_charts.values.common import Image, ServiceAccount, Workload

MIB = 1024 * 1024


class Credentials(Values):
    """A user's name and password in a Secret."""

    secret: ObjectName = ""
    """Secret that holds them; with `kafka.strimzi` empty takes the KafkaUser's own, which Strimzi makes."""
    username: str = ""
    """The name itself; empty takes it from the Secret (with `kafka.strimzi`: the KafkaUser's name)."""
    username_key: str = "username"
    """Where the Secret has the name."""
    password_key: str = "password"  # noqa: S105 - the key of a Secret, not a password
    """Where the Secret has the password."""


class Users(Values):
    """Who the parts of the release are for Kafka. With `kafka.strimzi` each is a KafkaUser with the rights that it needs and no more."""

    create: bool = True
    """Make KafkaUsers, with `kafka.strimzi.cluster`. Otherwise name Secrets of users that are there."""
    server: Credentials = Field(default_factory=Credentials)
    """Servers: write images, read labels and positions."""
    classifier: Credentials = Field(default_factory=Credentials)
    """Classifiers: read images, write labels and dead letters."""
    tools: Credentials = Field(default_factory=Credentials)
    """`convnet-kafka topics`, `dlq` and the like (`tools.enabled`)."""
    keda: Credentials = Field(default_factory=Credentials)
    """KEDA: sees what waits, and nothing else."""


class Strimzi(Values):
    """A Kafka that Strimzi runs in the release's namespace (for example one of the chart helm/kafka)."""

    cluster: ObjectName = ""
    """Name of its Kafka object. The chart then knows address, certificate and users."""
    port: Port = 9093
    """Port of its listener with TLS and SCRAM-SHA-512."""


class TlsSecret(Values):
    """A certificate in a Secret."""

    secret: ObjectName = ""
    """Name of the Secret; empty: none."""
    certificate_key: str = "tls.crt"
    """Where it has the certificate."""
    private_key: str = "tls.key"
    """Where it has the private key."""


class CaSecret(Values):
    """The authority that signed the brokers' certificates."""

    secret: ObjectName = ""
    """Secret that holds its certificate as PEM; empty: the authorities that the image knows."""
    key: str = "ca.crt"
    """Where it has it."""


class ClientOptionsSecret(Values):
    """Options that are secrets themselves."""

    secret: ObjectName = ""
    """Secret with options of librdkafka as JSON, for example `{"sasl.oauthbearer.client.secret": "..."}`; wins over `clientOptions`."""
    key: str = "options.json"
    """Where it has them."""


class Storage(Values):
    """The disk of the trial broker."""

    enabled: bool = True
    """Keep its data on a volume; otherwise they are gone with the pod."""
    storage_class: str = ""
    """StorageClass; empty takes the cluster's default."""
    size: Quantity = "5Gi"
    """Size of the volume."""


class EmbeddedKafka(Workload):
    """TRIAL ONLY: one broker without copies, encryption or passwords, so that an empty cluster is enough to try the chart."""

    enabled: bool = False
    """Run it. Never for images that matter: the loss of its node or disk loses them."""
    image: Image = Field(default_factory=lambda: Image(repository="convnet-kafka-broker"))
    """The image of its container."""
    resources: KubernetesObject = Field(
        default_factory=lambda: {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}
    )
    """Requests and limits."""
    service_account: ServiceAccount = Field(default_factory=ServiceAccount)
    """Its identity."""
    storage: Storage = Field(default_factory=Storage)
    """Its disk."""


class Kafka(Values):
    """Which Kafka: exactly one of `bootstrapServers`, `strimzi.cluster` and `embedded.enabled`."""

    bootstrap_servers: str = ""
    """Addresses of any Kafka, `host:port`, comma separated."""
    strimzi: Strimzi = Field(default_factory=Strimzi)
    """One that Strimzi runs here."""
    embedded: EmbeddedKafka = Field(default_factory=EmbeddedKafka)
    """The trial mode."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How to log on to `bootstrapServers`, as Kafka names it. With `strimzi` it is SASL_SSL."""
    sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = ""
    """SASL mechanism, with one of the SASL protocols. OAUTHBEARER takes all it needs from `clientOptions`."""
    ca: CaSecret = Field(default_factory=CaSecret)
    """Whose certificates brokers have."""
    client_certificate: TlsSecret = Field(default_factory=TlsSecret)
    """Certificate to log on with (mutual TLS)."""
    client_options: dict[str, str | int | bool] = Field(default_factory=dict)
    """Further options of librdkafka, passed through as they are; they win over ours."""
    client_options_secret: ClientOptionsSecret = Field(default_factory=ClientOptionsSecret)
    """The same, from a Secret."""
    group_protocol: Literal["consumer", "classic"] = "consumer"
    """`consumer` is KIP-848; `classic` is for brokers older than 4.0."""
    max_image_bytes: Annotated[int, Field(ge=1024, le=256 * MIB)] = 10 * MIB
    """The largest image, in bytes. Drives the HTTP limit, the producer, the topics and the consumers; brokers must take as much."""
    users: Users = Field(default_factory=Users)
    """Who the parts are for Kafka."""


class Topics(Values):
    """The release's topics."""

    prefix: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{0,100}$")] = ""
    """Before the name of every topic and group; empty takes the release's name. Two releases on one Kafka need two."""
    create: Literal["auto", "application", "never"] = "auto"
    """Who makes them. `auto`: Strimzi with `kafka.strimzi`, the services in the trial mode, else nobody. `application`: the services.
    Topics stay when the release is uninstalled (NOTES say how they go)."""
    images_partitions: Annotated[int, Field(ge=1, le=1000)] = 12
    """Partitions of each lane: the most classifiers that can share the work. Kafka can add some later and takes none away."""
    labels_partitions: Annotated[int, Field(ge=1, le=1000)] = 6
    """Partitions of the labels topic: jobs are spread over them."""
    replication_factor: Annotated[int, Field(ge=1, le=10)] | None = None
    """Copies of each partition; empty: 3, and 1 in the trial mode."""
    min_insync_replicas: Annotated[int, Field(ge=1, le=10)] | None = None
    """Copies that must have an image before it counts as accepted; empty: 2, and 1 in the trial mode."""
    images_retention_hours: Annotated[float, Field(gt=0)] = 7 * 24
    """Hours that images wait at most. Servers refuse uploads when half of it is used up."""
    job_life_hours: Annotated[float, Field(gt=0)] = 3 * 24
    """Hours that a job can be written to and read from."""
