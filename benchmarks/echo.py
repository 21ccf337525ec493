"""A record that is produced and consumed through Kafka by one process, one in flight: what a hop costs, and what warms a broker up.

A broker's JVM interprets its code, then compiles it in the background, on the cores that are measured: a request costs the broker four
times as much in its first minute as later (docs/performance.md), and brokers live for months. So a benchmark has it serve some ten thousand
requests first.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported without `as`

from workers import Worker

LOST_S = 10.0
# Durable as ours are, and as quick as they can be.
PRODUCER = {"enable.idempotence": True, "acks": "all", "linger.ms": 0}
CONSUMER = {"group.id": "benchmark", "enable.auto.commit": False, "fetch.wait.max.ms": 500}
# After so many of each kind the compiler has little left to do.
WARM_REQUESTS = 40_000


def prepare_echo(bootstrap_servers: str) -> Callable[[bytes, int], list[float]]:
    """Produce and consume one record at a time, on a topic of its own; seconds of each."""
    topic = f"benchmark.echo.{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})  # held: a client that is collected fails what it was asked
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(20)
    producer = Producer({"bootstrap.servers": bootstrap_servers, **PRODUCER})
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, **CONSUMER})
    consumer.assign([TopicPartition(topic, 0, 0)])

    def work(content: bytes, count: int) -> list[float]:
        seconds = []
        for _ in range(count):
            started = time.perf_counter()
            producer.produce(topic, content, partition=0)
            producer.poll(0)
            message = consumer.poll(LOST_S)
            if message is None or message.error() is not None:
                raise RuntimeError("the echo did not come back")
            seconds.append(time.perf_counter() - started)
        producer.flush(LOST_S)
        return seconds

    return work


def warm_up(bootstrap_servers: str, content: bytes, requests: int = WARM_REQUESTS) -> None:
    """Have a broker serve so many requests of each kind, with records like this one."""
    with Worker(prepare_echo, bootstrap_servers) as echo:
        echo.begin(content, requests)
        echo.result()
