"""Images far larger than those before them are read together, since nobody knew, but begun in small batches."""

from __future__ import annotations

from collections.abc import Callable

from convnet_kafka.messages import Lane
from support.classifier_rig import Rig, picture
from support.waiting import until

MakeRig = Callable[..., Rig]

SMALL, LARGE = 10, 20
# The rig reads eight at a time; the third read is handed out when the first is measured.
READ = 8


def submit(one: Rig) -> None:
    for number in range(2 * READ):
        one.submit(picture(SMALL), f"small-{number}.png")
    for number in range(READ):
        one.submit(picture(LARGE) + bytes(100_000), f"large-{number}.png")


def large_batches(one: Rig, then: Callable[[], None] = lambda: None) -> list[int]:
    """Fills with the sizes of batches of large images; does something in the first."""
    found = list[int]()

    def predicting(shades: list[int]) -> None:
        if LARGE in shades:
            found.append(len(shades))
            if len(found) == 1:
                then()

    one.predictor.on_predict = predicting
    return found


def test_they_are_begun_in_small_batches_and_committed_in_order(rig: MakeRig) -> None:
    one = rig()
    found = large_batches(one)
    submit(one)
    one.start()
    one.wait_for_commit(3 * READ)
    assert found[0] == 1
    assert sum(found) == READ
    assert [label.name for label in one.labels] == [f"small-{number}.png" for number in range(2 * READ)] + [
        f"large-{number}.png" for number in range(READ)
    ]


def test_at_the_end_those_that_were_not_begun_are_left_to_others(rig: MakeRig) -> None:
    one = rig()

    def stop() -> None:
        one.stop.set()
        one.lanes[Lane.BULK].stop_reading()

    large_batches(one, then=stop)
    submit(one)
    one.start()
    one.wait_for_end()
    assert one.finished
    left = 3 * READ - len(one.labels)
    assert left >= READ - 2  # one in hand, and one that was offered
    assert one.topics[Lane.BULK].committed == {0: 3 * READ - left}


def test_those_that_wait_while_their_partition_goes_and_comes_back_are_begun_once(rig: MakeRig) -> None:
    one = rig()

    def lose_and_return() -> None:
        consumer = one.consumers[Lane.BULK]
        consumer.calls += [lambda: consumer.lose(frozenset({0})), lambda: consumer.assign(frozenset({0}))]
        until(lambda: not consumer.calls)

    large_batches(one, then=lose_and_return)
    submit(one)
    one.start()
    one.wait_for_commit(3 * READ)
    names = [label.name for label in one.labels]
    assert len(set(names)) == 3 * READ
    assert all(names.count(f"large-{number}.png") == 1 for number in range(2, READ))
