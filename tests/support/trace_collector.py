"""A collector of traces for tests: takes OTLP as http/protobuf on a free port and keeps every span as a plain value."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from support.waiting import until


@dataclass(frozen=True)
class SpanLink:
    """To another span."""

    trace_id: str
    span_id: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class ExportedSpan:
    """One span as it was sent."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    failed: bool
    attributes: dict[str, Any]
    links: list[SpanLink] = field(default_factory=list)


class TraceCollector:
    """Listens while entered; runs on an event loop of its own in a thread."""

    def __init__(self) -> None:
        self.spans: list[ExportedSpan] = []
        self.bodies: list[bytes] = []
        self.url = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="trace-collector")

    def __enter__(self) -> Self:
        self._thread.start()
        until(lambda: self.url, 20, "the collector listens")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._loop is not None and self._end is not None:
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(20)

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process trace everything and send it here, soon."""
        return {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.url,
            "OTEL_TRACES_SAMPLER": "parentbased_always_on",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }

    def wait_for(self, name: str, count: int = 1, wanted: Callable[[ExportedSpan], bool] = lambda _: True) -> list[ExportedSpan]:
        """So many spans of this name, or more."""

        def found() -> list[ExportedSpan]:
            return [span for span in list(self.spans) if span.name == name and wanted(span)]

        until(lambda: len(found()) >= count, 30, f"{count} spans {name!r} among {sorted({span.name for span in self.spans})}")
        return found()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/traces", self._take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        await self._end.wait()
        await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.bodies.append(body)
        self.spans += spans_in(ExportTraceServiceRequest.FromString(body))
        return web.Response(content_type="application/x-protobuf")


def spans_in(request: ExportTraceServiceRequest) -> list[ExportedSpan]:
    """All of one export."""
    found = []
    for resource in request.resource_spans:
        service = _attributes(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            found += [_span(service, span) for span in scope.spans]
    return found


def _span(service: str, span: trace_pb2.Span) -> ExportedSpan:
    return ExportedSpan(
        service=service,
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        attributes=_attributes(span.attributes),
        links=[SpanLink(link.trace_id.hex(), link.span_id.hex(), _attributes(link.attributes)) for link in span.links],
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
