"""`convnet-kafka topics`: say how the topics differ from what they must be, or create the missing ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click
from confluent_kafka.admin import AdminClient

from convnet_kafka import settings
from convnet_kafka.kafka.connection import common_options
from convnet_kafka.kafka.topics import TopicSpec, create_missing, differences
from convnet_kafka.settings import KafkaSettings, TopicSettings
from convnet_kafka.topology import Topology


def _options(function: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--replication-factor", type=int, help="Copies of each partition."),
        click.option("--labels-partitions", type=int, help="Partitions of the labels topic."),
        click.option("--images-partitions", type=int, help="Partitions of each images topic."),
        click.option("--topic-prefix", help="Prefix of all topics of one release."),
        click.option("--bootstrap-servers", help="Addresses of brokers, host:port, comma separated."),
    ):
        function = option(function)
    return function


@click.group()
def command() -> None:
    """Check or create the Kafka topics."""


@command.command()
@_options
def check(**options: Any) -> None:
    """Say how the topics differ from what they must be; exit code 1 when they do."""
    admin, specs = _admin_and_specs(options)
    found = differences(admin, specs)
    for sentence in found:
        click.echo(sentence)
    if found:
        sys.exit(1)
    click.echo(f"all {len(specs)} topics are as they must be")


@command.command()
@_options
def create(**options: Any) -> None:
    """Create the topics that are missing, then check all of them."""
    admin, specs = _admin_and_specs(options)
    for name in create_missing(admin, specs):
        click.echo(f"created {name}")
    found = differences(admin, specs)
    for sentence in found:
        click.echo(sentence)
    if found:
        sys.exit(1)


def _admin_and_specs(options: dict[str, Any]) -> tuple[AdminClient, list[TopicSpec]]:
    kafka = settings.load(KafkaSettings, bootstrap_servers=options.pop("bootstrap_servers"), topic_prefix=options.pop("topic_prefix"))
    topics = settings.load(TopicSettings, **options)
    return AdminClient(common_options(kafka, f"{kafka.topic_prefix}-topics")), Topology(kafka.topic_prefix).specs(kafka, topics)
