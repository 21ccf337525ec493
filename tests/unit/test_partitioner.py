"""The partitioner takes turns: evenly, far apart, and only among partitions that are there."""

from __future__ import annotations

from collections import Counter

import pytest

from convnet_kafka.kafka.partitioner import PRODUCER_CHOOSES, RoundRobinPartitioner

HOLD_S = 0.02


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def turns(count: int, partitions: list[int]) -> list[int]:
    clock = Clock()
    partitioner = RoundRobinPartitioner(lambda: partitions, HOLD_S, clock)
    found = []
    for _ in range(count):
        found.append(partitioner())
        clock.now += HOLD_S
    return found


@pytest.mark.parametrize("partitions", [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 48, 100])
def test_each_partition_has_one_turn_in_a_round(partitions: int) -> None:
    assert Counter(turns(3 * partitions, list(range(partitions)))) == dict.fromkeys(range(partitions), 3)


@pytest.mark.parametrize("owners", [2, 3, 4])
def test_a_few_turns_meet_every_owner_of_neighbouring_partitions(owners: int) -> None:
    found = turns(24, list(range(12)))
    share = 12 // owners
    for start in range(12):
        assert {partition // share for partition in found[start : start + owners + 2]} == set(range(owners))


def test_a_turn_lasts_as_long_as_records_wait_for_company() -> None:
    clock = Clock()
    partitioner = RoundRobinPartitioner(lambda: [0, 1, 2], HOLD_S, clock)
    first = partitioner()
    clock.now += HOLD_S * 0.9
    assert partitioner() == first
    clock.now += HOLD_S * 0.2
    assert partitioner() != first


def test_partitions_that_nobody_knows_are_the_producers_choice_until_they_are_known() -> None:
    clock, known = Clock(), list[int]()
    partitioner = RoundRobinPartitioner(lambda: known, HOLD_S, clock)
    assert partitioner() == PRODUCER_CHOOSES
    known.append(7)
    clock.now += HOLD_S
    assert partitioner() == 7
    known.clear()
    clock.now += HOLD_S
    assert partitioner() == PRODUCER_CHOOSES


def test_partitions_that_were_added_take_part() -> None:
    clock, known = Clock(), [0, 1]
    partitioner = RoundRobinPartitioner(lambda: known, HOLD_S, clock)
    partitioner()
    known.extend([2, 3, 4])
    found = set()
    for _ in range(5):
        clock.now += HOLD_S
        found.add(partitioner())
    assert found == {0, 1, 2, 3, 4}
