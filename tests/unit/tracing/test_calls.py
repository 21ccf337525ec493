"""The client's spans, made by its application's OpenTelemetry: no id that gives access stands in them, and the trace is passed on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, format_span_id, format_trace_id

from convnet_kafka.client import Client, ClientOptions, RetryPolicy
from convnet_kafka.client.errors import Unreachable
from convnet_kafka.tracing.calls import CallTraces
from unit.tracing.conftest import SAMPLED, SPAN, TRACE, UNSAMPLED, Memory

MakeMemory = Callable[..., Memory]
SERVER = "http://user:secret@10.0.0.1:8080/models"


@pytest.fixture
def application(memory: MakeMemory, monkeypatch: pytest.MonkeyPatch) -> Memory:
    """An application that has set up OpenTelemetry."""
    found = memory()
    monkeypatch.setattr(trace, "get_tracer", lambda *_: found.tracing.tracer)
    return found


def test_a_call_is_the_child_of_what_the_application_is_doing_and_passes_the_trace_on(application: Memory) -> None:
    headers = {"Accept": "application/json"}
    with (
        application.tracing.tracer.start_as_current_span("the application's"),
        CallTraces(SERVER).call("GET", "/v1/models", headers) as call,
    ):
        call.answered(200)
    span, outer = application.one("GET /v1/models"), application.one("the application's")
    assert span.parent.span_id == outer.context.span_id
    version, trace_id, span_id, flags = headers["traceparent"].split("-")
    assert (version, trace_id, span_id) == ("00", format_trace_id(span.context.trace_id), format_span_id(span.context.span_id))
    assert int(flags, 16) & 1
    assert span.kind is SpanKind.CLIENT
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "url.template": "/v1/models",
        "server.address": "10.0.0.1",
        "server.port": 8080,
        "url.scheme": "http",
        "http.response.status_code": 200,
    }


async def test_a_call_that_fails_is_an_error_without_the_jobs_id(application: Memory) -> None:
    options = ClientOptions(tracing=True, retry=RetryPolicy(give_up_s=0))
    async with Client("http://127.0.0.1:9", options) as client:
        with pytest.raises(Unreachable):
            await client.status("secret-token")
    span = application.one("GET /v1/jobs/{job}")
    assert (span.status.is_ok, span.attributes["error.type"]) == (False, "Unreachable")
    assert "secret-token" not in span.to_json()


def test_labels_that_were_sent_together_are_received_together(application: Memory) -> None:
    other = f"00-{'c' * 32}-{SPAN}-01"
    CallTraces(SERVER).received([SAMPLED, other, SAMPLED, UNSAMPLED, "rubbish", 7])
    spans = {format_trace_id(span.context.trace_id): span for span in application.named("receive labels")}
    assert {trace_id: span.attributes["convnet.labels"] for trace_id, span in spans.items()} == {TRACE: 2, "c" * 32: 1}
    assert all(format_span_id(span.parent.span_id) == SPAN for span in spans.values())


def test_without_an_applications_opentelemetry_no_trace_is_begun() -> None:
    headers: dict[str, str] = {}
    with CallTraces(SERVER).call("GET", "/v1/models", headers):
        pass
    assert headers == {}
