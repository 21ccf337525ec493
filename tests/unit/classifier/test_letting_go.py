"""A classifier lets go: at its end, and of partitions that are taken away, what was begun is finished or read again, never skipped."""

from __future__ import annotations

from collections.abc import Callable

from convnet_kafka.messages import Lane
from support.classifier_rig import Rig, picture
from support.waiting import until

MakeRig = Callable[..., Rig]


def test_at_the_end_what_was_begun_is_finished_committed_and_the_groups_are_left(rig: MakeRig) -> None:
    one = rig()
    producer = one.producers[Lane.BULK]
    producer.silent = True
    for number in range(30):
        one.submit(picture(10), f"{number}.png")
    one.start()
    until(lambda: producer.results_waiting == 30)
    one.stop.set()
    producer.silent = False
    one.wait_for_end()
    assert one.finished
    assert one.topics[Lane.BULK].committed == {0: 30}
    assert all(consumer.closed.is_set() for consumer in one.consumers.values())


def test_the_end_comes_in_time_though_kafka_acknowledges_nothing(rig: MakeRig) -> None:
    one = rig(drain_timeout_s=0.1)
    producer = one.producers[Lane.BULK]
    producer.silent = True
    one.submit(picture(10))
    one.start()
    until(lambda: producer.waiting)
    one.end()
    assert one.finished is False
    assert one.topics[Lane.BULK].committed.get(0, 0) == 0


def test_the_end_comes_in_time_though_the_producers_queue_is_full(rig: MakeRig) -> None:
    one = rig(drain_timeout_s=0.1)
    producer = one.producers[Lane.BULK]
    producer.silent, producer.capacity = True, 0
    one.submit(picture(10))
    one.start()
    until(lambda: one.predictor.batches)
    one.end()
    assert one.finished is False
    assert one.topics[Lane.BULK].committed.get(0, 0) == 0


def test_partitions_that_are_taken_away_are_finished_and_committed_first(rig: MakeRig) -> None:
    one = rig(partitions=2)
    producer = one.producers[Lane.BULK]
    producer.silent = True
    one.submit(picture(10), partition=0)
    one.submit(picture(20), partition=1)
    one.start()
    until(lambda: producer.results_waiting == 2)
    consumer = one.consumers[Lane.BULK]
    consumer.calls.append(lambda: consumer.revoke(frozenset({0})))
    producer.silent = False
    until(lambda: consumer.assigned == {1})
    assert one.topics[Lane.BULK].committed[0] == 1


def test_what_is_in_flight_of_a_partition_that_does_not_finish_in_time_is_never_committed(rig: MakeRig) -> None:
    one = rig(revoke_timeout_s=0.05)
    producer = one.producers[Lane.BULK]
    producer.silent = True
    one.submit(picture(10))
    one.start()
    until(lambda: producer.waiting)
    consumer = one.consumers[Lane.BULK]
    consumer.calls.append(lambda: consumer.revoke(frozenset({0})))
    until(lambda: consumer.assigned == frozenset())
    producer.silent = False
    until(lambda: not producer.waiting)
    one.end()
    assert one.topics[Lane.BULK].committed.get(0, 0) == 0


def test_a_partition_that_was_lost_and_came_back_is_read_again_and_never_skipped(rig: MakeRig) -> None:
    """What was in flight under the old claim must not be committed under the new one."""
    one = rig()
    producer = one.producers[Lane.BULK]
    producer.silent = True
    one.submit(picture(10), "a.png")
    one.start()
    until(lambda: len(producer.waiting) == 1)
    consumer = one.consumers[Lane.BULK]

    def lose_and_return() -> None:
        consumer.lose(frozenset({0}))
        consumer.assign(frozenset({0}))

    consumer.calls.append(lose_and_return)
    until(lambda: len(producer.waiting) == 2)
    producer.silent = False
    one.wait_for_commit(1)
    assert [label.name for label in one.labels] == ["a.png", "a.png"]
