"""`convnet-kafka topics`: say how the topics differ from what they must be, create the missing ones, or give them more partitions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click
from confluent_kafka.admin import AdminClient

from convnet_kafka import settings
from convnet_kafka.errors import SettingsError
from convnet_kafka.kafka.connection import admin_options
from convnet_kafka.kafka.topics import TopicSpec, create_missing, differences, grow, slow_groups
from convnet_kafka.messages import Lane
from convnet_kafka.settings import KafkaSettings, TopicSettings
from convnet_kafka.topology import Topology

_HINT = (
    "missing topics: 'convnet-kafka topics create'; too few partitions: 'convnet-kafka topics grow'; settings: kafka-configs.sh, or the "
    "KafkaTopic that made them"
)


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
    """Check, create or grow the Kafka topics."""


@command.command()
@_options
def check(**options: Any) -> None:
    """Say how the topics differ from what they must be; exit code 1 when they do."""
    admin, specs, _ = _opened(options)
    found = differences(admin, specs)
    for sentence in found:
        click.echo(sentence)
    if (slow := slow_groups(admin)) is not None:
        click.echo(f"note: {slow}")
    if found:
        click.echo(_HINT)
        sys.exit(1)
    click.echo(f"all {len(specs)} topics are as they must be")


@command.command()
@_options
def create(**options: Any) -> None:
    """Create the topics that are missing, then check all of them."""
    admin, specs, _ = _opened(options)
    for name in create_missing(admin, specs):
        click.echo(f"created {name}")
    found = differences(admin, specs)
    for sentence in found:
        click.echo(sentence)
    if found:
        sys.exit(1)


@command.command(name="grow")
@click.option(
    "--images-partitions", type=click.IntRange(1, 1000), help="Partitions of each images topic: the most classifiers that share a lane."
)
@click.option("--labels-partitions", type=click.IntRange(1, 1000), help="Partitions of the labels and of the dead letters.")
@click.option("--topic-prefix", help="Prefix of all topics of one release.")
@click.option("--bootstrap-servers", help="Addresses of brokers, host:port, comma separated.")
def grow_command(images_partitions: int | None, labels_partitions: int | None, **options: Any) -> None:
    """Give topics more partitions while everything runs; Kafka takes none away.

    Images stay where they are, and classifiers read new partitions from their beginning. A job keeps the partition of labels that its id
    names; new jobs use the new ones too. Set CONVNET_TOPICS_IMAGES_PARTITIONS and CONVNET_TOPICS_LABELS_PARTITIONS to the same numbers.
    """
    if images_partitions is None and labels_partitions is None:
        raise SettingsError("say how many: --images-partitions, --labels-partitions")
    admin, _, topology = _opened(options)
    wanted: dict[str, int] = {}
    if images_partitions is not None:
        wanted |= {topology.images(lane): images_partitions for lane in Lane}
    if labels_partitions is not None:
        wanted |= dict.fromkeys((topology.labels, topology.dead_letters), labels_partitions)
    grown = grow(admin, wanted)
    for name, count in wanted.items():
        if name in grown:
            click.echo(f"{name}: {grown[name][0]} -> {count} partitions")
        else:
            click.echo(f"{name}: has {count} partitions or more already")
    if grown:
        click.echo("servers and classifiers notice within 30 s")


def _opened(options: dict[str, Any]) -> tuple[AdminClient, list[TopicSpec], Topology]:
    kafka = settings.load(KafkaSettings, bootstrap_servers=options.pop("bootstrap_servers"), topic_prefix=options.pop("topic_prefix"))
    topics, topology = settings.load(TopicSettings, **options), Topology(kafka.topic_prefix)
    return AdminClient(admin_options(kafka, f"{kafka.topic_prefix}-topics")), topology.specs(kafka, topics), topology
