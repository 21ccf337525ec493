"""librdkafka options from our settings: who we are, how much memory, and which waits. Every client of ours is made from these.

Options are built per kind of client and per group protocol, never merged afterwards: KIP-848 refuses options that the classic
protocol needs. What an operator adds (`KAFKA_CLIENT_OPTIONS`) wins in every kind, where it applies. Opens no connection.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from convnet_kafka.errors import SettingsError
from convnet_kafka.settings import KafkaSettings

Options = dict[str, Any]
Headers = list[tuple[str, bytes]]

# librdkafka waits up to 10 s between reconnects by default; a restarted broker should be noticed sooner.
RECONNECT_BACKOFF_MAX_MS = 1000
# A grown topic is found within half a minute instead of five.
METADATA_REFRESH_MS = 30_000
# One scrape's distance: newer statistics would be made and thrown away. One takes a client 0.4 ms of CPU time (measured).
STATISTICS_MS = 15_000
# A broker that is gone with its pod or its node answers nothing at all. librdkafka would wait 30 s for such a connection (TLS and SASL
# included) before it tries again, Kafka's own clients 10 s. A start beside a broker that starts was seen to take those 30 s on Kubernetes.
CONNECTION_SETUP_MS = 10_000
KIB = 1024
# What only a member of a group has a use for. A reader without a group would take it all the same, and not start with some of it: a
# `max.poll.interval.ms` below librdkafka's own session time-out of 45 s, which a reader has no reason to change.
MEMBERS_ONLY = frozenset(
    {
        "group.instance.id",
        "group.protocol",
        "group.remote.assignor",
        "heartbeat.interval.ms",
        "max.poll.interval.ms",
        "partition.assignment.strategy",
        "session.timeout.ms",
    }
)

logger = logging.getLogger("librdkafka")


def admin_options(settings: KafkaSettings, client_id: str) -> Options:
    """Options of a client that only asks and administers.

    Raises:
        SettingsError: SASL asked for but not complete, or a password file that cannot be read.
    """
    return _common_options(settings, client_id) | _given(settings)


def _given(settings: KafkaSettings) -> Options:
    """What the operator adds, as far as a client that is no member of a group has a use for it."""
    return {name: value for name, value in settings.client_options.items() if name not in MEMBERS_ONLY}


def _common_options(settings: KafkaSettings, client_id: str) -> Options:
    """What every client needs: addresses, identity, security, reconnects."""
    options: Options = {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": client_id,
        "security.protocol": settings.security_protocol,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": RECONNECT_BACKOFF_MAX_MS,
        "topic.metadata.refresh.interval.ms": METADATA_REFRESH_MS,
        "socket.connection.setup.timeout.ms": CONNECTION_SETUP_MS,
        "socket.keepalive.enable": True,
        "log.connection.close": False,
        "logger": logger,
    }
    if settings.security_protocol.startswith("SASL"):
        options |= _sasl_options(settings)
    for option, path in (
        ("ssl.ca.location", settings.ssl_ca_location),
        ("ssl.certificate.location", settings.ssl_certificate_location),
        ("ssl.key.location", settings.ssl_key_location),
    ):
        if path is not None:
            options[option] = str(path)
    return options


def _sasl_options(settings: KafkaSettings) -> Options:
    if settings.sasl_mechanism is None:
        raise SettingsError(f"KAFKA_SECURITY_PROTOCOL is {settings.security_protocol} but KAFKA_SASL_MECHANISM is not set")
    options: Options = {"sasl.mechanism": settings.sasl_mechanism}
    if settings.sasl_mechanism == "OAUTHBEARER":
        return options  # its options come through KAFKA_CLIENT_OPTIONS
    password = settings.sasl_password.get_secret_value() if settings.sasl_password else None
    if settings.sasl_password_file is not None:
        try:
            password = settings.sasl_password_file.read_text().strip()
        except OSError as error:
            raise SettingsError(f"KAFKA_SASL_PASSWORD_FILE: cannot read {settings.sasl_password_file}: {error.strerror}") from error
    if not settings.sasl_username or not password:
        raise SettingsError(
            f"SASL {settings.sasl_mechanism} needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD (or KAFKA_SASL_PASSWORD_FILE)"
        )
    return options | {"sasl.username": settings.sasl_username, "sasl.password": password}


def _budget_kib(settings: KafkaSettings, share: float, at_least_bytes: int) -> int:
    """KiB of the process's one budget, but never less than two of the largest record: a smaller queue could never pass it on."""
    return max(int(settings.memory_budget_mib * KIB * share), 2 * at_least_bytes // KIB)


def with_statistics(options: Options, record: Callable[[str], None]) -> Options:
    """The same options, with librdkafka's statistics handed to `record` as JSON, by whoever polls the client.

    Settings of the operator's own (`KAFKA_CLIENT_OPTIONS`) win here too: `{"statistics.interval.ms": 0}` switches them off.
    """
    return {"statistics.interval.ms": STATISTICS_MS} | options | {"stats_cb": record}


def producer_options(
    settings: KafkaSettings, client_id: str, *, linger_ms: float, share: float, max_record_bytes: int, delivery_timeout_s: float
) -> Options:
    """Options of an idempotent producer that waits for all in-sync replicas.

    Args:
        settings: how to reach Kafka.
        client_id: shown in the broker's logs and metrics.
        linger_ms: milliseconds a record may wait for company, 0 or more.
        share: part of the process's memory budget that its queue may take, 0 to 1.
        max_record_bytes: the largest record it will be given.
        delivery_timeout_s: seconds until an unacknowledged record is given up as "may or may not be stored".
    """
    queue_kib = _budget_kib(settings, share, max_record_bytes)
    return (
        _common_options(settings, client_id)
        | {
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": linger_ms,
            # A full second of waiting before the first retry (the default) is most of a caller's patience.
            "retry.backoff.ms": 100,
            "message.timeout.ms": int(delivery_timeout_s * 1000),
            "message.max.bytes": max_record_bytes,
            "queue.buffering.max.kbytes": queue_kib,
            # That counts values alone. Headers, callback and librdkafka's own make 1.3 KB more of each record (measured): 62,000 images of
            # 400 bytes would have taken 105 MB where 24 MiB were meant.
            "queue.buffering.max.messages": queue_kib,
            # Encoded images do not get smaller.
            "compression.type": "none",
        }
        | _given(settings)
    )


def reader_options(settings: KafkaSettings, client_id: str, *, share: float, max_record_bytes: int) -> Options:
    """Options of a consumer without a group, which is told its partitions and offsets."""
    queue_kib = _budget_kib(settings, share, max_record_bytes)
    return (
        _common_options(settings, client_id)
        | {
            # Never joined and never committed to; librdkafka wants a name.
            "group.id": f"{settings.topic_prefix}.readers",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            # An offset that is gone is the caller's decision, not librdkafka's.
            "auto.offset.reset": "error",
            "message.max.bytes": max_record_bytes,
            "fetch.message.max.bytes": max_record_bytes,
            "fetch.max.bytes": max(queue_kib * KIB // 2, max_record_bytes),
            "queued.max.messages.kbytes": queue_kib,
            # The broker answers at once when something is there; this is only how long it holds an empty answer back.
            "fetch.wait.max.ms": 500,
            "fetch.min.bytes": 1,
            # Default 1000: after a full queue the next fetch would wait a second.
            "fetch.queue.backoff.ms": 5,
        }
        | _given(settings)
    )


def group_options(settings: KafkaSettings, client_id: str, *, group: str, share: float, max_record_bytes: int) -> Options:
    """Options of a member of a consumer group, for the protocol in the settings."""
    options = reader_options(settings, client_id, share=share, max_record_bytes=max_record_bytes) | {
        "group.id": group,
        # The loop may hold a batch for as long as a slow prediction takes, not longer.
        "max.poll.interval.ms": 300_000,
    }
    if settings.group_protocol == "consumer":
        # KIP-848: session time-out and heartbeat are the broker's.
        return options | {"group.protocol": "consumer"} | settings.client_options
    return (
        options
        | {
            "group.protocol": "classic",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": 10_000,
            "heartbeat.interval.ms": 1000,
        }
        | settings.client_options
    )
