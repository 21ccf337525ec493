"""The server's spans: one for a request, one for each traced image on its way into Kafka, and one for each traced label on its way out.

A request is recorded when its caller says so, or by the sampler of this process; then so are the first images of it, and after them one
more each time their number doubles, so that a large upload is seen from its beginning to its end and costs little more than a small one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, Message
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, format_span_id, format_trace_id, set_span_in_context

from convnet_kafka.messages import traceparent_of
from convnet_kafka.tracing.provider import Tracing
from convnet_kafka.tracing.spans import header, operation, parse, place, under

# A label that lay longer was not waited for: its reader came later, and its time in Kafka says nothing.
WAITED_FOR_S = 60.0
_TOO_LATE = "nobody was there any more"


class SentImage:
    """One traced image from the producer's queue until Kafka has it.

    Attributes:
        traceparent: for the record's header.
    """

    __slots__ = ("_span", "traceparent")

    def __init__(self, span: Span) -> None:
        self._span = span
        self.traceparent = header(span)

    def answered(self, error: KafkaError | None, message: Message | None) -> None:
        """Kafka has it, or not. From the producer's thread."""
        if error is not None:
            self._span.set_status(StatusCode.ERROR, error.str())
            self._span.set_attribute("error.type", error.name())
        elif message is not None:
            self._span.set_attributes(place(message.partition(), message.offset()))
        self._span.end()


class RequestTrace:
    """One request's span.

    Args:
        tracing: what makes spans.
        span: of the request; ended by its owner.

    Attributes:
        ids: what log lines carry.
    """

    def __init__(self, tracing: Tracing, span: Span) -> None:
        self._tracing = tracing
        self._span = span
        self._context = set_span_in_context(span, Context())
        self._all = tracing.settings.images
        context = span.get_span_context()
        self.ids = {"trace_id": format_trace_id(context.trace_id), "span_id": format_span_id(context.span_id)}

    @property
    def recorded(self) -> bool:
        """Whether anything of it will be seen."""
        return self._span.is_recording()

    def job(self, job: str) -> None:
        """Say which job it is about.

        Args:
            job: the random part of its id, never the id.
        """
        self._span.set_attribute("convnet.job", job)

    def image(self, topic: str, image: str, number: int) -> SentImage | None:
        """The span of an image that is handed to Kafka now, or None for one that is not traced.

        Args:
            topic: where to.
            image: its id.
            number: how many of the request went before it.
        """
        if number >= self._all and number & (number - 1):
            return None
        attributes = operation(topic, "send") | {"convnet.image": image}
        return SentImage(self._tracing.tracer.start_span(f"send {topic}", self._context, SpanKind.PRODUCER, attributes))

    def outcome(self, counts: dict[str, int]) -> None:
        """Say what became of its images."""
        self._span.set_attributes({f"convnet.images.{name}": count for name, count in counts.items()})

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A part of it that is worth a span."""
        with self._tracing.tracer.start_as_current_span(name, self._context):
            yield

    def answered(self, status: int) -> None:
        """Say how it was answered."""
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(StatusCode.ERROR)


class RequestTraces:
    """Makes the spans of one server process.

    Args:
        tracing: what makes spans.
        labels_topic: where labels come from.
    """

    def __init__(self, tracing: Tracing, labels_topic: str) -> None:
        self._tracing = tracing
        self._labels_topic = labels_topic

    @contextmanager
    def request(self, method: str, route: str, traceparent: str | None) -> Iterator[RequestTrace]:
        """The span of one request, child of its caller's if there is one; of a public endpoint it is a trace of its own with a link."""
        caller = parse(traceparent_of(traceparent))
        public = self._tracing.settings.public_endpoint
        span = self._tracing.tracer.start_span(
            f"{method} {route}",
            under(caller) if caller is not None and not public else Context(),
            SpanKind.SERVER,
            {"http.request.method": method, "http.route": route, "url.scheme": "http"},
            [Link(caller)] if caller is not None and public else None,
        )
        try:
            yield RequestTrace(self._tracing, span)
        except BaseException as error:
            span.set_attribute("error.type", type(error).__qualname__)
            if not isinstance(error, Exception):
                span.set_status(StatusCode.ERROR, _TOO_LATE)
            raise
        finally:
            span.end()

    def received(self, message: Message, traceparent: str) -> None:
        """A traced label has been read here for somebody who follows its job."""
        sent = parse(traceparent_of(traceparent))
        if sent is None or not sent.trace_flags.sampled:
            return
        now_ns = time.time_ns()
        appended_ns = message.timestamp()[1] * 1_000_000
        waited = 0 <= now_ns - appended_ns <= WAITED_FOR_S * 1e9
        attributes = operation(self._labels_topic, "receive") | place(message.partition(), message.offset())
        span = self._tracing.tracer.start_span(
            f"receive {self._labels_topic}",
            under(sent),
            SpanKind.CLIENT,
            attributes,
            [Link(sent)],
            start_time=appended_ns if waited else now_ns,
        )
        span.end(now_ns)
