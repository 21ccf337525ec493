"""The client's spans: one for each call of the server, and one for traced labels that come back.

They are made by the application's own OpenTelemetry, children of whatever it is doing: a library sets up nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from convnet_kafka import __version__
from convnet_kafka.errors import ServerError
from convnet_kafka.messages import traceparent_of
from convnet_kafka.tracing.spans import SCOPE, header, parse, under


class Call:
    """One call of the server."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def answered(self, status: int) -> None:
        """Say how it was answered."""
        self._span.set_attribute("http.response.status_code", status)
        if status >= 400:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(StatusCode.ERROR)


class CallTraces:
    """Makes the spans of one client.

    Args:
        server: address of the server.
    """

    def __init__(self, server: str) -> None:
        self._tracer = trace.get_tracer(SCOPE, __version__)
        address = urlsplit(server)
        self._server: dict[str, str | int] = {
            "server.address": address.hostname or "",
            "server.port": address.port or (443 if address.scheme == "https" else 80),
            "url.scheme": address.scheme,
        }

    @contextmanager
    def call(self, method: str, route: str, headers: MutableMapping[str, str]) -> Iterator[Call]:
        """The span of one call.

        Args:
            method: of HTTP.
            route: the path's template, never the path: that may hold a job id.
            headers: of the request; the trace is added.
        """
        attributes: dict[str, str | int] = {"http.request.method": method, "url.template": route, **self._server}
        with self._tracer.start_as_current_span(
            f"{method} {route}", kind=SpanKind.CLIENT, attributes=attributes, record_exception=False
        ) as span:
            if span.get_span_context().is_valid:
                headers["traceparent"] = header(span)
            try:
                yield Call(span)
            except ServerError as error:
                # Its words may hold an address with a job's id in it.
                span.set_attribute("error.type", str(error.status or type(error).__name__))
                span.set_status(StatusCode.ERROR)
                raise

    def received(self, traceparents: Sequence[object]) -> None:
        """Traced labels have come together; those that a classifier sent together have one span."""
        for traceparent, count in Counter(traceparents).items():
            sent = parse(traceparent_of(traceparent)) if isinstance(traceparent, str) else None
            if sent is not None and sent.trace_flags.sampled:
                links = [trace.Link(sent)]
                self._tracer.start_span("receive labels", under(sent), attributes={"convnet.labels": count}, links=links).end()
