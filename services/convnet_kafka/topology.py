"""The five topics and two groups of one release, and how their settings hang together (docs/architecture.md).

Derives everything from KafkaSettings and TopicSettings; opens no connection.
"""

from __future__ import annotations

from dataclasses import dataclass

from convnet_kafka.kafka.topics import TopicSpec
from convnet_kafka.messages import Lane
from convnet_kafka.settings import KafkaSettings, TopicSettings

# Kafka adds its own framing to a record, and our headers are bounded (messages.py): 64 KiB cover both with room to spare.
RECORD_OVERHEAD_BYTES = 64 * 1024
# A dead letter carries the image's headers and its own: reason, detail, source.
DEAD_LETTER_OVERHEAD_BYTES = 2 * RECORD_OVERHEAD_BYTES
# Kafka's default, written down because a broker's may be another: results that travel together take 100 KB at most (replies.py), and more
# would only let a foreign client fill the memory of those who read.
LABELS_MAX_BYTES = 1_048_588
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Topology:
    """Names of one release's topics and groups.

    Attributes:
        prefix: the release's prefix, for example `convnet`.
    """

    prefix: str

    @property
    def labels(self) -> str:
        """Results, and the closes of jobs."""
        return f"{self.prefix}.labels"

    @property
    def dead_letters(self) -> str:
        """Images that could not be classified, with the reason."""
        return f"{self.prefix}.images.dlq"

    @property
    def control(self) -> str:
        """Model cards, aliases and cancelled jobs; one partition, compacted."""
        return f"{self.prefix}.control"

    def images(self, lane: Lane) -> str:
        """Images that wait in a lane."""
        return f"{self.prefix}.images" if lane is Lane.BULK else f"{self.prefix}.images.fast"

    def group(self, lane: Lane) -> str:
        """The consumer group of the classifiers on a lane."""
        return f"{self.prefix}.classifiers.{lane.value}"

    def specs(self, kafka: KafkaSettings, topics: TopicSettings) -> list[TopicSpec]:
        """What the five topics must be like."""
        durable = {"min.insync.replicas": str(topics.min_insync_replicas), "unclean.leader.election.enable": "false"}
        images_ms = int(topics.images_retention_hours * HOUR_MS)
        labels_ms = images_ms + int(topics.job_life_hours * HOUR_MS)
        # By time alone: a size limit would drop accepted images unseen.
        by_time = {"cleanup.policy": "delete", "retention.bytes": "-1"}
        images = {
            **durable,
            **by_time,
            "retention.ms": str(images_ms),
            "max.message.bytes": str(max_record_bytes(kafka)),
            "compression.type": "producer",  # encoded images do not compress: storing them as they come costs the broker nothing
        }
        specs = [
            TopicSpec(self.images(lane), topics.images_partitions, topics.replication_factor, images) for lane in (Lane.BULK, Lane.FAST)
        ]
        labels = {
            **durable,
            **by_time,
            "retention.ms": str(labels_ms),
            "max.message.bytes": str(LABELS_MAX_BYTES),
            "message.timestamp.type": "LogAppendTime",
        }
        specs.append(TopicSpec(self.labels, topics.labels_partitions, topics.replication_factor, labels))
        dead = {**images, "retention.ms": str(labels_ms), "max.message.bytes": str(max_dead_letter_bytes(kafka))}
        specs.append(TopicSpec(self.dead_letters, topics.labels_partitions, topics.replication_factor, dead))
        specs.append(TopicSpec(self.control, 1, topics.replication_factor, {**durable, "cleanup.policy": "compact"}))
        return specs


def max_record_bytes(kafka: KafkaSettings) -> int:
    """Bytes of the largest image record: the largest image, its headers and Kafka's framing."""
    return kafka.max_image_bytes + RECORD_OVERHEAD_BYTES


def max_dead_letter_bytes(kafka: KafkaSettings) -> int:
    """Bytes of the largest dead letter: the largest image record and 64 KiB for the reason and its like."""
    return kafka.max_image_bytes + DEAD_LETTER_OVERHEAD_BYTES
