"""Spans that end in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler

from convnet_kafka.settings import TracingSettings
from convnet_kafka.tracing.provider import Tracing

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"


@dataclass
class Memory:
    """What makes spans, and those that have ended."""

    tracing: Tracing
    exporter: InMemorySpanExporter

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


@pytest.fixture
def memory() -> Callable[..., Memory]:
    def make(sampler: Sampler = ALWAYS_ON, **settings: object) -> Memory:
        exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=ParentBased(sampler), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        return Memory(Tracing(provider, TracingSettings(**settings)), exporter)

    return make
