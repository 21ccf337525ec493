"""Before a server serves: create the topics where that is allowed, else compare them and say what differs; wait for Kafka meanwhile."""

from __future__ import annotations

import asyncio

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from convnet_kafka.errors import ConvnetKafkaError
from convnet_kafka.kafka.connection import admin_options
from convnet_kafka.kafka.topics import create_missing, differences, missing
from convnet_kafka.messages import Lane
from convnet_kafka.server.config import ServerConfig
from convnet_kafka.topology import Topology

logger = structlog.get_logger(__name__)

# Seconds between attempts while Kafka or a topic is missing.
RETRY_S = 1.0
# A look at whether Kafka is there at all: what comes after it may take longer, and a server that is to stop must not wait for that.
THERE_S = 2.0


async def prepare_topics(config: ServerConfig) -> None:
    """Return when all topics are there. Differences in their settings are logged, and no reason to wait."""
    options = admin_options(config.kafka, f"{config.kafka.topic_prefix}-server-topics")
    admin = await asyncio.to_thread(AdminClient, options)
    told = ""
    while True:
        try:
            waiting_for = await asyncio.to_thread(_prepare, admin, config)
        except (ConvnetKafkaError, KafkaException) as error:
            waiting_for = str(error)
        if not waiting_for:
            return
        if waiting_for != told:
            logger.warning("waiting", reason=waiting_for, kafka=config.kafka.bootstrap_servers)
            told = waiting_for
        await asyncio.sleep(RETRY_S)


def _prepare(admin: AdminClient, config: ServerConfig) -> str:
    """Blocking. What must still be waited for, or nothing."""
    try:
        admin.list_topics(timeout=THERE_S)
    except KafkaException as error:
        return f"Kafka does not answer ({error.args[0].str()}); is KAFKA_BOOTSTRAP_SERVERS right?"
    topology = Topology(config.kafka.topic_prefix)
    specs = topology.specs(config.kafka, config.topics)
    if config.topics.create:
        created = create_missing(admin, specs)
        if created:
            logger.info("topics created", topics=created)
    # Only what this server uses: it may not be allowed to see the others.
    used = {topology.labels, *(topology.images(lane) for lane in Lane)}
    specs = [spec for spec in specs if spec.name in used]
    absent = missing(admin, specs)
    if absent:
        return f"topics do not exist: {', '.join(absent)}; create them, for example with 'convnet-kafka topics'"
    for sentence in differences(admin, specs):
        logger.warning("topic differs", what=sentence)
    return ""
