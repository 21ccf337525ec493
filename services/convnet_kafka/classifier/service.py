"""One classifier: waits for a model and for Kafka, is a member of both lanes' groups while it has both, and ends cleanly when told to.

Owns every thread and connection of the process. Nothing that is missing or away ends it; it is then alive and not ready. Only a fatal
error of a producer does: what that producer held may or may not be stored, and a new process reads it again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from convnet.images import DecodeLimits
from convnet.predictor import Predictor
from convnet.registry import Aliases, Registry
from convnet_kafka.certificates import first_end
from convnet_kafka.classifier import backends
from convnet_kafka.classifier.batching import BatchSizer
from convnet_kafka.classifier.choosing import Choice
from convnet_kafka.classifier.control import ClassifierControl
from convnet_kafka.classifier.deadletters import DeadLetters, KeptBytes
from convnet_kafka.classifier.handoff import Handoff, Turns
from convnet_kafka.classifier.health import HealthServer
from convnet_kafka.classifier.lanecounts import LaneCounts
from convnet_kafka.classifier.lanes import LaneReader
from convnet_kafka.classifier.models import ModelWatch, Role
from convnet_kafka.classifier.pipeline import Pipeline
from convnet_kafka.classifier.publishing import Publisher
from convnet_kafka.classifier.quality import Quality
from convnet_kafka.classifier.results import ModelBroken, Saying
from convnet_kafka.classifier.topicwatch import ClassifierTopics
from convnet_kafka.classifier.warmup import WarmUp
from convnet_kafka.errors import ConvnetKafkaError, KafkaUnavailable, NewerWireVersion
from convnet_kafka.identity import this_process
from convnet_kafka.kafka.connection import group_options, producer_options, reader_options, with_statistics
from convnet_kafka.kafka.consumer import GroupConsumer, GroupEvents
from convnet_kafka.kafka.producer import AcknowledgedProducer
from convnet_kafka.messages import Lane
from convnet_kafka.metrics import ClassifierMetrics, process_registry
from convnet_kafka.settings import ClassifierSettings, KafkaSettings, TopicSettings
from convnet_kafka.topology import Topology, max_dead_letter_bytes, max_record_bytes

if TYPE_CHECKING:
    from convnet_kafka.tracing.batches import BatchTraces

logger = structlog.get_logger(__name__)

# Nobody waits for a bulk label, and one request of 500 labels costs the broker, the server and the client hardly more than one of 64.
LINGER_MS = {Lane.FAST: 0.0, Lane.BULK: 50.0}
# Parts of the process's memory budget for Kafka's buffers: bulk images wait in numbers, the rest is small.
CONSUMER_SHARE = {Lane.FAST: 0.15, Lane.BULK: 0.5}
PRODUCER_SHARE = {Lane.FAST: 0.1, Lane.BULK: 0.25}
# The control topic is read and written in drops; a model card with a thousand class names is some 20 KB.
CONTROL_SHARE = 0.0
MAX_CONTROL_BYTES = 1024 * 1024
# librdkafka's own default: nobody waits for it, because a result that was not stored is sent again anyway.
DELIVERY_TIMEOUT_S = 300.0
# What was not told to others in this time is told again.
CONTROL_TIMEOUT_S = 15.0
# A member without partitions for so long has come when all partitions had owners: more replicas than partitions, idle by right.
# (A join takes under a second, three to four in the classic protocol; librdkafka's way to ask the broker can end the process.)
IDLE_BY_RIGHT_S = 10.0
WAIT_S = 0.1
REJOIN_S = 1.0


class Classifier:
    """One classifier process.

    Args:
        settings: of the classifier.
        kafka: how to reach Kafka.
        topics: whether missing topics are created.
        traces: makes spans of batches; None when nobody asks for any.
    """

    def __init__(
        self, settings: ClassifierSettings, kafka: KafkaSettings, topics: TopicSettings, traces: BatchTraces | None = None
    ) -> None:
        self._settings = settings
        self._kafka = kafka
        self._topology = Topology(kafka.topic_prefix)
        self._limits = DecodeLimits(max_bytes=kafka.max_image_bytes)
        self._metrics = ClassifierMetrics(process_registry())
        self._metrics.kafka.certificate_expiry.set(first_end(kafka.ssl_ca_location, kafka.ssl_certificate_location, kafka.ssl_key_location))
        self._topics = ClassifierTopics(kafka, topics)
        self._traces = traces
        registry = Registry(settings.models)
        self._models = ModelWatch(
            registry.aliases,
            lambda role: registry.newest_load(role.value, lambda version: self._load(registry, version)),
            self._count_load_failure,
            self._show_aliases,
        )
        self._control = self._make_control(registry)
        self._saying = Saying(settings.thresholds, settings.top_k)
        quality = Quality(self._metrics, settings.metric_classes)
        self._choice = Choice(self._models, self._control.state.cancelled, self._limits, quality, self._saying)
        self._dead_letters = DeadLetters(
            self._topology.dead_letters, KeptBytes(settings.dead_letters_share), self._metrics.files_dropped.inc
        )
        self._warm_up: WarmUp | None = None
        self._lanes: dict[Lane, LaneReader] = {}
        self._joined_at = 0.0
        self._beat_at = time.monotonic()
        self._standing: str | None = None
        self._stop = threading.Event()

    def stop(self) -> None:
        """Finish what has begun, leave the groups, and return from `run`. Safe in a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Classify until `stop`.

        Raises:
            SettingsError: the port of the health checks cannot be had.
            ProducerBroken: a fatal error; end the process.
        """
        health = HealthServer(
            self._settings.host,
            self._settings.port,
            not_alive=self.not_alive,
            not_ready=self.not_ready,
            notes=self.notes,
            registry=self._metrics.registry,
            replica=this_process(),
        )
        with health:
            self._models.start()
            self._topics.start()
            self._control.start()
            try:
                while not self._stop.is_set():
                    self._beat()
                    if self._choice.current() is None or self._standing is not None or self._control.problem is not None:
                        self._stop.wait(WAIT_S)
                    else:
                        self._serve()
            finally:
                self._models.close()
                self._topics.close()
                self._control.close()

    def not_alive(self) -> list[str]:
        """Why a restart would help."""
        silent = {"the loop has not gone round": time.monotonic() - self._beat_at}
        # A call into Kafka's library that does not return: its member is out of the group by then, and nobody else would notice.
        silent |= {f"the reader of the {lane} lane has not come round": reader.silent_s for lane, reader in self._lanes.items()}
        return [f"{what} for {seconds:.0f} s" for what, seconds in silent.items() if seconds > self._settings.stuck_after_s]

    def not_ready(self) -> list[str]:
        """Why images are not labelled now."""
        if self._stop.is_set():
            reasons = ["going away"]
        else:
            found = [self._standing, self._models.problem, self._topics.problem(), self._control.problem]
            reasons = [reason for reason in found if reason] or self._not_joined()
        self._metrics.ready.set(not reasons)
        return reasons

    def _count_load_failure(self, role: Role) -> None:
        self._metrics.load_failures.labels(role.value).inc()

    def _show_aliases(self, aliases: Aliases) -> None:
        for role, version in ((Role.STABLE, aliases.stable), (Role.CANARY, aliases.canary), (Role.SHADOW, aliases.shadow)):
            self._metrics.alias.labels(role.value).set(version or 0)

    def _make_control(self, registry: Registry) -> ClassifierControl:
        client = f"{self._topology.prefix}-classifier-control-{this_process()}"
        writing = producer_options(
            self._kafka,
            client,
            linger_ms=0,
            share=CONTROL_SHARE,
            max_record_bytes=MAX_CONTROL_BYTES,
            delivery_timeout_s=CONTROL_TIMEOUT_S,
        )
        reading = reader_options(self._kafka, client, share=CONTROL_SHARE, max_record_bytes=MAX_CONTROL_BYTES)
        return ClassifierControl(reading, writing, self._topology.control, registry, self._metrics.cancelled_jobs)

    def _load(self, registry: Registry, version: int) -> Predictor:
        settings = self._settings
        loaded = backends.load(registry, version, backend=settings.backend, max_batch=settings.max_batch, threads=settings.threads)
        self._saying.of(loaded.card.classes)  # a model that the thresholds do not fit is none that can be used
        return loaded

    def _beat(self) -> None:
        self._beat_at = time.monotonic()

    def notes(self) -> list[str]:
        """What is worth saying of a replica that is ready."""
        idle = [lane for lane, reader in self._lanes.items() if not reader.assigned]
        return [f"idle in the {lane} lane: all its partitions have owners, there are more replicas than partitions" for lane in idle]

    def _not_joined(self) -> list[str]:
        """The lanes that gave us nothing yet, unless they gave everything to others."""
        lanes = self._lanes
        if not lanes:
            return ["not a member of the groups yet"]
        if time.monotonic() - self._joined_at > IDLE_BY_RIGHT_S:
            return []
        if self._warm_up is not None and not self._warm_up.done:
            return ["the producers have no answer from Kafka yet"]
        return [f"the {lane} lane has not assigned partitions yet" for lane, reader in lanes.items() if not reader.assigned]

    def _serve(self) -> None:
        """Be a member of both groups until told to stop, or until something is missing."""
        with self._membership() as pipeline:
            try:
                pipeline.run()
            except NewerWireVersion as error:
                # Others in the group may be newer already. This one can do nothing until it is replaced.
                self._standing = str(error)
                logger.warning("left the groups", reason=self._standing)
            except ModelBroken as error:
                self._metrics.model_errors.inc()
                logger.warning("left the groups", reason=str(error))
                self._choice.distrust(str(error))
            except KafkaUnavailable as error:
                logger.warning("left the groups; joining again", reason=str(error))
                self._stop.wait(REJOIN_S)

    @contextmanager
    def _membership(self) -> Iterator[Pipeline]:
        """Start producers and lanes; at the end finish what is in flight, commit, leave the groups and let the producers go."""
        handoff = Handoff(Turns(self._settings.bulk_share))
        producers = {lane: self._producer(lane) for lane in Lane}
        lanes = {lane: self._lane(lane, handoff) for lane in Lane}
        pipeline = Pipeline(
            lanes=lanes,
            producers=producers,
            handoff=handoff,
            model=self._choice,
            publisher=Publisher(self._topology, self._dead_letters, self._topics.reply_partition_exists, self._metrics),
            metrics=self._metrics,
            stop=self._stop.is_set,
            beat=self._beat,
            # The rest of the time is for the last commit and the goodbye.
            drain_timeout_s=max(self._settings.drain_timeout_s - self._settings.revoke_timeout_s, 0.0),
            traces=self._traces,
        )
        for producer in producers.values():
            producer.start()
        self._warm_up = WarmUp(producers.values(), self._topology.control)
        self._warm_up.start()
        for reader in lanes.values():
            reader.start()
        self._lanes = lanes
        self._joined_at = time.monotonic()
        finished, blameless = False, False
        try:
            yield pipeline
            finished = pipeline.finish()
            blameless = True
        except ConvnetKafkaError:
            blameless = True  # we know what it was, and it was no image
            raise
        finally:
            self._lanes = {}
            self._leave(lanes, handoff, finished=finished, blameless=blameless)
            for producer in producers.values():
                producer.close(0.0)

    def _leave(self, lanes: dict[Lane, LaneReader], handoff: Handoff, *, finished: bool, blameless: bool) -> None:
        handoff.close()
        for reader in lanes.values():
            if not finished:
                reader.abandon()
            reader.leave(blameless=blameless)
        # A commit and a goodbye take milliseconds; with Kafka away they are not worth the time the process has left.
        deadline = time.monotonic() + self._settings.revoke_timeout_s
        for reader in lanes.values():
            if not reader.join(max(deadline - time.monotonic(), 0.0)):
                logger.warning("group left without goodbye", lane=reader.lane, error="it took too long")

    def _producer(self, lane: Lane) -> AcknowledgedProducer:
        options = producer_options(
            self._kafka,
            f"{self._topology.prefix}-classifier-{lane}-{this_process()}",
            linger_ms=LINGER_MS[lane],
            share=PRODUCER_SHARE[lane],
            max_record_bytes=max_dead_letter_bytes(self._kafka),
            delivery_timeout_s=DELIVERY_TIMEOUT_S,
        )
        options = with_statistics(options, self._metrics.kafka.recorder("producer", lane.value))
        return AcknowledgedProducer(options, f"labels-{lane}", own_thread=False)

    def _lane(self, lane: Lane, handoff: Handoff) -> LaneReader:
        options = group_options(
            self._kafka,
            f"{self._topology.prefix}-classifier-{lane}-{this_process()}",
            group=self._topology.group(lane),
            share=CONSUMER_SHARE[lane],
            max_record_bytes=max_record_bytes(self._kafka),
        )
        options = with_statistics(options, self._metrics.kafka.recorder("consumer", lane.value))
        make: Callable[[GroupEvents], GroupConsumer] = lambda events: GroupConsumer(options, self._topology.images(lane), events)  # noqa: E731
        return LaneReader(
            lane,
            make,
            handoff=handoff,
            sizer=BatchSizer(self._settings.max_batch),
            fill_s=self._settings.max_delay_s if lane is Lane.BULK else 0.0,
            commit_interval_s=self._settings.commit_interval_s,
            revoke_timeout_s=self._settings.revoke_timeout_s,
            counts=LaneCounts.of(self._metrics, lane),
        )
