"""Requests and spans: the middleware that traces calls of the API, and what handlers find of it. Only there when traces are asked for.

Log lines of a traced request carry its trace's id. Probes, the page and its files are not traced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.typedefs import Middleware
from structlog.contextvars import bound_contextvars

from convnet_kafka.server.accesslog import route_of
from convnet_kafka.server.jobs import random_part
from convnet_kafka.server.problems import Handler

if TYPE_CHECKING:
    from convnet_kafka.tracing.requests import RequestTrace, RequestTraces

TRACES: web.AppKey[RequestTraces] = web.AppKey("traces")
_TRACE: web.RequestKey[RequestTrace] = web.RequestKey("trace")
_TRACED = "/v1/"


def traced(traces: RequestTraces) -> Middleware:
    """Middleware: a span for every call of the API."""

    @web.middleware
    async def trace(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = route_of(request)
        if not route.startswith(_TRACED):
            return await handler(request)
        with traces.request(request.method, route, request.headers.get("traceparent")) as span, bound_contextvars(**span.ids):
            _note_job(request, span)
            request[_TRACE] = span
            response = await handler(request)
            span.answered(response.status)
            return response

    return trace


def trace_of(request: web.Request) -> RequestTrace | None:
    """The trace of a request that is recorded, or None."""
    trace = request.get(_TRACE)
    return trace if trace is not None and trace.recorded else None


def tell_refusal(request: web.Request, status: int) -> None:
    """Trace a request that is answered before its body is read, which no middleware sees."""
    traces, route = request.app.get(TRACES), route_of(request)
    if traces is not None and route.startswith(_TRACED):
        with traces.request(request.method, route, request.headers.get("traceparent")) as span:
            _note_job(request, span)
            span.answered(status)


def _note_job(request: web.Request, span: RequestTrace) -> None:
    job = random_part(request.match_info.get("job", ""))
    if job:
        span.job(job)
