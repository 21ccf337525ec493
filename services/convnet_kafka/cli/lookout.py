"""What `top`, `doctor` and `trace` share: where Kafka, the replicas and the local stack are."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from convnet_kafka import settings
from convnet_kafka.diagnosis.endpoints import Addresses, Endpoint, checked
from convnet_kafka.local import stackfile
from convnet_kafka.local.stackfile import StackNote
from convnet_kafka.settings import KafkaSettings

ENDPOINTS_VARIABLE = "CONVNET_TOP_ENDPOINTS"


def kafka_options(function: Callable[..., None]) -> Callable[..., None]:
    """Options of who asks Kafka; `kafka_settings` takes them."""
    for option in (
        click.option(
            "--data", type=click.Path(path_type=Path, file_okay=False), help="Folder of a stack on this machine.  [default: per user]"
        ),
        click.option("--topic-prefix", help="Prefix of all topics and groups of one release.  [KAFKA_TOPIC_PREFIX]"),
        click.option("--bootstrap-servers", help="Addresses of brokers, host:port, comma separated.  [KAFKA_BOOTSTRAP_SERVERS]"),
    ):
        function = option(function)
    return function


def options(function: Callable[..., None]) -> Callable[..., None]:
    """These, and addresses of replicas."""
    endpoint = click.option(
        "--endpoint",
        "endpoints",
        multiple=True,
        metavar="URL",
        help="Address of a server or classifier (its health port), repeatable; dns+http://NAME:PORT is every address of a headless "
        f"Service.  [{ENDPOINTS_VARIABLE}, comma separated; a stack on this machine is found by itself]",
    )
    return kafka_options(endpoint(function))


def kafka_settings(data: Path | None, bootstrap_servers: str | None, topic_prefix: str | None) -> tuple[KafkaSettings, StackNote | None]:
    """How to reach Kafka: as given, else the stack on this machine, else the environment.

    Raises:
        SettingsError: settings cannot be read.
    """
    _, note = local_stack(data, bootstrap_servers)
    if note is not None:
        bootstrap_servers, topic_prefix = bootstrap_servers or note.bootstrap_servers, topic_prefix or note.topic_prefix
    return settings.load(KafkaSettings, bootstrap_servers=bootstrap_servers, topic_prefix=topic_prefix), note


def local_stack(data: Path | None, bootstrap_servers: str | None) -> tuple[Path, StackNote | None]:
    """The folder of a stack on this machine, and what runs there; none where another Kafka is meant.

    Args:
        data: the folder as it was given.
        bootstrap_servers: Kafka as it was given.
    """
    folder = data or stackfile.default_data_dir()
    elsewhere = bootstrap_servers or (os.environ.get("KAFKA_BOOTSTRAP_SERVERS") if data is None else None)
    note = stackfile.running(folder)
    if note is not None and elsewhere and elsewhere != note.bootstrap_servers:
        note = None
    return folder, note


def addresses(given: Sequence[str], note: StackNote | None) -> Addresses:
    """Where the replicas are: as given, else from the environment, else the local stack's.

    Raises:
        SettingsError: one is no address.
    """
    texts = list(given) or [text for text in os.environ.get(ENDPOINTS_VARIABLE, "").split(",") if text.strip()]
    fixed = [Endpoint(url, name) for name, url in note.endpoints.items()] if note is not None and not texts else []
    return Addresses(checked(texts), fixed)
