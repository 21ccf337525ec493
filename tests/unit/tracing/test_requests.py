"""The server's spans: whose trace they are in, which images have one, and what Kafka said of them."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from confluent_kafka import KafkaError
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, format_span_id, format_trace_id
from prometheus_client import CollectorRegistry, Counter

from convnet_kafka.kafka.producer import Delivery
from convnet_kafka.server.intake import Intake
from convnet_kafka.server.jobs import Job
from convnet_kafka.server.traced import TRACES, tell_refusal, trace_of, traced
from convnet_kafka.tracing.requests import RequestTrace, RequestTraces
from support.http import png
from support.memory_kafka import Record
from unit.tracing.conftest import SAMPLED, SPAN, TRACE, UNSAMPLED, Memory

MakeMemory = Callable[..., Memory]
ROUTE = "/v1/jobs/{job}/images"


class Producer:
    """Keeps what it is given; answers when told."""

    def __init__(self) -> None:
        self.room = True
        self.sent: list[tuple[dict[str, bytes], Callable[..., None]]] = []

    def produce(self, topic: str, value: bytes, headers: list, partition: int, key: object, on_delivery: Callable[..., None]) -> None:
        if not self.room:
            raise BufferError
        self.sent.append((dict(headers), on_delivery))

    def delivery(self, on_done: Callable[[], None]) -> Delivery:
        return Delivery(self, on_done)  # type: ignore[arg-type]


def intake(producer: Producer, trace: RequestTrace | None) -> Intake:
    full = Counter("full", "Full.", registry=CollectorRegistry())
    job = Job("ab" * 16, "default", 0, 1, 0, b"")
    return Intake(producer, "t.images", job, deadline=time.monotonic() + 10, acknowledge_s=5, queue_full=full, trace=trace)  # type: ignore[arg-type]


def test_a_request_goes_on_with_its_callers_trace(memory: MakeMemory) -> None:
    found = memory(ALWAYS_OFF)
    with RequestTraces(found.tracing, "t.labels").request("POST", ROUTE, SAMPLED) as request:
        request.job("ab" * 16)
        request.answered(202)
    span = found.one(f"POST {ROUTE}")
    assert (format_trace_id(span.context.trace_id), format_span_id(span.parent.span_id)) == (TRACE, SPAN)
    assert span.kind is SpanKind.SERVER
    assert dict(span.attributes) == {
        "http.request.method": "POST",
        "http.route": ROUTE,
        "url.scheme": "http",
        "convnet.job": "ab" * 16,
        "http.response.status_code": 202,
    }


@pytest.mark.parametrize("traceparent", [None, "rubbish", f"00-{'0' * 32}-{SPAN}-01", f"ff-{TRACE}-{SPAN}-01", SAMPLED + "-more"])
def test_without_a_callers_trace_the_servers_sampler_decides(memory: MakeMemory, traceparent: str | None) -> None:
    on, off = memory(), memory(ALWAYS_OFF)
    for each in (on, off):
        with RequestTraces(each.tracing, "t.labels").request("POST", ROUTE, traceparent):
            pass
    assert on.one(f"POST {ROUTE}").parent is None
    assert off.spans == []


def test_what_a_caller_does_not_want_recorded_is_not(memory: MakeMemory) -> None:
    found = memory()
    with RequestTraces(found.tracing, "t.labels").request("POST", ROUTE, UNSAMPLED) as request:
        assert not request.recorded
        assert request.ids["trace_id"] == TRACE
    assert found.spans == []


def test_strangers_traces_are_linked_to_and_not_gone_on_with(memory: MakeMemory) -> None:
    found, off = memory(public_endpoint=True), memory(ALWAYS_OFF, public_endpoint=True)
    for each in (found, off):
        with RequestTraces(each.tracing, "t.labels").request("POST", ROUTE, SAMPLED):
            pass
    span = found.one(f"POST {ROUTE}")
    assert span.parent is None
    assert format_trace_id(span.context.trace_id) != TRACE
    assert [format_trace_id(link.context.trace_id) for link in span.links] == [TRACE]
    assert off.spans == []


def test_a_failed_request_is_an_error_by_its_status_alone(memory: MakeMemory) -> None:
    found = memory()
    traces = RequestTraces(found.tracing, "t.labels")
    for status in (404, 503):
        with traces.request("POST", ROUTE, None) as request:
            request.answered(status)
    refused, failed = found.spans
    assert refused.status.is_unset
    assert (failed.status.is_ok, failed.attributes["error.type"]) == (False, "503")


async def test_the_first_images_of_an_upload_are_traced_and_then_fewer_and_fewer(memory: MakeMemory) -> None:
    found, producer = memory(images=3), Producer()
    with RequestTraces(found.tracing, "t.labels").request("POST", ROUTE, SAMPLED) as request:
        images = intake(producer, request)
        for number in range(40):
            images.offer(f"{number}.png", png(str(number)))
    with_header = [number for number, (headers, _) in enumerate(producer.sent) if "traceparent" in headers]
    assert with_header == [0, 1, 2, 4, 8, 16, 32]
    for number, (_, answer) in enumerate(producer.sent):
        answer(None, Record(100 + number, [], b"", 7))
    spans = found.named("send t.images")
    assert [span.attributes["messaging.kafka.offset"] for span in spans] == [100 + number for number in with_header]
    assert {span.attributes["messaging.destination.partition.id"] for span in spans} == {"7"}
    assert {span.kind for span in spans} == {SpanKind.PRODUCER}
    assert {span.parent.span_id for span in spans} == {found.one(f"POST {ROUTE}").context.span_id}
    for span, number in zip(spans, with_header, strict=True):
        headers = producer.sent[number][0]
        expected = f"00-{TRACE}-{format_span_id(span.context.span_id)}-01"
        assert (headers["traceparent"].decode(), headers["image"].decode()) == (expected, span.attributes["convnet.image"])
    assert (await images.finish()).accepted == 40


async def test_an_image_that_kafka_refuses_has_a_span_that_says_so_and_one_that_found_no_room_has_none(memory: MakeMemory) -> None:
    found, producer = memory(), Producer()
    with RequestTraces(found.tracing, "t.labels").request("POST", ROUTE, SAMPLED) as request:
        images = intake(producer, request)
        producer.room = False
        assert not images.offer("a.png", png("a"))
        producer.room = True
        assert images.offer("a.png", png("a"))
    producer.sent[0][1](KafkaError(KafkaError._MSG_TIMED_OUT), None)
    span = found.one("send t.images")
    assert (span.status.is_ok, span.attributes["error.type"]) == (False, "_MSG_TIMED_OUT")
    assert (await images.finish()).counts() == {"accepted": 0, "refused": 0, "unknown": 1}


async def test_an_untraced_upload_sends_no_context(memory: MakeMemory) -> None:
    producer = Producer()
    images = intake(producer, None)
    images.offer("a.png", png("a"))
    assert "traceparent" not in producer.sent[0][0]


def test_a_label_that_comes_back_was_received_by_its_reader(memory: MakeMemory) -> None:
    found = memory(ALWAYS_OFF)
    traces = RequestTraces(found.tracing, "t.labels")
    appended_ms = time.time_ns() // 1_000_000 - 200
    traces.received(Record(5, [], b"", 1, made_ms=appended_ms), SAMPLED)
    traces.received(Record(6, [], b"", 1, made_ms=appended_ms - 3_600_000), SAMPLED)
    traces.received(Record(7, [], b"", 1, made_ms=appended_ms), UNSAMPLED)
    traces.received(Record(8, [], b"", 1, made_ms=appended_ms), "rubbish")
    waited, late = found.named("receive t.labels")
    assert format_span_id(waited.parent.span_id) == SPAN
    assert (waited.end_time - waited.start_time) // 1_000_000 >= 200
    # Nobody waited for it for an hour: its reader came an hour later.
    assert late.end_time == late.start_time


async def test_calls_of_the_api_are_traced_by_their_route_and_log_lines_name_the_trace(memory: MakeMemory) -> None:
    found, logged = memory(), []

    async def call(request: web.Request) -> web.Response:
        trace = trace_of(request)
        assert trace is not None
        logged.append(structlog.contextvars.get_contextvars())
        return web.Response(status=503)

    async def probe(request: web.Request) -> web.Response:
        assert trace_of(request) is None
        logged.append(structlog.contextvars.get_contextvars())
        return web.Response()

    app = web.Application(middlewares=[traced(RequestTraces(found.tracing, "t.labels"))])
    app.add_routes([web.post(ROUTE, call), web.get("/readyz", probe)])
    async with TestClient(TestServer(app)) as client:
        await client.post("/v1/jobs/secret-token/images?name=private.png", headers={"traceparent": SAMPLED})
        await client.get("/readyz", headers={"traceparent": SAMPLED})
    span = found.one(f"POST {ROUTE}")
    assert logged == [{"trace_id": TRACE, "span_id": format_span_id(span.context.span_id)}, {}]
    assert len(found.spans) == 1
    assert not any("secret" in str(value) or "private" in str(value) for value in [span.name, *span.attributes.values()])


async def test_a_refusal_before_the_body_is_traced_too(memory: MakeMemory) -> None:
    found = memory()

    async def refuse(request: web.Request) -> web.Response:
        tell_refusal(request, 503)
        return web.Response(status=503)

    async def upload(_: web.Request) -> web.Response:
        raise AssertionError

    app = web.Application()
    app[TRACES] = RequestTraces(found.tracing, "t.labels")
    app.add_routes([web.post(ROUTE, upload, expect_handler=refuse), web.post("/other", upload, expect_handler=refuse)])
    async with TestClient(TestServer(app)) as client:
        for path in ("/v1/jobs/secret-token/images", "/other"):
            answer = await client.post(path, data=b"x", expect100=True, headers={"traceparent": SAMPLED})
            assert answer.status == 503
    span = found.one(f"POST {ROUTE}")
    assert (format_trace_id(span.context.trace_id), span.attributes["http.response.status_code"]) == (TRACE, 503)
    assert len(found.spans) == 1
