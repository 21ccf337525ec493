"""The classifier's spans: every trace whose images are in a batch gets the batch, with links to all of them; labels carry it on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, format_span_id, format_trace_id
from prometheus_client import CollectorRegistry

from convnet_kafka.messages import Lane
from convnet_kafka.metrics import ClassifierMetrics
from convnet_kafka.replies import ReplyHeaders
from convnet_kafka.topology import Topology
from convnet_kafka.tracing.batches import BatchTraces
from support.classifier_rig import FakePredictor, Rig, picture
from support.memory_kafka import MemoryProducer, MemoryTopic
from support.waiting import until
from unit.tracing.conftest import SAMPLED, SPAN, TRACE, UNSAMPLED, Memory

MakeMemory = Callable[..., Memory]
OTHER_TRACE, OTHER_SPAN = "f" * 32, "e" * 16


@pytest.fixture
def rig() -> Iterator[Callable[[Memory | None], Rig]]:
    made: list[Rig] = []

    def make(found: Memory | None) -> Rig:
        made.append(
            Rig(
                topics={lane: MemoryTopic(1) for lane in Lane},
                producers={lane: MemoryProducer() for lane in Lane},
                predictor=FakePredictor(),
                metrics=ClassifierMetrics(CollectorRegistry()),
                traces=BatchTraces(found.tracing, Topology("t")) if found is not None else None,
            )
        )
        return made[-1]

    yield make
    for each in made:
        each.end()


def parent_of(span: ReadableSpan) -> str:
    assert span.parent is not None
    return format_span_id(span.parent.span_id)


def id_of(span: ReadableSpan) -> str:
    return format_span_id(span.context.span_id)


def test_each_trace_of_a_batch_gets_the_batch_with_links_to_all_its_images(memory: MakeMemory, rig: Callable[[Memory | None], Rig]) -> None:
    found = memory()
    one = rig(found)
    sent = {
        "a.png": f"00-{TRACE}-{'1' * 16}-01",
        "b.png": f"00-{TRACE}-{'2' * 16}-01",
        "c.png": f"00-{OTHER_TRACE}-{OTHER_SPAN}-01",
        "unsampled.png": UNSAMPLED,
        "untraced.png": None,
    }
    ids = {}
    for number, (name, traceparent) in enumerate(sent.items()):
        header = {"traceparent": traceparent.encode()} if traceparent is not None else {}
        ids[name] = one.submit(picture(10 * number), name, **header)
    one.start()
    one.wait_for_labels(5)
    until(lambda: len(found.named("send t.labels")) == 2, 20, "both traces' labels acknowledged")

    batches = {format_trace_id(span.context.trace_id): span for span in found.named("process t.images")}
    assert set(batches) == {TRACE, OTHER_TRACE}
    assert parent_of(batches[TRACE]) == "1" * 16
    assert parent_of(batches[OTHER_TRACE]) == OTHER_SPAN
    for span in batches.values():
        assert span.kind is SpanKind.CONSUMER
        assert [format_span_id(link.context.span_id) for link in span.links] == ["1" * 16, "2" * 16, OTHER_SPAN]
        assert [link.attributes["convnet.image"] for link in span.links] == [ids["a.png"], ids["b.png"], ids["c.png"]]
        assert {link.attributes["convnet.outcome"] for link in span.links} == {"labelled"}
        assert span.attributes["messaging.batch.message_count"] == 5
        assert span.attributes["messaging.consumer.group.name"] == "t.classifiers.bulk"
        assert (span.attributes["convnet.lane"], span.attributes["convnet.model"]) == ("bulk", 1)
        assert "convnet.alone" not in span.attributes
        parts = [part for part in found.spans if part.parent is not None and part.parent.span_id == span.context.span_id]
        assert {part.name for part in parts} == {"decode", "predict", "send t.labels"}

    waits = {parent_of(span): span for span in found.named("wait t.images")}
    assert set(waits) == {"1" * 16, "2" * 16, OTHER_SPAN}
    for span in waits.values():
        assert 0 <= span.start_time <= span.end_time == batches[TRACE].start_time

    sending = {format_trace_id(span.context.trace_id): span for span in found.named("send t.labels")}
    traceparents = {label.name: label.traceparent for label in one.labels}
    assert traceparents == {
        "a.png": f"00-{TRACE}-{id_of(sending[TRACE])}-01",
        "b.png": f"00-{TRACE}-{id_of(sending[TRACE])}-01",
        "c.png": f"00-{OTHER_TRACE}-{id_of(sending[OTHER_TRACE])}-01",
        "unsampled.png": UNSAMPLED,
        "untraced.png": None,
    }
    in_headers = {image: sent.headers.get("traceparent") for sent in one.stored for image in ReplyHeaders.parse(sent.headers).images}
    assert in_headers == {ids[name]: value.encode() if value else None for name, value in traceparents.items()}


def test_a_failure_is_the_outcome_of_its_image_and_not_of_the_batch(memory: MakeMemory, rig: Callable[[Memory | None], Rig]) -> None:
    found = memory()
    one = rig(found)
    one.submit(b"no picture", "broken.png", traceparent=SAMPLED.encode())
    one.submit(picture(10), "good.png")
    one.start()
    one.wait_for_labels(2)
    until(lambda: found.named("send t.labels"), 20, "its span")
    span = found.one("process t.images")
    assert [link.attributes["convnet.outcome"] for link in span.links] == ["unsupported"]
    assert span.status.is_unset


def test_the_context_passes_through_a_classifier_that_does_not_trace(rig: Callable[[Memory | None], Rig]) -> None:
    one = rig(None)
    one.submit(picture(10), "a.png", traceparent=SAMPLED.encode())
    one.submit(picture(20), "b.png", traceparent=b"no context, and longer than any: " + b"x" * 500)
    one.start()
    labels = {label.name: label.traceparent for label in one.wait_for_labels(2)}
    assert labels == {"a.png": SAMPLED, "b.png": None}


def test_a_batch_without_traced_images_has_no_spans(memory: MakeMemory, rig: Callable[[Memory | None], Rig]) -> None:
    found = memory()
    one = rig(found)
    one.submit(picture(10), "a.png")
    one.start()
    one.wait_for_labels(1)
    one.wait_for_commit(1)
    assert found.spans == []


def test_an_image_that_is_tried_alone_says_so(memory: MakeMemory) -> None:
    found = memory()
    one = MemoryTopic()
    one.put(b"", [])
    (record,) = one.records[0]
    image = type("Image", (), {"traceparent": SAMPLED, "image": "0" * 32, "job": "1" * 32})()
    batch = BatchTraces(found.tracing, Topology("t")).begin(Lane.FAST, 2, [record], [image])  # type: ignore[list-item]
    assert batch is not None
    assert batch.ids == {"trace_id": TRACE}
    batch.publishing(["labelled"], 3, 0.001, 0.002)
    batch.published()
    batch.stored()
    span = found.one("process t.images.fast")
    assert (span.attributes["convnet.alone"], parent_of(span)) == (2, SPAN)
    assert found.one("predict").end_time - found.one("predict").start_time == 2_000_000


def test_what_is_logged_while_a_traced_batch_is_worked_on_names_its_trace(memory: MakeMemory, rig: Callable[[Memory | None], Rig]) -> None:
    one = rig(memory())
    seen: dict[str, dict[str, object]] = {}
    one.predictor.on_predict = lambda shades: seen.update({str(shades): structlog.contextvars.get_contextvars()})
    one.submit(picture(10), "a.png", traceparent=SAMPLED.encode())
    one.start()
    one.wait_for_labels(1)
    one.submit(picture(20), "b.png")
    one.wait_for_labels(2)
    assert seen == {"[10]": {"trace_id": TRACE}, "[20]": {}}
