"""The partitioner takes turns: as many records for each, far apart, and only among partitions that are there."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from convnet_kafka.kafka.partitioner import PRODUCER_CHOOSES, BalancedPartitioner

HOLD_S = 0.02
SIZE = 500


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def given_to(partitioner: BalancedPartitioner) -> int:
    """The partition of one record that is sent."""
    return partitioner.take(SIZE)


def turns(count: int, partitions: list[int]) -> list[int]:
    clock = Clock()
    partitioner = BalancedPartitioner(lambda: partitions, HOLD_S, clock=clock)
    found = []
    for _ in range(count):
        found.append(given_to(partitioner))
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
    partitioner = BalancedPartitioner(lambda: [0, 1, 2], HOLD_S, clock=clock)
    first = given_to(partitioner)
    clock.now += HOLD_S * 0.9
    assert given_to(partitioner) == first
    clock.now += HOLD_S * 0.2
    assert given_to(partitioner) != first


def test_a_turn_ends_when_a_request_is_full() -> None:
    partitioner = BalancedPartitioner(lambda: [0, 1, 2], HOLD_S, hold_bytes=10 * SIZE, clock=Clock())
    found = [given_to(partitioner) for _ in range(30)]
    assert [len(set(found[start : start + 10])) for start in (0, 10, 20)] == [1, 1, 1]
    assert set(found) == {0, 1, 2}


def test_turns_of_unequal_bursts_give_each_partition_as_many_records() -> None:
    clock, given = Clock(), Counter[int]()
    partitioner = BalancedPartitioner(lambda: list(range(12)), HOLD_S, clock=clock)
    bursts = random.Random(4)
    largest = 0
    for _ in range(120):
        burst = bursts.choice([1, 5, 40])
        largest = max(largest, burst)
        given.update(given_to(partitioner) for _ in range(burst))
        clock.now += HOLD_S
    assert max(given.values()) - min(given.values()) <= largest


def test_a_partition_that_was_added_is_not_given_all_until_it_has_caught_up() -> None:
    clock, known = Clock(), [0, 1]
    partitioner = BalancedPartitioner(lambda: known, HOLD_S, clock=clock)
    for _ in range(1000):
        given_to(partitioner)
        clock.now += HOLD_S
    known.append(2)
    found = []
    for _ in range(6):
        clock.now += HOLD_S
        found.append(given_to(partitioner))
    assert Counter(found) == {0: 2, 1: 2, 2: 2}


def test_partitions_that_nobody_knows_are_the_producers_choice_until_they_are_known() -> None:
    clock, known = Clock(), list[int]()
    partitioner = BalancedPartitioner(lambda: known, HOLD_S, clock=clock)
    assert given_to(partitioner) == PRODUCER_CHOOSES
    known.append(7)
    clock.now += HOLD_S
    assert given_to(partitioner) == 7
    known.clear()
    clock.now += HOLD_S
    assert given_to(partitioner) == PRODUCER_CHOOSES


def test_partitions_that_were_added_take_part() -> None:
    clock, known = Clock(), [0, 1]
    partitioner = BalancedPartitioner(lambda: known, HOLD_S, clock=clock)
    given_to(partitioner)
    known.extend([2, 3, 4])
    found = set()
    for _ in range(5):
        clock.now += HOLD_S
        found.add(given_to(partitioner))
    assert found == {0, 1, 2, 3, 4}


def test_a_record_that_could_not_be_sent_counts_for_no_partition() -> None:
    clock = Clock()
    partitioner = BalancedPartitioner(lambda: [0, 1], HOLD_S, hold_bytes=10 * SIZE, clock=clock)
    first = given_to(partitioner)
    for _ in range(50):  # the producer has no room: tried again and again within a turn
        assert partitioner.take(SIZE) == first
        partitioner.give_back(SIZE)
    found = Counter({first: 1})
    for _ in range(9):
        clock.now += HOLD_S
        found[given_to(partitioner)] += 1
    assert found == {0: 5, 1: 5}


def test_a_record_that_could_not_be_sent_leaves_the_count_as_it_was_to_the_digit() -> None:
    partitioner = BalancedPartitioner(lambda: [0, 1], HOLD_S)
    partitioner.take(SIZE)
    partitioner._given = given = 1 / 3  # as a half-life leaves it
    partitioner.take(SIZE)
    partitioner.give_back(SIZE)
    assert partitioner._given == given


def test_what_was_given_long_ago_is_forgotten() -> None:
    clock = Clock()
    partitioner = BalancedPartitioner(lambda: [0, 1, 2], HOLD_S, clock=clock)
    for _ in range(2):
        for _ in range(100):
            given_to(partitioner)
        clock.now += HOLD_S
    clock.now += 60.0
    found = []
    for _ in range(9):
        found.append(given_to(partitioner))
        clock.now += HOLD_S
    assert Counter(found) == {0: 3, 1: 3, 2: 3}


def test_one_that_came_off_badly_a_moment_ago_catches_up() -> None:
    clock = Clock()
    partitioner = BalancedPartitioner(lambda: [0, 1, 2], HOLD_S, clock=clock)
    bursts = set()
    for _ in range(2):
        bursts.update(given_to(partitioner) for _ in range(100))
        clock.now += HOLD_S
    found = []
    for _ in range(9):
        found.append(given_to(partitioner))
        clock.now += HOLD_S
    assert set(found).isdisjoint(bursts)
