"""Takes readings: asks all replicas at once, and Kafka for what waits and who works on it.

Owns the Kafka clients. Groups are described only right after Kafka has answered: librdkafka's admin requests are not made for brokers
that are away (2.16).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from convnet_kafka.diagnosis.endpoints import Addresses, Endpoint, Page, fetch, of_all
from convnet_kafka.diagnosis.groups import Group, describe
from convnet_kafka.diagnosis.top.reading import KafkaReading, LaneReading, Reading, ReplicaReading
from convnet_kafka.diagnosis.top.samples import Samples
from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.kafka.connection import admin_options, reader_options
from convnet_kafka.kafka.positions import GroupPositions, Position
from convnet_kafka.messages import Lane
from convnet_kafka.settings import KafkaSettings
from convnet_kafka.topology import Topology

ANSWER_S = 3.0
READY = 200
SERVER, CLASSIFIER = "server", "classifier"
# Lines of a page that begin otherwise are not even parsed.
WANTED = ("convnet_server_", "convnet_classifier_", "convnet_build_info", "process_resident", "process_cpu", "process_start")
# Never reads a record.
SHARE, MAX_RECORD_BYTES = 0.0, 256 * 1024


class Collector:
    """Looks at one release, as a context manager.

    Args:
        kafka: how to reach Kafka.
        addresses: where the replicas are.
    """

    def __init__(self, kafka: KafkaSettings, addresses: Addresses) -> None:
        self._addresses = addresses
        self._topology = Topology(kafka.topic_prefix)
        client = f"{kafka.topic_prefix}-top"
        self._admin_options = admin_options(kafka, client)
        options = reader_options(kafka, client, share=SHARE, max_record_bytes=MAX_RECORD_BYTES)
        self._positions: Mapping[Lane | None, GroupPositions] = {
            lane: GroupPositions(options, self._topology.images(lane), self._topology.group(lane)) for lane in Lane
        } | {None: GroupPositions(options, self._topology.dead_letters, f"{kafka.topic_prefix}.readers")}
        self._admin: AdminClient | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with ExitStack() as closing:
            for positions in self._positions.values():
                closing.callback(positions.close)

    def look(self) -> Reading:
        """One reading. What does not answer is told in it, and waited for some seconds at most."""
        endpoints = self._addresses.resolve()
        problems = [f"no address: {text}" for text in self._addresses.unknown]
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(of_all, endpoints, _replica)
            try:
                kafka = self._kafka(problems)
            except KafkaUnavailable as error:
                kafka = None
                problems.append(f"Kafka: {error}")
            replicas = tuple(asking.result())
        return Reading(time.monotonic(), replicas, kafka, tuple(problems))

    def _kafka(self, problems: list[str]) -> KafkaReading:
        if self._admin is None:
            self._admin = AdminClient(self._admin_options)
        try:
            brokers = len(self._admin.list_topics(timeout=ANSWER_S).brokers)
        except KafkaException as error:
            raise KafkaUnavailable(f"it does not answer in {ANSWER_S:.0f} s ({error.args[0].str()})") from error
        lanes = {}
        for lane in Lane:
            positions = self._positions[lane].look()
            lanes[lane] = LaneReading(positions, self._group(self._admin, lane, problems))
        letters: Mapping[int, Position] | None = None
        try:
            letters = self._positions[None].look()
        except KafkaUnavailable as error:
            problems.append(str(error))
        return KafkaReading(
            brokers,
            lanes,
            None if letters is None else sum(position.end - position.start for position in letters.values()),
            0 if letters is None else sum(position.end for position in letters.values()),
        )

    def _group(self, admin: AdminClient, lane: Lane, problems: list[str]) -> Group | None:
        try:
            return describe(admin, self._topology.group(lane), ANSWER_S)
        except KafkaUnavailable as error:
            problems.append(str(error))
            return None


def _replica(endpoint: Endpoint) -> ReplicaReading:
    ready: Page = fetch(f"{endpoint.url}/readyz")
    if not ready.status:
        return ReplicaReading(endpoint, "", "", ready=False, reasons=(f"does not answer: {ready.error}",), samples=Samples())
    said = ready.fields()
    page = fetch(f"{endpoint.url}/metrics")
    try:
        samples = Samples.parse(page.body, WANTED) if page.status == READY else Samples()
    except ValueError:
        samples = Samples()
    reasons = tuple(str(reason) for reason in said.get("reasons", ()))
    if not samples.values:
        reasons = (*reasons, "shows no metrics")
    return ReplicaReading(endpoint, _role(samples), str(said.get("replica", "")), ready.status == READY, reasons, samples)


def _role(samples: Samples) -> str:
    for role in (SERVER, CLASSIFIER):
        if any(name.startswith(f"convnet_{role}_") for name in samples.values):
            return role
    return ""
