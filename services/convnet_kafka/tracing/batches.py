"""The classifier's spans: for each traced image how long it lay in Kafka, and for each trace the batch in which its images were classified.

A batch holds images of many uploads, so of many traces. Each of these gets the batch's spans once, with links to all traced images of the
batch; the labels carry on from there. Made once the results are known, with the times that the loop has measured anyway. Belongs to the
loop's thread, as does everything in it but the thread that sends spans away.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from confluent_kafka import Message
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, format_trace_id

from convnet_kafka.messages import ImageRecord, Lane
from convnet_kafka.topology import Topology
from convnet_kafka.tracing.provider import Tracing
from convnet_kafka.tracing.spans import header, of_topic, operation, parse, place, under

SECOND_NS = 1_000_000_000


class BatchTrace:
    """One batch that holds traced images.

    Args:
        tracing: what makes spans.
        topology: names of topics and groups.
        lane: where the batch comes from.
        alone: how often its one image has been begun alone, 0 for a batch like any other.
        messages: all of it.
        records: the same, parsed.
        traced: which of them are traced, and by which span each was sent.

    Attributes:
        ids: what log lines carry while it is worked on.
    """

    def __init__(
        self,
        tracing: Tracing,
        topology: Topology,
        lane: Lane,
        alone: int,
        messages: Sequence[Message],
        records: Sequence[ImageRecord],
        traced: dict[int, SpanContext],
    ) -> None:
        self._tracer = tracing.tracer
        self._topology = topology
        self._lane = lane
        self._alone = alone
        self._messages: Sequence[Message] = messages
        self._records: Sequence[ImageRecord] = records
        self._traced = traced
        self._began_ns = time.time_ns()
        self._spans: list[Span] = []
        self._sending: dict[int, Span] = {}
        self.ids = {"trace_id": format_trace_id(next(iter(traced.values())).trace_id)}

    def publishing(self, outcomes: Sequence[str], model: int, decode_s: float, predict_s: float) -> list[str | None]:
        """The results are there and will be sent now.

        Args:
            outcomes: of every image, in order: `labelled`, or the code of its failure.
            model: version of the stable model.
            decode_s: seconds of decoding.
            predict_s: seconds of predicting.

        Returns:
            For each image the traceparent of its label, or None.
        """
        # An attribute costs some 4 us on its way to the collector: where the image lies is said by its own spans.
        links = [
            Link(sent, {"convnet.image": self._records[index].image, "convnet.outcome": outcomes[index]})
            for index, sent in self._traced.items()
        ]
        traceparents = [record.traceparent for record in self._records]
        for index, sent in self._traced.items():
            self._waited(index, sent)
            if sent.trace_id not in self._sending:
                self._sending[sent.trace_id] = self._batch(sent, links, model, (("decode", decode_s), ("predict", predict_s)))
            span = self._sending[sent.trace_id]
            if span.is_recording():
                traceparents[index] = header(span)
        return traceparents

    def published(self) -> None:
        """The results are handed over; the images are not needed any more."""
        for span in self._spans:
            span.end()
        self._messages, self._records = (), ()

    def stored(self) -> None:
        """Kafka has every result."""
        for span in self._sending.values():
            span.end()

    def _waited(self, index: int, sent: SpanContext) -> None:
        """From the time that the producer gave the record until its batch began."""
        message, record = self._messages[index], self._records[index]
        topic = self._topology.images(self._lane)
        attributes = of_topic(topic) | place(message.partition(), message.offset()) | {"convnet.image": record.image}
        made_ms = message.timestamp()[1]
        start_ns = min(made_ms * 1_000_000, self._began_ns) if made_ms > 0 else self._began_ns
        span = self._tracer.start_span(f"wait {topic}", under(sent), SpanKind.INTERNAL, attributes, start_time=start_ns)
        span.end(self._began_ns)

    def _batch(self, sent: SpanContext, links: Sequence[Link], model: int, parts: Sequence[tuple[str, float]]) -> Span:
        """The batch and its parts, in the trace of this image; returns the span under which labels are sent."""
        topic = self._topology.images(self._lane)
        attributes = operation(topic, "process") | {
            "messaging.batch.message_count": len(self._messages),
            "messaging.consumer.group.name": self._topology.group(self._lane),
            "convnet.lane": self._lane.value,
            "convnet.model": model,
        }
        if self._alone:
            attributes["convnet.alone"] = self._alone
        span = self._tracer.start_span(f"process {topic}", under(sent), SpanKind.CONSUMER, attributes, links, start_time=self._began_ns)
        self._spans.append(span)
        inside = under(span.get_span_context())
        at_ns = self._began_ns
        for name, seconds in parts:
            end_ns = at_ns + int(seconds * SECOND_NS)
            self._tracer.start_span(name, inside, start_time=at_ns).end(end_ns)
            at_ns = end_ns
        labels = self._topology.labels
        count = sum(other.trace_id == sent.trace_id for other in self._traced.values())
        sending = operation(labels, "send") | {"messaging.batch.message_count": count}
        return self._tracer.start_span(f"send {labels}", inside, SpanKind.PRODUCER, sending)


class BatchTraces:
    """Makes the spans of one classifier.

    Args:
        tracing: what makes spans.
        topology: names of topics and groups.
    """

    def __init__(self, tracing: Tracing, topology: Topology) -> None:
        self._tracing = tracing
        self._topology = topology

    def begin(self, lane: Lane, alone: int, messages: Sequence[Message], records: Sequence[ImageRecord]) -> BatchTrace | None:
        """What traces this batch, or None when nobody wants one of its images traced."""
        traced = {}
        for index, record in enumerate(records):
            if record.traceparent is not None:
                sent = parse(record.traceparent)
                if sent is not None and sent.trace_flags.sampled:
                    traced[index] = sent
        return BatchTrace(self._tracing, self._topology, lane, alone, messages, records, traced) if traced else None
