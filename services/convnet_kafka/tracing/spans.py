"""Between OpenTelemetry's objects and what stands in headers and spans; needs its API alone, so that a library can use it."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, format_span_id, format_trace_id

SCOPE = "convnet_kafka"


def parse(traceparent: str | None) -> SpanContext | None:
    """The span that a well-formed traceparent names (W3C Trace Context, level 1), or None.

    Args:
        traceparent: as `messages.traceparent_of` lets it through.
    """
    if traceparent is None:
        return None
    _, trace_id, span_id, flags = traceparent.split("-")
    context = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return context if context.is_valid else None


def under(context: SpanContext) -> Context:
    """What a span gets to be the child of another."""
    return trace.set_span_in_context(NonRecordingSpan(context), Context())


def header(span: Span) -> str:
    """The traceparent that makes others its children."""
    context = span.get_span_context()
    return f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-{context.trace_flags:02x}"


def of_topic(topic: str) -> dict[str, str | int]:
    """The attributes that every span about a topic has."""
    return {"messaging.system": "kafka", "messaging.destination.name": topic}


def operation(topic: str, kind: str) -> dict[str, str | int]:
    """Those of an operation on it: `send`, `receive` or `process`."""
    return of_topic(topic) | {"messaging.operation.name": kind, "messaging.operation.type": kind}


def place(partition: int | None, offset: int | None) -> dict[str, str | int]:
    """Where a record lies."""
    return {"messaging.destination.partition.id": str(partition or 0), "messaging.kafka.offset": offset or 0}
