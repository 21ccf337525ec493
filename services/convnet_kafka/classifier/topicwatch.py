"""Whether Kafka answers, and whether our topics are there: a missing topic gives no error on subscribe, so somebody must look.

Owns one thread and one admin client. Asks for metadata only: librdkafka's other admin requests have ended the process with a failed
assertion when several of them waited for a broker that was down (2.16).
"""

from __future__ import annotations

import threading
import time

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from convnet_kafka.errors import ConvnetKafkaError
from convnet_kafka.kafka.connection import admin_options
from convnet_kafka.kafka.topics import create_missing, differences
from convnet_kafka.messages import Lane
from convnet_kafka.settings import KafkaSettings, TopicSettings
from convnet_kafka.topology import Topology

logger = structlog.get_logger(__name__)

LOOK_S = 2.0
# While something is missing it is looked for more often: a cluster that comes up should not wait for us.
LOOK_AGAIN_S = 0.5
ANSWER_S = 3.0
# A broker that restarts is away for some seconds; longer than this is told.
SILENT_S = 10.0


class ClassifierTopics:
    """The topics a classifier reads and writes.

    Args:
        kafka: how to reach Kafka.
        topics: whether missing ones are created, and with how many partitions.
    """

    def __init__(self, kafka: KafkaSettings, topics: TopicSettings) -> None:
        self._kafka = kafka
        self._topics = topics
        self._topology = Topology(kafka.topic_prefix)
        self._names = [self._topology.images(lane) for lane in Lane] + [self._topology.labels, self._topology.dead_letters]
        self._partitions: dict[str, int] = {}
        self._answered_at: float | None = None
        self._compared = False
        self._told = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._admin: AdminClient | None = None

    def start(self) -> None:
        """Start looking. Does not wait for Kafka."""
        self._admin = AdminClient(admin_options(self._kafka, f"{self._kafka.topic_prefix}-classifier-topics"))
        self._thread = threading.Thread(target=self._run, name="topics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=ANSWER_S)

    def problem(self) -> str | None:
        """Why we cannot work, or None."""
        if self._answered_at is None:
            return f"Kafka at {self._kafka.bootstrap_servers} has not answered yet"
        silent_s = time.monotonic() - self._answered_at
        if silent_s > SILENT_S:
            return f"Kafka at {self._kafka.bootstrap_servers} has not answered for {silent_s:.0f} s"
        missing = [name for name in self._names if not self._partitions.get(name)]
        if missing:
            return f"topics do not exist: {', '.join(missing)}; create them, for example with 'convnet-kafka topics create'"
        return None

    def reply_partition_exists(self, partition: int) -> bool:
        """Whether the labels topic has this partition; asks again before it says no, and says yes when Kafka does not answer."""
        labels = self._topology.labels
        if partition < self._partitions.get(labels, 0):
            return True
        try:
            self._look(labels)
        except KafkaException:
            return True
        known = self._partitions.get(labels, 0)
        return known == 0 or partition < known

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if self._topics.create and self._answered_at is None:
                    self._create()
                for name in self._names:
                    self._look(name)
                self._answered_at = time.monotonic()
                if not self._compared and self.problem() is None:
                    self._compare()
            except KafkaException as error:
                self._tell(error.args[0].str())
            except ConvnetKafkaError as error:
                self._tell(str(error))
            self._stop.wait(LOOK_AGAIN_S if self.problem() else LOOK_S)

    def _look(self, name: str) -> None:
        if self._admin is not None:
            found = self._admin.list_topics(name, timeout=ANSWER_S).topics.get(name)
            self._partitions[name] = len(found.partitions) if found is not None and found.error is None else 0

    def _create(self) -> None:
        if self._admin is not None and (created := create_missing(self._admin, self._topology.specs(self._kafka, self._topics))):
            logger.info("topics created", topics=created)

    def _compare(self) -> None:
        """Once: settings that would lose, refuse or hide images are told, and are no reason to stand still."""
        self._compared = True
        specs = [spec for spec in self._topology.specs(self._kafka, self._topics) if spec.name in self._names]
        for sentence in differences(self._admin, specs) if self._admin is not None else []:
            logger.warning("topic differs", what=sentence)

    def _tell(self, problem: str) -> None:
        if problem != self._told:
            logger.warning("kafka does not answer", reason=problem)
        self._told = problem
