"""Where one server's images lie in Kafka: spread evenly, in turn and not by chance."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import aiohttp
import pytest
from confluent_kafka import Consumer, TopicPartition

from convnet_kafka.local.broker import LocalBroker
from support.http import open_job, png, upload
from support.waiting import until_true

# What the server of these tests has. By chance so many images would take turns between two once in 32,768 times.
PARTITIONS, IMAGES = 2, 16


@pytest.fixture
def lane(server: object, broker: LocalBroker) -> Iterator[Consumer]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "spreading"})
    yield consumer
    consumer.close()


async def test_images_that_come_one_after_the_other_go_to_the_partitions_in_turn(
    one: aiohttp.ClientSession, lane: Consumer, prefix: str
) -> None:
    job = await open_job(one)
    numbers = itertools.count()

    def begin() -> None:
        places = [TopicPartition(f"{prefix}.images", partition) for partition in range(PARTITIONS)]
        ends = [lane.get_watermark_offsets(place, timeout=20)[1] for place in places]
        lane.assign([TopicPartition(place.topic, place.partition, end) for place, end in zip(places, ends, strict=True)])

    def found() -> list[int | None]:
        """The partitions, in the order of their images."""
        messages = lane.consume(IMAGES, 20)
        return [message.partition() for message in sorted(messages, key=lambda message: dict(message.headers() or ())["name"])]

    async def in_turn() -> bool:
        """Not before the server has looked at the topic's partitions."""
        await asyncio.to_thread(begin)
        for number in itertools.islice(numbers, IMAGES):
            name = f"{number:05d}.png"
            assert (await upload(one, job, {name: png(name)}))["accepted"] == 1
        partitions = await asyncio.to_thread(found)
        assert len(partitions) == IMAGES
        return all(before != after for before, after in itertools.pairwise(partitions))

    await until_true(in_turn, 30)
