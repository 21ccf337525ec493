"""AcknowledgedProducer on a real Kafka: every record of a delivery is acknowledged or told as failed, once, whatever the broker does."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from convnet_kafka.kafka.connection import producer_options
from convnet_kafka.kafka.producer import AcknowledgedProducer, Delivery, QueueFull
from convnet_kafka.local.broker import LocalBroker
from support.topics import kafka_settings, make_topic
from support.waiting import until

MIB = 1024 * 1024


def producer(bootstrap_servers: str, *, own_thread: bool = True, timeout_s: float = 15.0, **other: object) -> AcknowledgedProducer:
    options = producer_options(
        kafka_settings(bootstrap_servers), "test", linger_ms=1, share=0.5, max_record_bytes=2 * MIB, delivery_timeout_s=timeout_s
    )
    made = AcknowledgedProducer(options | other, "test", own_thread=own_thread)
    made.start()
    return made


def sent(sender: AcknowledgedProducer, topic: str, values: list[bytes]) -> tuple[Delivery, threading.Event, list[int]]:
    done, calls = threading.Event(), []
    delivery = sender.delivery(lambda: (calls.append(1), done.set())[0])
    for number, value in enumerate(values):
        delivery.send(topic, value, [("number", b"%d" % number)], tag=number)
    delivery.seal()
    return delivery, done, calls


def test_a_delivery_is_done_once_when_all_is_acknowledged(broker: LocalBroker) -> None:
    topic = make_topic(broker.bootstrap_servers)
    sender = producer(broker.bootstrap_servers)
    delivery, done, calls = sent(sender, topic, [b"x"] * 500)
    assert done.wait(20)
    assert (delivery.failures, delivery.pending, calls) == ([], 0, [1])
    assert sender.close(1) == 0


def test_a_delivery_without_records_is_done_at_once(broker: LocalBroker) -> None:
    sender = producer(broker.bootstrap_servers)
    _, done, calls = sent(sender, "none", [])
    assert done.is_set()
    assert calls == [1]
    sender.close(1)


def test_an_owner_that_polls_needs_no_thread(broker: LocalBroker) -> None:
    topic = make_topic(broker.bootstrap_servers)
    before = threading.active_count()
    sender = producer(broker.bootstrap_servers, own_thread=False)
    assert threading.active_count() == before
    delivery, done, _ = sent(sender, topic, [b"x"] * 10)
    until(lambda: sender.poll(0.1) or done.is_set())
    assert delivery.failures == []
    sender.close(1)


def test_a_record_too_large_is_refused_and_harms_no_other(broker: LocalBroker) -> None:
    topic = make_topic(broker.bootstrap_servers, max_message_bytes="10000")
    sender = producer(broker.bootstrap_servers)
    delivery, done, _ = sent(sender, topic, [b"small", b"x" * (3 * MIB), b"small too"])
    assert done.wait(20)
    assert [(failure.tag, failure.maybe_stored) for failure in delivery.failures] == [(1, False)]
    sender.close(1)


def test_a_record_too_large_for_its_topic_is_refused_by_the_broker(broker: LocalBroker) -> None:
    topic = make_topic(broker.bootstrap_servers, max_message_bytes="10000")
    sender = producer(broker.bootstrap_servers)
    delivery, done, _ = sent(sender, topic, [b"x" * 20_000])
    assert done.wait(20)
    assert [(failure.tag, failure.maybe_stored) for failure in delivery.failures] == [(0, False)]
    delivery, done, _ = sent(sender, topic, [b"small"])
    assert done.wait(20)
    assert delivery.failures == []
    sender.close(1)


def test_a_full_queue_is_said_and_nothing_is_lost(broker: LocalBroker) -> None:
    topic = make_topic(broker.bootstrap_servers)
    sender = producer(broker.bootstrap_servers, **{"queue.buffering.max.messages": 10, "linger.ms": 300})
    done = threading.Event()
    delivery = sender.delivery(done.set)
    for _ in range(10):
        delivery.send(topic, b"x", [])
    with pytest.raises(QueueFull):
        delivery.send(topic, b"x", [])
    delivery.seal()
    assert done.wait(20)
    assert (delivery.sent, delivery.failures) == (10, [])
    sender.close(1)


def test_a_missing_topic_is_a_failure_that_may_be_tried_again(broker: LocalBroker) -> None:
    sender = producer(broker.bootstrap_servers, timeout_s=5, **{"topic.metadata.propagation.max.ms": 500})
    delivery, done, _ = sent(sender, "no-such-topic", [b"x"])
    assert done.wait(20)
    assert [failure.maybe_stored for failure in delivery.failures] == [True]
    sender.close(1)


def test_what_is_sent_while_the_broker_is_dead_is_acknowledged_when_it_is_back(make_broker: Callable[..., LocalBroker]) -> None:
    mortal = make_broker()
    mortal.start()
    topic = make_topic(mortal.bootstrap_servers)
    sender = producer(mortal.bootstrap_servers, timeout_s=60)
    _, done, _ = sent(sender, topic, [b"before"])
    assert done.wait(20)
    mortal.kill()
    delivery, done, calls = sent(sender, topic, [b"%d" % number for number in range(100)])
    mortal.restart()
    assert done.wait(60)
    assert (delivery.failures, calls) == ([], [1])
    assert sender.close(5) == 0


def test_what_a_dead_broker_never_acknowledges_fails_as_maybe_stored(make_broker: Callable[..., LocalBroker]) -> None:
    mortal = make_broker()
    mortal.start()
    topic = make_topic(mortal.bootstrap_servers)
    sender = producer(mortal.bootstrap_servers, timeout_s=1)
    _, done, _ = sent(sender, topic, [b"before"])
    assert done.wait(20)
    mortal.kill()
    delivery, done, calls = sent(sender, topic, [b"1", b"2"])
    assert done.wait(20)
    assert sorted((failure.tag, failure.maybe_stored) for failure in delivery.failures) == [(0, True), (1, True)]
    assert calls == [1]
    sender.close(0)
