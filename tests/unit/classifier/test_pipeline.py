"""Every image gets one result, and nothing is committed before Kafka has it; on stand-ins in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError

from convnet_kafka.classifier.pipeline import MAX_IN_FLIGHT
from convnet_kafka.classifier.results import ModelBroken
from convnet_kafka.errors import KafkaUnavailable, NewerWireVersion
from convnet_kafka.identity import this_process
from convnet_kafka.kafka.producer import ProducerBroken
from convnet_kafka.messages import FailureCode, Lane
from convnet_kafka.replies import ReplyHeaders
from support.classifier_rig import POISON, FakePredictor, Rig, picture
from support.memory_kafka import Sent
from support.waiting import until

MakeRig = Callable[..., Rig]


def counted(rig: Rig, name: str, **labels: str) -> float:
    return rig.metrics.registry.get_sample_value(name, labels) or 0.0


def images_of(sent: Sent) -> list[str]:
    return ReplyHeaders.parse(sent.headers).images


def test_every_image_of_both_lanes_gets_its_label_and_is_committed(rig: MakeRig) -> None:
    one = rig()
    bulk = [one.submit(picture(shade), f"{shade}.png") for shade in range(0, 200, 10)]
    fast = one.submit(picture(70), "fast.png", Lane.FAST)
    one.start()
    labels = one.wait_for_labels(21)
    assert {label.image: label.label for label in labels} == {
        **{image: f"class-{number}" for number, image in enumerate(bulk)},
        fast: "class-7",
    }
    assert {label.image for label in labels if label.lane is Lane.FAST} == {fast}
    assert {(label.model, label.confidence, label.error) for label in labels} == {(1, 0.75, None)}
    assert [label.image for label in labels if label.lane is Lane.BULK] == bulk
    one.wait_for_commit(20)
    one.wait_for_commit(1, Lane.FAST)


def test_a_record_of_results_says_which_batch_of_which_process_made_it(rig: MakeRig) -> None:
    one = rig()
    for shade in (0, 10, 20):
        one.submit(picture(shade), f"{shade}.png")
    one.start()
    one.wait_for_labels(3)
    said = {dict(sent.headers)["by"].decode() for sent in one.stored if sent.topic == "t.labels"}
    made = [text.rsplit("/", 2) for text in said]
    assert {process for process, _, _ in made} == {this_process()}
    assert sum(int(images) for _, _, images in made) == 3
    assert len({batch for _, batch, _ in made}) == len(made)


def test_a_label_goes_to_its_reply_partition_with_the_headers_readers_need(rig: MakeRig) -> None:
    one = rig()
    image = one.submit(picture(0), revision=b"2", tenant=b"acme")
    one.start()
    one.wait_for_labels(1)
    (sent,) = one.stored
    assert (sent.topic, sent.partition) == ("t.labels", 1)
    assert {name: value for name, value in sent.headers.items() if name != "by"} == {
        "wire": b"1",
        "job": b"0123456789abcdef0123456789abcdef",
        "image": image.encode(),
        "revision": b"2",
        "tenant": b"acme",
    }


def test_results_of_a_batch_travel_together_by_job_tenant_revision_and_reply_partition(rig: MakeRig) -> None:
    one = rig()
    alike = [one.submit(picture(shade), f"{shade}.png") for shade in (10, 20)]
    others = [
        one.submit(picture(30), "3.png", job=b"f" * 32),
        one.submit(picture(40), "4.png", tenant=b"acme"),
        one.submit(picture(50), "5.png", revision=b"1"),
        one.submit(picture(60), "6.png", reply_partition=b"2"),
    ]
    alike.append(one.submit(picture(70), "7.png"))
    one.start()
    one.wait_for_commit(7)
    assert [images_of(sent) for sent in one.stored] == [alike, *([image] for image in others)]
    assert one.stored[0].value == b"\n".join(label.to_json() for label in one.labels if label.image in alike)


def test_an_id_that_is_none_travels_alone_and_takes_no_neighbours_result_with_it(rig: MakeRig) -> None:
    one = rig()
    for shade, identity in ((10, b"7" * 32), (20, b"too short"), (30, b"8" * 32)):
        one.submit(picture(shade), f"{shade}.png", image=identity)
    one.start()
    one.wait_for_commit(3)
    assert [sent.headers["image"] for sent in one.stored] == [b"7" * 32, b"too short", b"8" * 32]


def test_a_broken_picture_gets_an_error_and_a_dead_letter_and_harms_no_neighbour(rig: MakeRig) -> None:
    one = rig()
    one.submit(picture(10), "good.png")
    broken = one.submit(picture(20)[:50], "broken.png")
    empty = one.submit(b"", "empty.png")
    one.submit(picture(30), "good too.png")
    one.start()
    labels = {label.name: label for label in one.wait_for_labels(4)}
    assert (labels["good.png"].label, labels["good too.png"].label) == ("class-1", "class-3")
    assert (labels["broken.png"].error, labels["broken.png"].model) == (FailureCode.UNDECODABLE, None)
    assert labels["empty.png"].detail == "the file is empty"
    one.wait_for_commit(4)
    assert {letter.key for letter in one.dead_letters} == {broken.encode(), empty.encode()}
    letter = next(letter for letter in one.dead_letters if letter.key == broken.encode())
    assert letter.value == picture(20)[:50]
    assert {name: letter.headers[name] for name in ("name", "reason", "attempts", "source-topic", "source-partition", "source-offset")} == {
        "name": b"broken.png",
        "reason": b"undecodable",
        "attempts": b"1",
        "source-topic": b"images",
        "source-partition": b"0",
        "source-offset": b"1",
    }
    kinds = {image: sent.headers.get("kind") for sent in one.stored if sent.topic == "t.labels" for image in images_of(sent)}
    assert [image for image, kind in kinds.items() if kind == b"failed"] == [broken, empty]
    assert counted(one, "convnet_classifier_images_total", lane="bulk", result="undecodable") == 2
    assert counted(one, "convnet_classifier_images_total", lane="bulk", result="labelled") == 2


def test_an_image_the_model_fails_on_is_found_and_alone_dead_lettered(rig: MakeRig) -> None:
    one = rig()
    shades = [10, 20, 30, POISON, 50, 60, 70]
    for shade in shades:
        one.submit(picture(shade), f"{shade}.png")
    one.start()
    labels = {label.name: label for label in one.wait_for_labels(7)}
    assert labels[f"{POISON}.png"].error is FailureCode.MODEL_ERROR
    assert labels[f"{POISON}.png"].model == 1
    assert all(label.error is None for name, label in labels.items() if name != f"{POISON}.png")
    (letter,) = one.dead_letters
    assert (letter.headers["reason"], letter.headers["model"], letter.headers["attempts"]) == (b"model-error", b"1", b"2")
    one.wait_for_commit(7)


def test_images_that_the_model_fails_on_never_take_it_out_of_use_however_many_come(rig: MakeRig) -> None:
    """What a sender can cause must not stop a classifier: unreadable files, and pictures that make the model fail."""
    one = rig()
    for number in range(40):
        one.submit(picture(POISON) if number % 2 else b"no picture", f"{number}.png")
    one.submit(picture(10), "good.png")
    one.start()
    labels = {label.name: label for label in one.wait_for_labels(41)}
    assert labels.pop("good.png").label == "class-1"
    assert {label.error for label in labels.values()} == {FailureCode.MODEL_ERROR, FailureCode.UNSUPPORTED}
    one.wait_for_commit(41)
    assert one.error is None
    assert counted(one, "convnet_classifier_model_broken_total") == 0


def test_a_broken_model_blames_no_image_and_commits_none(rig: MakeRig) -> None:
    one = rig()
    one.submit(picture(10))
    one.predictor.broken = True
    one.start()
    one.wait_for_end()
    assert isinstance(one.error, ModelBroken)
    assert one.stored == []
    assert one.topics[Lane.BULK].committed.get(0, 0) == 0


def test_foreign_records_are_counted_and_skipped(rig: MakeRig) -> None:
    one = rig()
    one.submit(picture(10), wire=None)
    one.submit(picture(10), job=b"\xff")
    one.submit(picture(10), reply_partition=b"99")
    one.submit(picture(10), reply_partition=b"9999999999999999999")
    one.submit(picture(20), "good.png")
    one.start()
    assert [label.name for label in one.wait_for_labels(1)] == ["good.png"]
    one.wait_for_commit(5)
    assert len(one.stored) == 1
    assert counted(one, "convnet_classifier_records_skipped_total", reason="wire") == 3
    assert counted(one, "convnet_classifier_records_skipped_total", reason="reply-partition") == 1


def test_a_newer_wire_version_stops_before_it_and_commits_what_came_before(rig: MakeRig) -> None:
    one = rig()
    for shade in range(0, 160, 10):  # two batches
        one.submit(picture(shade), f"{shade}.png")
    one.start()
    one.wait_for_labels(16)
    one.wait_for_commit(16)
    one.submit(picture(10), "newer.png", wire=b"2")
    one.submit(picture(20), "after.png")
    one.wait_for_end()
    assert isinstance(one.error, NewerWireVersion)
    assert "images[0] at 16" in str(one.error)
    assert one.topics[Lane.BULK].committed == {0: 16}
    assert one.dead_letters == []


def test_nothing_is_committed_before_kafka_has_the_result(rig: MakeRig) -> None:
    one = rig()
    one.producers[Lane.BULK].silent = True
    one.submit(picture(10))
    one.submit(picture(10), lane=Lane.FAST)
    one.start()
    one.wait_for_commit(1, Lane.FAST)
    until(lambda: one.producers[Lane.BULK].waiting)
    assert one.topics[Lane.BULK].committed.get(0, 0) == 0
    one.producers[Lane.BULK].silent = False
    one.wait_for_commit(1)


def test_while_kafka_acknowledges_nothing_a_bounded_number_is_in_flight(rig: MakeRig) -> None:
    one = rig()
    producer = one.producers[Lane.BULK]
    producer.silent = True
    for number in range(400):
        one.submit(picture(10), f"{number}.png")
    one.start()
    until(lambda: producer.results_waiting == MAX_IN_FLIGHT * 8)
    one.submit(picture(10), lane=Lane.FAST)
    one.wait_for_commit(1, Lane.FAST)
    assert producer.results_waiting == MAX_IN_FLIGHT * 8
    producer.silent = False
    one.wait_for_commit(400)


def test_while_kafka_acknowledges_nothing_no_more_than_so_many_images_are_in_flight(rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convnet_kafka.classifier.pipeline.MAX_IMAGES_IN_FLIGHT", 20)
    one = rig()
    producer = one.producers[Lane.BULK]
    producer.silent = True
    for number in range(100):
        one.submit(picture(10), f"{number}.png")
    one.start()
    until(lambda: producer.results_waiting == 24)  # batches of 8: the third reaches the limit
    one.submit(picture(10), lane=Lane.FAST)
    one.wait_for_commit(1, Lane.FAST)
    assert producer.results_waiting == 24
    producer.silent = False
    one.wait_for_commit(100)


def test_a_result_that_was_not_stored_is_sent_again_before_its_image_is_committed(rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convnet_kafka.classifier.shipments.RESEND_PAUSE_S", 0.02)
    one = rig()
    failing = iter([KafkaError._MSG_TIMED_OUT, KafkaError.UNKNOWN_TOPIC_OR_PART])
    one.producers[Lane.BULK].refuse = lambda sent: next(failing, None) if sent.headers.get("kind") else None
    one.submit(b"no picture", "first.png")
    one.submit(picture(20), "second.png")
    one.submit(picture(30), "third.png")
    one.start()
    one.wait_for_commit(3)
    assert sorted(label.name for label in one.labels) == ["first.png", "second.png", "third.png"]
    assert counted(one, "convnet_classifier_results_resent_total") == 2


def test_a_result_too_large_for_its_topic_is_given_up_and_counted(rig: MakeRig) -> None:
    one = rig()
    one.producers[Lane.BULK].refuse = lambda sent: KafkaError.MSG_SIZE_TOO_LARGE if sent.topic == "t.images.dlq" else None
    one.submit(b"no picture")
    one.start()
    one.wait_for_commit(1)
    assert [label.error for label in one.labels] == [FailureCode.UNSUPPORTED]
    assert counted(one, "convnet_classifier_results_refused_total") == 1


def test_a_full_producer_queue_is_waited_for(rig: MakeRig) -> None:
    one = rig()
    one.producers[Lane.BULK].capacity = 1
    for number in range(20):
        one.submit(picture(10), f"{number}.png")
    one.start()
    one.wait_for_commit(20)
    assert len(one.labels) == 20


def test_a_fatal_error_of_a_producer_ends_the_loop_without_a_commit(rig: MakeRig) -> None:
    one = rig()

    def break_down(timeout_s: float = 0.0) -> None:
        if one.producers[Lane.BULK].waiting:
            raise ProducerBroken("fatal")

    one.producers[Lane.BULK].poll = break_down  # type: ignore[method-assign]
    one.submit(picture(10))
    one.start()
    one.wait_for_end()
    assert isinstance(one.error, ProducerBroken)
    assert one.topics[Lane.BULK].committed.get(0, 0) == 0


def test_a_lane_that_cannot_be_read_ends_the_loop(rig: MakeRig) -> None:
    one = rig()
    one.start()
    until(lambda: Lane.BULK in one.consumers and one.consumers[Lane.BULK].assigned)

    def fail() -> None:
        raise KafkaUnavailable("fenced")

    one.consumers[Lane.BULK].calls.append(fail)
    one.wait_for_end()
    assert isinstance(one.error, KafkaUnavailable)


def test_a_new_model_takes_over_between_batches(rig: MakeRig) -> None:
    one = rig()
    one.submit(picture(10), "old.png")
    one.start()
    one.wait_for_labels(1)
    one.predictor = FakePredictor(version=2)
    one.submit(picture(20), "new.png")
    assert {label.name: label.model for label in one.wait_for_labels(2)} == {"old.png": 1, "new.png": 2}


def test_a_reader_that_is_held_up_in_a_call_says_for_how_long(rig: MakeRig) -> None:
    one = rig()
    one.start()
    reader, until_let_go = one.lanes[Lane.BULK], threading.Event()
    until(lambda: Lane.BULK in one.consumers)
    one.consumers[Lane.BULK].calls.append(until_let_go.wait)
    until(lambda: reader.silent_s > 0.3, what="silence of the bulk lane")
    until_let_go.set()
    until(lambda: reader.silent_s < 0.3, what="the bulk lane coming round")
