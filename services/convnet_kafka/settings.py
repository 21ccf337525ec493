"""Every setting of every service, one class per owner, each field documented where it stands.

Values come from the command line first, then from the environment (the prefix stands in each class), then from here.
Settings that hang together (the largest image, the memory budget) are one field each; what follows from them is derived in
`topology.py` and `kafka/connection.py`, never set twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSetting

from convnet_kafka.errors import SettingsError

MIB = 1024 * 1024


class KafkaSettings(BaseSettings):
    """How to reach Kafka. Environment prefix: `KAFKA_`."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_", extra="ignore", use_attribute_docstrings=True)

    bootstrap_servers: str = "127.0.0.1:9092"
    """Addresses of brokers, `host:port`, comma separated."""
    topic_prefix: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,100}$")] = "convnet"
    """Prefix of all topics and groups; one per release, so that several models live side by side on one Kafka."""
    group_protocol: Literal["consumer", "classic"] = "consumer"
    """`consumer` is KIP-848; `classic` (cooperative-sticky) is for brokers older than 4.0."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """As Kafka names them."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    """SASL mechanism, with one of the SASL protocols."""
    sasl_username: str | None = None
    """SASL user."""
    sasl_password: SecretStr | None = None
    """SASL password."""
    sasl_password_file: Path | None = None
    """File that holds the SASL password (a mounted secret); read at start."""
    ssl_ca_location: Path | None = None
    """PEM file of the authority that signed the brokers' certificates."""
    ssl_certificate_location: Path | None = None
    """PEM file of this client's certificate, for mutual TLS."""
    ssl_key_location: Path | None = None
    """PEM file of this client's key, for mutual TLS."""
    client_options: dict[str, str | int | bool] = Field(default_factory=dict)
    """Further librdkafka options as JSON, passed through as they are (`{"sasl.oauthbearer.config": "..."}`); they win over ours."""
    max_image_bytes: Annotated[int, Field(ge=1024, le=256 * MIB)] = 10 * MIB
    """The largest image. Drives the HTTP limit, the producer, the topics, the broker's fetches and the consumers."""
    memory_budget_mib: Annotated[int, Field(ge=16, le=16384)] = 48
    """Memory in MiB that all librdkafka buffers of one process may take together."""


class TopicSettings(BaseSettings):
    """The topics of one release. Environment prefix: `CONVNET_TOPICS_`."""

    model_config = SettingsConfigDict(env_prefix="CONVNET_TOPICS_", extra="ignore", use_attribute_docstrings=True)

    create: bool = False
    """Create missing topics. The laptop stack and trial mode say yes; elsewhere topics are only checked."""
    images_partitions: Annotated[int, Field(ge=1, le=1000)] = 12
    """Partitions of each lane: the most classifiers that can share the work."""
    labels_partitions: Annotated[int, Field(ge=1, le=1000)] = 6
    """Partitions of the labels topic: jobs are spread over them."""
    replication_factor: Annotated[int, Field(ge=1, le=10)] = 1
    """Copies of each partition. 3 on a real cluster."""
    min_insync_replicas: Annotated[int, Field(ge=1, le=10)] = 1
    """Copies that must have an image before it counts as accepted. 2 with three brokers."""
    images_retention_hours: Annotated[float, Field(gt=0)] = 7 * 24
    """Hours that images wait at most. Servers refuse uploads when half of it is used up."""
    job_life_hours: Annotated[float, Field(gt=0)] = 3 * 24
    """Hours that a job can be written to and read from."""


class ServerSettings(BaseSettings):
    """The HTTP ingest server. Environment prefix: `CONVNET_SERVER_`."""

    model_config = SettingsConfigDict(env_prefix="CONVNET_SERVER_", extra="ignore", use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port to listen on; 0 takes a free one and logs it."""
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that share the port (SO_REUSEPORT)."""
    signing_key_files: Annotated[list[Path], NoDecode, Field(min_length=1, max_length=2)] = Field(
        default_factory=list, validate_default=False
    )
    """One or two files, comma separated, with the secret that signs job ids (32 bytes or more). The first signs, all are accepted."""
    keys_file: Path | None = None
    """File with the API keys (`convnet-kafka keys`), read again when it changes; without it nobody is asked for a key."""
    insecure: bool = False
    """Listen on addresses that other machines reach without asking for keys."""
    access_log: bool = False
    """Log every request at info: route, status, seconds, bytes, images, key and tenant by name."""
    log_names: bool = False
    """Add the random part of the job's id, and the name of a single image, to the access log."""
    max_request_bytes: Annotated[int, Field(ge=MIB)] = 1024 * MIB
    """Largest body of one upload."""
    max_request_images: Annotated[int, Field(ge=1)] = 100_000
    """Most images in one upload."""
    max_uploads: Annotated[int, Field(ge=1)] = 64
    """Uploads in progress at once in one process; one more is answered 429."""
    upload_memory_mib: Annotated[int, Field(ge=1)] = 128
    """Memory in MiB for images of which only a part has come, in one process; beyond it their senders wait, one image at a time goes on."""
    spool_mib: Annotated[int, Field(ge=1)] = 1024
    """Disk in MiB for zip archives in one process, which lie there until they are read (256 MiB each at most); one more is answered 429."""
    spool_folder: Path | None = None
    """Where they lie; the system's folder for temporary files when not set."""
    max_classify: Annotated[int, Field(ge=1)] = 256
    """Calls of `POST /v1/classify` in progress at once in one process; one more is answered 503 (`fast-lane-busy`)."""
    bulk_drain_limit_s: Annotated[float, Field(ge=0)] = 86_400.0
    """Seconds that the work waiting in the bulk lane may take, at the rate it is done now; above it uploads are answered 503
    (`backlog-too-long`). 0 switches it off. A day: labels must come while their job lives."""
    fast_drain_limit_s: Annotated[float, Field(ge=0)] = 30.0
    """The same for the fast lane, whoever waits there and however long."""
    fast_jobs_wait_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    """Seconds that what waits in the fast lane may take when a job sends more to it; above it that upload is answered 503
    (`fast-lane-busy`), so that nobody who waits for `classify` stands behind a job."""
    max_waiting_images: Annotated[int, Field(ge=0)] = 0
    """Images that may wait in a lane, also while no classifier runs and nobody knows how long they take; 0 is no limit."""
    backlog_age_limit: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Part of the images' retention that an image may wait; beyond it uploads are answered 503 (`backlog-too-old`) until it is classified,
    so that none expires unseen. 0 switches that off: then images may be lost when classifiers are away for too long."""
    backlog_look_s: Annotated[float, Field(gt=0, le=60)] = 2.0
    """Seconds between looks at what waits in the lanes."""
    upload_deadline_s: Annotated[float, Field(gt=0)] = 120.0
    """Seconds one upload may take; what remains then is answered `unknown`."""
    delivery_timeout_s: Annotated[float, Field(gt=0)] = 15.0
    """Seconds Kafka has to acknowledge an image (`message.timeout.ms`)."""
    classify_timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    """Seconds `POST /v1/classify` waits for its labels unless the caller says otherwise."""
    seen_memory_mib: Annotated[int, Field(ge=1)] = 64
    """Memory in MiB for what was seen of recent jobs (least recently used jobs are forgotten, and rebuilt from Kafka when asked for)."""
    max_scans: Annotated[int, Field(ge=1, le=64)] = 4
    """Readers of one process that may be catching up at once; one more is answered 503."""
    kafka_down_unready_s: Annotated[float, Field(gt=0)] = 10.0
    """Seconds without Kafka until `/readyz` says no."""
    shutdown_delay_s: Annotated[float, Field(ge=0)] = 5.0
    """Seconds a server goes on accepting after SIGTERM: endpoints go away late."""
    shutdown_timeout_s: Annotated[float, Field(gt=0)] = 20.0
    """Seconds that requests in progress have to end after that."""

    @field_validator("signing_key_files", mode="before")
    @classmethod
    def _split_paths(cls, value: object) -> object:
        return [part for part in value.split(",") if part] if isinstance(value, str) else value


class ClassifierSettings(BaseSettings):
    """One classifier. Environment prefix: `CONVNET_CLASSIFIER_`."""

    model_config = SettingsConfigDict(env_prefix="CONVNET_CLASSIFIER_", extra="ignore", use_attribute_docstrings=True)

    models: Path = Path("models")
    """Folder of the model registry."""
    backend: Annotated[str, Field(pattern=r"^(litert|tensorflow|[A-Za-z_][\w.]*:[A-Za-z_]\w*)$")] = "litert"
    """What predicts: `litert`, `tensorflow`, or a function of your own as `module:function` (classifier/backends.py says what it gets)."""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Threads of one prediction. More throughput comes from more replicas, not from threads."""
    max_batch: Annotated[int, Field(ge=1, le=1024)] = 256
    """Images in one batch at most. What a batch may take, 40 to 100 ms, bounds it too: only small images come so many together."""
    max_delay_s: Annotated[float, Field(ge=0, le=1)] = 0.002
    """Seconds the first image of a bulk batch may wait for company."""
    bulk_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the time that the bulk lane gets at least, however busy the fast lane is."""
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    """Least probability at which a class is answered, as JSON: `{"cat": 0.8, "*": 0.5}`, `*` for all others. Below it the label is
    `uncertain`, the confidence stays, and the result names the most probable classes (`top`)."""
    top_k: Annotated[int, Field(ge=1, le=100)] = 1
    """Most probable classes named in every result (`top`); 1 names none."""
    metric_classes: Annotated[int, Field(ge=0, le=1000)] = 100
    """Classes with a series of their own in `convnet_classifier_labels_total`: the first of the model's; all others are counted as one."""
    host: str = "127.0.0.1"
    """Address of `/healthz`, `/readyz` and `/metrics`."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8081
    """Port of `/healthz`, `/readyz` and `/metrics`; 0 takes a free one and logs it."""
    dead_letters_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Of the bytes it reads, the share that a classifier keeps in dead letters of unreadable images; beyond it (and the first 64 MiB) only
    their headers are kept."""
    commit_interval_s: Annotated[float, Field(gt=0, le=10)] = 0.2
    """Seconds between commits: the most work that is repeated after a kill."""
    drain_timeout_s: Annotated[float, Field(gt=0)] = 20.0
    """Seconds after SIGTERM to finish, flush, commit and leave the group."""
    revoke_timeout_s: Annotated[float, Field(gt=0)] = 3.0
    """Seconds to finish and commit what is in flight when partitions are taken away."""
    stuck_after_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds without a heartbeat of the loop until `/healthz` says no."""


class TracingSettings(BaseSettings):
    """What OpenTelemetry's own variables do not say of traces (docs/tracing.md). Environment prefix: `CONVNET_TRACING_`."""

    model_config = SettingsConfigDict(env_prefix="CONVNET_TRACING_", extra="ignore", use_attribute_docstrings=True)

    images: Annotated[int, Field(ge=1)] = 16
    """Images of one traced upload that are traced one by one; after them one more each time their number doubles."""
    public_endpoint: bool = False
    """Callers are strangers: their traces are linked to and not gone on with, and the server's own sampler says what is recorded."""


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load(settings: type[SettingsT], **overrides: Any) -> SettingsT:
    """Read one class of settings; `None` among the overrides means "not given on the command line".

    Raises:
        SettingsError: names every setting that is wrong, where it can be set, and why.
    """
    try:
        return settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        prefix = settings.model_config.get("env_prefix", "")
        lines = [
            f"{'.'.join(map(str, item['loc']))} (environment {prefix}{str(item['loc'][0]).upper()}): {item['msg']}"
            for item in error.errors()
        ]
        raise SettingsError("wrong settings:\n  " + "\n  ".join(lines)) from error
    except UnreadableSetting as error:
        prefix = settings.model_config.get("env_prefix", "")
        raise SettingsError(
            f"wrong settings: {error} (environment {prefix}...): its value must be JSON; it is {error.__cause__}"
        ) from error
