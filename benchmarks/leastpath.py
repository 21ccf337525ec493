"""The least that can answer `POST /v1/classify` through Kafka: what two hops, HTTP and a prediction cost where nothing else is done.

An aiohttp handler that produces the body and answers with what comes back under the same key, and a loop that consumes, decodes, predicts
and produces. No job, no key, no limit, no lane, no batch, no metric; an image is lost with the process that holds it.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from aiohttp import web
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported without `as`

from echo import CONSUMER, PRODUCER

# Answered at once: what HTTP alone costs.
HTTP_PATH = "/http"


@dataclass(frozen=True, slots=True)
class LeastTopics:
    """Where the images and their labels go, a partition of each."""

    images: str
    labels: str

    @classmethod
    def make(cls, bootstrap_servers: str) -> LeastTopics:
        """Create them on a broker."""
        run = uuid.uuid4().hex[:8]
        topics = cls(f"benchmark.least.images.{run}", f"benchmark.least.labels.{run}")
        admin = AdminClient({"bootstrap.servers": bootstrap_servers})  # held: a client that is collected fails what it was asked
        for created in admin.create_topics([NewTopic(topics.images, 1, 1), NewTopic(topics.labels, 1, 1)]).values():
            created.result(20)
        return topics


def _read(bootstrap_servers: str, topic: str, took: Callable[[bytes, bytes], object]) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, **CONSUMER})
    consumer.assign([TopicPartition(topic, 0, 0)])
    while True:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            took(message.key() or b"", message.value() or b"")


def prepare_least_classifier(bootstrap_servers: str, topics: LeastTopics, models: Path) -> Callable[[], tuple[float, int]]:
    """Classify what comes, in a thread of its own; the work is to tell the seconds spent since last told, and on how many images."""
    from convnet.images import decode  # noqa: PLC0415 - only this process needs it
    from convnet.predictor import load_predictor  # noqa: PLC0415 - only this process needs it
    from convnet.registry import Registry  # noqa: PLC0415 - only this process needs it

    predictor = load_predictor(Registry(models), "stable", max_batch=1)
    predictor.warm_up()
    producer = Producer({"bootstrap.servers": bootstrap_servers, **PRODUCER})
    spent: list[float] = []

    def classify(key: bytes, content: bytes) -> None:
        started = time.perf_counter()
        label = int(predictor.predict(decode(content, predictor.spec)[None]).argmax(axis=1)[0])
        producer.produce(topics.labels, b'{"label":%d}' % label, key=key, partition=0)
        producer.poll(0)
        spent.append(time.perf_counter() - started)

    def told() -> tuple[float, int]:
        seconds, images = sum(spent), len(spent)
        spent.clear()
        return seconds, images

    threading.Thread(target=_read, args=(bootstrap_servers, topics.images, classify), daemon=True).start()
    return told


def prepare_least_server(bootstrap_servers: str, topics: LeastTopics) -> Callable[[], str]:
    """Answer over HTTP, in a thread of its own; the work is to tell the server's URL."""
    urls: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=lambda: asyncio.run(_serve(bootstrap_servers, topics, urls)), daemon=True).start()
    url = urls.get(timeout=30)
    return lambda: url


async def _serve(bootstrap_servers: str, topics: LeastTopics, urls: SimpleQueue[str]) -> None:
    loop = asyncio.get_running_loop()
    producer = Producer({"bootstrap.servers": bootstrap_servers, **PRODUCER})
    keys = map(b"%d".__mod__, itertools.count())
    waiting: dict[bytes, asyncio.Future[bytes]] = {}

    def answered(key: bytes, label: bytes) -> None:
        waiting.pop(key).set_result(label)

    def came(key: bytes, label: bytes) -> None:
        loop.call_soon_threadsafe(answered, key, label)

    async def classify(request: web.Request) -> web.Response:
        content, key = await request.read(), next(keys)
        label = waiting[key] = loop.create_future()
        producer.produce(topics.images, content, key=key, partition=0)
        producer.poll(0)
        return web.Response(body=await label, content_type="application/json")

    async def at_once(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=b'{"label":0}', content_type="application/json")

    threading.Thread(target=_read, args=(bootstrap_servers, topics.labels, came), daemon=True).start()
    app = web.Application()
    app.add_routes([web.post("/v1/classify", classify), web.post(HTTP_PATH, at_once)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    urls.put(f"http://{host}:{port}")
    await asyncio.Event().wait()
