"""The one loop: take a batch, make its results, publish them, and settle what Kafka has acknowledged. One thread, one core.

Owns the turn of things, no connection. It never waits for an acknowledgement: a bounded number of batches is in flight, and offsets
follow in order. Producers are polled here, so that an acknowledgement costs no change of threads.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import structlog
from structlog.contextvars import bound_contextvars

from convnet_kafka.classifier.answers import Answers
from convnet_kafka.classifier.handoff import Batch, Handoff
from convnet_kafka.classifier.lanes import LaneReader
from convnet_kafka.classifier.measuring import LaneMeter, Sent
from convnet_kafka.classifier.publishing import Publisher
from convnet_kafka.classifier.quarantine import set_aside
from convnet_kafka.classifier.results import Failed, Result
from convnet_kafka.classifier.shipments import Shipment
from convnet_kafka.kafka.producer import AcknowledgedProducer
from convnet_kafka.messages import ImageRecord, Lane
from convnet_kafka.metrics import ClassifierMetrics
from convnet_kafka.metrics.values import LABELLED

if TYPE_CHECKING:
    from convnet_kafka.tracing.batches import BatchTraces

logger = structlog.get_logger(__name__)
# Asked before a line is put together: a batch comes every few milliseconds.
_gate = logging.getLogger(__name__)

# Batches of one lane without an acknowledgement, and images in them at which no further one is begun. One of bulk comes back in some 55 ms
# (service.LINGER_MS), in which the loop answers a thousand small images at most. It bounds memory while Kafka is away, and what is repeated
# after a kill (quarantine.WATCHED_RECORDS).
MAX_IN_FLIGHT = 24
MAX_IMAGES_IN_FLIGHT = 1280
# How long the loop waits for a batch: with results in flight it must come back for their acknowledgements, else it only beats.
WAIT_IN_FLIGHT_S = 0.005
WAIT_IDLE_S = 0.1
# An acknowledgement comes in milliseconds; when it does not, the loop goes on and takes it later.
ALONE_FLUSH_S = 0.05
# Between looks at what is shown as a gauge.
SAMPLE_S = 1.0


class ModelSource(Protocol):
    """Where the loop's models come from."""

    def current(self) -> Answers | None:
        """The models in use; None when there is none any more."""
        ...


class DrainTimeout(Exception):
    """The time to finish is over."""


class Pipeline:
    """One membership's loop.

    Args:
        lanes: started readers of both lanes.
        producers: for each lane, without threads of their own.
        handoff: where the lanes' batches come from.
        model: asked for before each batch.
        publisher: reads records and writes results.
        metrics: of the classifier.
        stop: whether it is time to end.
        beat: called at least every 100 ms while the loop goes round.
        drain_timeout_s: seconds to work off at the end what has begun.
        traces: makes spans of batches; None when nobody asks for any.
    """

    def __init__(
        self,
        *,
        lanes: Mapping[Lane, LaneReader],
        producers: Mapping[Lane, AcknowledgedProducer],
        handoff: Handoff,
        model: ModelSource,
        publisher: Publisher,
        metrics: ClassifierMetrics,
        stop: Callable[[], bool],
        beat: Callable[[], None],
        drain_timeout_s: float,
        traces: BatchTraces | None = None,
    ) -> None:
        self._lanes = lanes
        self._producers = producers
        self._handoff = handoff
        self._model = model
        self._publisher = publisher
        self._metrics = metrics
        self._meters = {lane: LaneMeter(metrics, lane) for lane in Lane}
        self._stop = stop
        self._beat = beat
        self._drain_timeout_s = drain_timeout_s
        self._traces = traces
        self._sampled_at = 0.0
        self._deadline: float | None = None
        self._half_done = False
        self._in_flight: dict[Lane, deque[tuple[Batch, Shipment, Sent]]] = {lane: deque() for lane in Lane}
        self._images_in_flight = dict.fromkeys(Lane, 0)

    def run(self) -> None:
        """Go round until told to stop, or until there is no model any more.

        Raises:
            NewerWireVersion: a record was written by a newer version.
            ModelBroken: the model fails on what it is known to be able to answer.
            ProducerBroken: a fatal error of a producer.
            KafkaUnavailable: a lane cannot go on.
        """
        while not self._stop() and self._model.current() is not None:
            self._raise_lane_errors()
            self._go_round()

    def finish(self) -> bool:
        """Read no more, work off what was handed out, and wait for its acknowledgements.

        After an error nothing new is begun: what comes after the batch that failed must not be committed.

        Returns:
            True when Kafka has all results of what was begun.
        """
        for reader in self._lanes.values():
            reader.stop_reading()
        while self._unfinished():
            if self._time_is_up():
                return False
            if self._half_done:
                self._beat()
                self._settle()
                self._handoff.take(WAIT_IN_FLIGHT_S, [])
            else:
                self._go_round()
        return not self._half_done

    def _unfinished(self) -> bool:
        if self._half_done:
            return any(self._in_flight.values())
        return any(reader.outstanding for reader in self._lanes.values())

    def _time_is_up(self) -> bool:
        """Whether the time to end is over; it begins with the first question."""
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + self._drain_timeout_s
        return now > self._deadline

    def _raise_lane_errors(self) -> None:
        for reader in self._lanes.values():
            if reader.error is not None:
                raise reader.error

    def _go_round(self) -> None:
        self._beat()
        self._settle()
        images = self._images_in_flight
        open_lanes = [lane for lane in Lane if len(self._in_flight[lane]) < MAX_IN_FLIGHT and images[lane] < MAX_IMAGES_IN_FLIGHT]
        waiting = any(self._in_flight.values())
        batch = self._handoff.take(WAIT_IN_FLIGHT_S if waiting else WAIT_IDLE_S, open_lanes)
        if batch is None:
            return
        self._half_done = True
        model = self._model.current()  # asked for after the wait: a new one takes over with the next batch
        if model is not None:
            with suppress(DrainTimeout):
                self._work(batch, model)
                self._half_done = False

    def _settle(self) -> None:
        """Let offsets follow acknowledgements; the lanes' threads commit them."""
        for lane, reader in self._lanes.items():
            self._producers[lane].poll()
            batches = self._in_flight[lane]
            settled = False
            while batches and batches[0][1].stored():
                batch, _, sent = batches.popleft()
                batch.stored = settled = True
                self._images_in_flight[lane] -= batch.images
                self._meters[lane].stored(sent)
                if batch.trace is not None:
                    batch.trace.stored()
            if settled:
                reader.settle()
        now = time.monotonic()
        if now >= self._sampled_at + SAMPLE_S:
            self._sampled_at = now
            for lane, reader in self._lanes.items():
                self._metrics.in_flight.labels(lane.value).set(len(self._in_flight[lane]))
                self._metrics.partitions.labels(lane.value).set(len(reader.assigned))

    def _work(self, batch: Batch, model: Answers) -> None:
        """Parse, decode, predict, publish; then compare, if there is a shadow: nobody's label waits for it."""
        lane = batch.lane
        started = time.perf_counter()
        messages, records = self._publisher.parse(batch.messages)
        parsed = time.perf_counter()
        if self._traces is not None:
            batch.trace = self._traces.begin(lane, batch.alone, messages, records)
        results = _results(batch, records, model)
        decode_s, predict_s = model.taken()
        predicted = time.perf_counter()
        producer = self._producers[lane]
        shipment = Shipment(
            producer, lambda: self._make_room(producer), on_resent=self._metrics.resent.inc, on_refused=self._metrics.results_refused.inc
        )
        if records:
            traceparents = None
            if batch.trace is not None:
                outcomes = [result.code.value if isinstance(result, Failed) else LABELLED for result in results]
                traceparents = batch.trace.publishing(outcomes, model.version, decode_s, predict_s)
            self._publisher.publish(shipment, lane, messages, records, results, traceparents)
            if batch.trace is not None:
                batch.trace.published()
        shipment.seal()
        published = time.perf_counter()
        stages = {"parse": parsed - started, "decode": decode_s, "predict": predict_s, "publish": published - predicted}
        sent = self._meters[lane].sent(records, results, stages, cancelled=model.unasked, since=published - started)
        self._in_flight[lane].append((batch, shipment, sent))
        self._images_in_flight[lane] += batch.images
        batch.messages = []  # the images are not needed any more, only their positions
        if _gate.isEnabledFor(logging.DEBUG):
            _tell(lane, model.version, records, stages)
        if batch.alone:
            self._lanes[lane].worked(batch)
            producer.flush(ALONE_FLUSH_S)  # its lane waits for it, and nothing will come to fill the request
        compared_s = model.compare()
        ended = time.perf_counter()
        self._handoff.served(lane, ended - started)
        if lane is Lane.FAST:
            self._lanes[Lane.BULK].sizer.disturbed()
        if not batch.alone and len(records) > model.unasked:
            self._publisher.account(sum(len(record.content) for record in records))
            asked = [
                len(record.content)
                for record, result in zip(records, results, strict=True)
                if not isinstance(result, Failed) or result.model is not None
            ]
            if asked:
                self._lanes[lane].sizer.measured(len(asked), ended - started, sum(asked))
            else:
                self._lanes[lane].sizer.wasted(len(records) - model.unasked, ended - started)
        if compared_s:
            self._meters[lane].compared(compared_s)

    def _make_room(self, producer: AcknowledgedProducer) -> None:
        """The producer's queue is full: back-pressure. Wait for acknowledgements, alive, until the time to finish is over."""
        self._beat()
        if self._stop() and self._time_is_up():
            raise DrainTimeout
        producer.poll(WAIT_IDLE_S)


def _tell(lane: Lane, model: int, records: Sequence[ImageRecord], stages: Mapping[str, float]) -> None:
    milliseconds = {f"{stage}_ms": round(seconds * 1000, 3) for stage, seconds in stages.items()}
    jobs = sorted({record.job for record in records})
    logger.debug("batch classified", lane=lane.value, model=model, images=len(records), jobs=jobs, **milliseconds)


def _results(batch: Batch, records: Sequence[ImageRecord], model: Answers) -> list[Result]:
    """One for each image. What is logged meanwhile names the trace, if there is one."""
    if batch.guilty:
        return [set_aside(batch.alone)] * len(records)
    if batch.trace is None:
        return model.results(records)
    with bound_contextvars(**batch.trace.ids):
        return model.results(records)
