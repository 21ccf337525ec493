"""Kafka itself: does it answer, does it let us in, and are its own settings such that nothing accepted is lost."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]  # re-exported without `as`

from convnet_kafka.diagnosis.doctor.findings import Finding, Findings, fail, skip, warn, well
from convnet_kafka.diagnosis.doctor.installation import Installation
from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.kafka.connection import admin_options
from convnet_kafka.kafka.topics import slow_groups
from convnet_kafka.topology import HOUR_MS, max_record_bytes

# What quarantine's notes need (classifier/quarantine.py).
LEAST_METADATA_BYTES = 100
MINUTE_MS = 60_000
# How long librdkafka gets to say why it could not connect, after it could not.
WORDS_S = 0.2
# librdkafka's error codes that its Python binding spells with an underscore.
_AUTHENTICATION: int = KafkaError._AUTHENTICATION  # noqa: SLF001
_SSL: int = KafkaError._SSL  # noqa: SLF001
_TRANSPORT: int = KafkaError._TRANSPORT  # noqa: SLF001


def answers(place: Installation) -> Findings:
    """Kafka answers, and lets us in."""
    errors: list[KafkaError] = []
    options = admin_options(place.kafka, place.client_id) | {"error_cb": errors.append}
    try:
        admin = AdminClient(options)
        metadata = admin.list_topics(timeout=place.patience_s)
    except KafkaException as error:
        if "admin" in locals():
            admin.poll(WORDS_S)
        yield _refused(place, error.args[0], errors)
        return
    place.kafka_answers = True
    brokers = metadata.brokers
    who = f" as {place.kafka.sasl_username}" if place.kafka.sasl_username and "SASL" in place.kafka.security_protocol else ""
    yield well(f"Kafka answers{who}: {len(brokers)} broker{'s' * (len(brokers) != 1)}, cluster {metadata.cluster_id}")
    yield from _advertised(brokers.values(), place.patience_s)


def _refused(place: Installation, last: KafkaError, errors: Sequence[KafkaError]) -> Finding:
    kafka = place.kafka
    by_code = {error.code(): error for error in (*errors, last)}
    refused = by_code.get(_AUTHENTICATION) or by_code.get(KafkaError.SASL_AUTHENTICATION_FAILED)
    if refused is not None:
        return fail(
            f"Kafka does not let us in as {kafka.sasl_username or 'nobody'} ({kafka.security_protocol}, {kafka.sasl_mechanism}): "
            f"{refused.str()}",
            "check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD or the file in KAFKA_SASL_PASSWORD_FILE, and KAFKA_SASL_MECHANISM; with "
            "Strimzi the password stands in the Secret named as the KafkaUser",
        )
    if _SSL in by_code:
        return fail(f"no TLS with Kafka: {by_code[_SSL].str()}", "see what the check 'tls' says")
    said = "; ".join(sorted({error.str() for error in errors if error.code() != _TRANSPORT})) or last.str()
    return fail(
        f"Kafka at {kafka.bootstrap_servers} does not answer in {place.patience_s:.0f} s ({kafka.security_protocol}): {said}",
        "if its port takes connections, look at KAFKA_SECURITY_PROTOCOL (a listener that wants a password or TLS says nothing to others), "
        "and at the broker's log",
    )


def _advertised(brokers: Any, patience_s: float) -> Findings:
    """Clients are sent on to the addresses that brokers advertise: those must be reachable from here as well."""
    for broker in brokers:
        try:
            with socket.create_connection((broker.host, broker.port), patience_s):
                continue
        except OSError as error:
            yield fail(
                f"broker {broker.id} sends clients to {broker.host}:{broker.port}, and that cannot be reached from here: "
                f"{error.strerror or error}",
                "mend advertised.listeners, or use the listener that is meant for this network; through kubectl port-forward only a "
                "listener that advertises that very address works",
            )


def brokers(place: Installation) -> Findings:
    """The brokers' own settings keep positions long enough, and give up killed members soon enough."""
    if (slow := slow_groups(place.admin())) is not None:
        yield warn(slow, "set it on the brokers (with Strimzi in spec.kafka.config), or accept the wait")
    found = _settings(place)
    if found is None:
        yield skip("the brokers' settings cannot be read: it takes DescribeConfigs on the cluster")
        return
    wrong = list(_judged(place, found))
    yield from wrong
    if not wrong and slow is None:
        yield well("the brokers' settings are as they should be")


def _settings(place: Installation) -> Mapping[str, str] | None:
    admin = place.admin()
    try:
        broker = next(iter(admin.list_topics(timeout=place.patience_s).brokers))
        resource = ConfigResource(ResourceType.BROKER, str(broker))
        found = admin.describe_configs([resource], request_timeout=place.patience_s)[resource].result(place.patience_s + 1)
    except (KafkaException, KafkaUnavailable, StopIteration, TimeoutError):
        return None
    return {name: entry.value for name, entry in found.items() if entry.value is not None} or None


def _judged(place: Installation, found: Mapping[str, str]) -> Findings:
    images_ms = place.topics.images_retention_hours * HOUR_MS
    kept = found.get("offsets.retention.minutes")
    if kept is not None and int(kept) * MINUTE_MS <= images_ms:
        yield fail(
            f"offsets.retention.minutes is {kept}: positions of classifiers that are away for so long are forgotten, while images wait for "
            f"up to {images_ms / MINUTE_MS:.0f} minutes; they would be read again from the beginning",
            f"set it to {int(2 * images_ms / MINUTE_MS)} on the brokers",
        )
    metadata = found.get("offset.metadata.max.bytes")
    if metadata is not None and int(metadata) < LEAST_METADATA_BYTES:
        yield fail(
            f"offset.metadata.max.bytes is {metadata}: an image that ends its classifier is never found", "set it to its default, 4096"
        )
    request = found.get("socket.request.max.bytes")
    if request is not None and int(request) < max_record_bytes(place.kafka):
        yield fail(
            f"socket.request.max.bytes is {request}: an image of KAFKA_MAX_IMAGE_BYTES ({place.kafka.max_image_bytes}) does not fit in",
            "raise it on the brokers, or lower KAFKA_MAX_IMAGE_BYTES everywhere",
        )
    protocols = found.get("group.coordinator.rebalance.protocols")
    if place.kafka.group_protocol == "consumer" and (
        "consumer" not in protocols if protocols is not None else "group.consumer.session.timeout.ms" not in found
    ):
        yield fail(
            "KAFKA_GROUP_PROTOCOL is consumer, and the brokers do not speak it (Kafka 4.0 or newer does)",
            "set KAFKA_GROUP_PROTOCOL=classic on all classifiers, or upgrade the brokers",
        )
    if found.get("auto.create.topics.enable") == "true":
        yield warn(
            "auto.create.topics.enable is true: a misspelt prefix makes new topics instead of an error",
            "set it to false on the brokers",
        )
