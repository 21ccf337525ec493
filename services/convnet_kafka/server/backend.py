"""The side of a server that faces Kafka: producers, the watch of the labels topic, and its readers; started and stopped together.

The one owner of all of them. Starting waits for nothing: a server is alive, only not ready, while Kafka or its topics are missing.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import structlog

from convnet_kafka.certificates import first_end
from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.identity import this_process
from convnet_kafka.kafka.connection import admin_options, producer_options, reader_options, with_statistics
from convnet_kafka.kafka.partitioner import BalancedPartitioner
from convnet_kafka.kafka.positions import ANSWER_S, GroupPositions
from convnet_kafka.kafka.producer import AcknowledgedProducer
from convnet_kafka.kafka.reader import PartitionReader
from convnet_kafka.kafka.watch import TopicWatch
from convnet_kafka.messages import Lane
from convnet_kafka.metrics import ServerMetrics
from convnet_kafka.server.backlog import BacklogWatch, LaneWatch
from convnet_kafka.server.config import HOUR_MS, ServerConfig
from convnet_kafka.server.control import Control
from convnet_kafka.server.following import OnTraced
from convnet_kafka.server.jobs import Job, JobSigner
from convnet_kafka.server.labels import LabelReaders
from convnet_kafka.server.topiccheck import prepare_topics
from convnet_kafka.topology import Topology, max_record_bytes

logger = structlog.get_logger(__name__)

# Milliseconds a bulk image may wait for company: bigger requests to the broker cost it less, and nobody waits for one image.
BULK_LINGER_MS = 20
# Images of one call come within it unless they are large; these go to several classifiers, as do the images of many callers.
FAST_TURN_S = 0.002
# Shares of the one memory budget; a reader of labels needs little, but there may be one a partition and `max_scans` more.
BULK_SHARE, FAST_SHARE, READER_SHARE = 0.5, 0.15, 0.02
# The backlog's consumers never read a record.
BACKLOG_SHARE = 0.0
# A label with a 1024-byte name and a 500-byte detail is far smaller; batches larger than this are still delivered (KIP-74).
MAX_LABEL_BYTES = 256 * 1024
# A model card with a thousand class names is some 20 KB.
MAX_CONTROL_BYTES = 1024 * 1024
# The longest that a stop may have to wait for a look at whether Kafka is there.
START_STEP_S = 0.5
# However late it is, what Kafka takes at once is sent.
LEAST_FLUSH_S = 1.0
MIB = 1024 * 1024


class Backend:
    """Everything of one process that talks to Kafka.

    Args:
        config: all settings.
        keys: secrets that sign job ids.
        metrics: of the server.
        on_traced: called for every traced record of the labels topic that somebody here follows; None when nobody asks for traces.
    """

    def __init__(self, config: ServerConfig, keys: list[bytes], metrics: ServerMetrics, on_traced: OnTraced | None = None) -> None:
        self._config = config
        metrics.kafka.certificate_expiry.set(
            first_end(config.kafka.ssl_ca_location, config.kafka.ssl_certificate_location, config.kafka.ssl_key_location)
        )
        self.topology = Topology(config.kafka.topic_prefix)
        client = f"{config.kafka.topic_prefix}-server-{this_process()}"
        record_bytes = max_record_bytes(config.kafka)
        self._producers = {
            lane: AcknowledgedProducer(
                with_statistics(
                    producer_options(
                        config.kafka,
                        f"{client}-{lane.value}",
                        linger_ms=linger_ms,
                        share=share,
                        max_record_bytes=record_bytes,
                        delivery_timeout_s=config.server.delivery_timeout_s,
                    ),
                    metrics.kafka.recorder("producer", lane.value),
                ),
                f"producer-{lane.value}",
            )
            for lane, linger_ms, share in ((Lane.BULK, BULK_LINGER_MS, BULK_SHARE), (Lane.FAST, 0, FAST_SHARE))
        }
        self._watch = TopicWatch(admin_options(config.kafka, f"{client}-watch"), self.topology.labels, self._on_made_anew)
        options = reader_options(config.kafka, f"{client}-labels", share=READER_SHARE, max_record_bytes=MAX_LABEL_BYTES)
        self.readers = LabelReaders(
            lambda partition: PartitionReader(options, self.topology.labels, partition),
            seen_bytes=config.server.seen_memory_mib * MIB,
            max_scans=config.server.max_scans,
            count_skipped=metrics.label_records_skipped.inc,
            count_repeats=metrics.results_repeated.inc,
            on_traced=on_traced,
        )
        self.backlog = BacklogWatch({lane: self._lane_watch(lane, client) for lane in Lane}, config.server.backlog_look_s)
        self._partitioners = {
            Lane.BULK: BalancedPartitioner(lambda: self.backlog.partitions(Lane.BULK), BULK_LINGER_MS / 1000),
            Lane.FAST: BalancedPartitioner(lambda: self.backlog.partitions(Lane.FAST), FAST_TURN_S),
        }
        control = reader_options(config.kafka, f"{client}-control", share=READER_SHARE, max_record_bytes=MAX_CONTROL_BYTES)
        self.control = Control(control, self.topology.control)
        # The labels topic that is read here; changes only together with its readers, so that no job gets an offset of another topic.
        self._topic_id = b""
        self.signer = JobSigner(keys, lambda: self._topic_id, config.job_life_ms)
        self._home: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start everything. Does not wait for Kafka."""
        for producer in self._producers.values():
            producer.start()
        self._loop = asyncio.get_running_loop()
        self.control.start()
        self._starting = asyncio.create_task(self._start_with_kafka(), name="server-start")

    async def close(self, within_s: float) -> None:
        """Send what is left and stop everything; while Kafka is away, what is left is given up after `within_s` seconds."""
        if self._starting is not None:
            self._starting.cancel()
            with suppress(asyncio.CancelledError):
                await self._starting
        flush_s = min(self._config.server.delivery_timeout_s, max(within_s, LEAST_FLUSH_S))
        flushed = asyncio.gather(*(asyncio.to_thread(producer.close, flush_s) for producer in self._producers.values()))
        watches = asyncio.gather(
            asyncio.to_thread(self._watch.close, flush_s),
            asyncio.to_thread(self.backlog.close, min(ANSWER_S, flush_s)),
            asyncio.to_thread(self.control.close),
        )
        left, *_ = await asyncio.gather(flushed, self.readers.close(), watches)
        if sum(left):
            logger.warning("stopped with unacknowledged images; their senders were told so", images=sum(left))

    def producer(self, lane: Lane) -> AcknowledgedProducer:
        """The producer of a lane: bulk waits a little for company, fast sends at once."""
        return self._producers[lane]

    def partitioner(self, lane: Lane) -> BalancedPartitioner:
        """Chooses the partition of each image of a lane."""
        return self._partitioners[lane]

    def silent_s(self) -> float:
        """Seconds since Kafka last answered; infinite before the first time."""
        return self._watch.silent_s()

    def not_ready(self) -> list[str]:
        """What is missing until this server can serve, in words; empty when it can."""
        if not self._watch.ready:
            return [f"Kafka at {self._config.kafka.bootstrap_servers} has not answered, or topic {self.topology.labels} is not there"]
        found = []
        if self.silent_s() > self._config.server.kafka_down_unready_s:
            found.append(f"Kafka has not answered for {self.silent_s():.0f} s")
        if not self.readers.home_ready:
            found.append(f"topic {self.topology.labels} is not read yet")
        return found

    def available(self) -> bool:
        """Kafka answers, as far as is known; costs nothing."""
        return self._watch.ready and self.silent_s() <= self._config.server.kafka_down_unready_s

    def check_available(self) -> None:
        """The same, for a caller.

        Raises:
            KafkaUnavailable: it does not.
        """
        if not self.available():
            raise KafkaUnavailable("Kafka does not answer at the moment; nothing was stored: try again in a few seconds")

    def open_job(self, tenant: str, lane: Lane = Lane.BULK) -> Job:
        """A new job on any partition of the labels topic. Asks nobody: an end offset that was true a moment ago is a safe start.

        Raises:
            KafkaUnavailable: Kafka has not told where its partitions end.
        """
        self.check_available()
        topic = self._watch.topic
        if topic.topic_id != self._topic_id:
            raise KafkaUnavailable("the labels topic was just made anew: try again in a moment")
        partition, end = random.choice(list(topic.ends.items()))  # noqa: S311 - spreads work, hides nothing
        return self.signer.open(tenant, partition, max(end, self.readers.end(partition) or 0), lane)

    def open_home_job(self, tenant: str) -> Job:
        """A new job on the partition that this process reads live at all times, so that following it needs no look back.

        Raises:
            KafkaUnavailable: it is not read yet.
        """
        self.check_available()
        end = self.readers.end(self._home) if self._home is not None else None
        if self._home is None or end is None:
            raise KafkaUnavailable("this server is starting: it does not read labels yet; try again in a moment")
        return self.signer.open(tenant, self._home, end)

    async def _start_with_kafka(self) -> None:
        """As soon as Kafka and its topics are there: watch the labels, and read a home partition."""
        await prepare_topics(self._config)
        self._watch.start()
        self.backlog.start()
        while not await asyncio.to_thread(self._watch.wait_ready, START_STEP_S):
            continue
        self.readers.start(self._settle())

    def _settle(self) -> int:
        """Take the labels topic as it is now; gives a partition to be at home in."""
        topic = self._watch.topic
        self._topic_id = topic.topic_id
        self._home = random.choice(list(topic.ends))  # noqa: S311 - spreads work, hides nothing
        return self._home

    def _on_made_anew(self) -> None:
        """From the watch's thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody reads any more
                self._loop.call_soon_threadsafe(self._start_again)

    def _start_again(self) -> None:
        """The labels topic was made anew."""
        if self._home is not None and self._watch.topic.topic_id != self._topic_id:
            self.readers.restart(self._settle())

    def _lane_watch(self, lane: Lane, client: str) -> LaneWatch:
        config = self._config
        options = reader_options(config.kafka, f"{client}-backlog-{lane.value}", share=BACKLOG_SHARE, max_record_bytes=MAX_LABEL_BYTES)
        longest_s = config.topics.images_retention_hours * HOUR_MS / 1000
        part = config.server.backlog_age_limit
        return LaneWatch(
            lane,
            GroupPositions(options, self.topology.images(lane), self.topology.group(lane)),
            overdue_s=longest_s * part if part else None,
            longest_s=longest_s,
        )
