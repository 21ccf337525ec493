"""What a server makes of the positions it sees: how fast a lane is drained, how old its oldest image is, and what nobody knows."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field

import pytest

from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.kafka.positions import Position
from convnet_kafka.messages import Lane, now_ms
from convnet_kafka.server.backlog import BacklogWatch, DrainRate, LaneWatch
from support.waiting import until


@dataclass
class Clock:
    """Seconds that pass when told."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Log:
    """One partition whose records have an age each: `positions.GroupPositions` in memory."""

    ages_s: list[float] = field(default_factory=list)
    start: int = 0
    committed: int | None = None
    away: bool = False
    closed: bool = False
    asked: int = 0

    def look(self) -> dict[int, Position]:
        if self.away:
            raise KafkaUnavailable("away")
        return {0: Position(self.start, len(self.ages_s), self.committed)}

    def first_since(self, partitions: Collection[int], at_ms: int) -> dict[int, int | None]:
        self.asked += 1
        now = now_ms()
        young = [offset for offset, age in enumerate(self.ages_s) if offset >= self.start and now - age * 1000 >= at_ms]
        return dict.fromkeys(partitions, young[0] if young else None)

    def close(self) -> None:
        self.closed = True


def observe(rate: DrainRate, looks: list[tuple[int, int]], start_s: float = 0.0) -> None:
    """Looks every 2 s: (images done since ever, images that wait)."""
    for number, (done, waiting) in enumerate(looks):
        rate.observe(start_s + 2.0 * number, done, waiting)


def test_the_rate_is_that_of_the_time_in_which_work_waited() -> None:
    rate = DrainRate()
    observe(rate, [(0, 100_000), (1000, 99_000), (3000, 97_000)])
    assert rate.rate == 750


def test_nothing_is_known_after_a_single_look_or_without_progress() -> None:
    rate = DrainRate()
    observe(rate, [(0, 1000), (100, 900)])
    assert rate.rate is None
    still = DrainRate()
    observe(still, [(0, 1000)] * 8)
    assert still.rate is None
    assert still.still_s == 14


def test_an_idle_lane_says_nothing_of_how_fast_it_could_be() -> None:
    """One image a second comes and is done at once; a look finds one or two in flight. Then a hundred thousand come."""
    rate = DrainRate()
    observe(rate, [(2 * number, 1) for number in range(20)])
    assert rate.rate is None
    observe(rate, [(40, 100_000)], start_s=40)
    assert rate.rate is None


def test_classifiers_that_are_gone_have_no_rate_and_those_that_come_back_are_judged_by_what_they_do_now() -> None:
    rate = DrainRate()
    observe(rate, [(number * 2000, 90_000 - number * 2000) for number in range(5)])
    assert rate.rate == 1000
    observe(rate, [(8000, 82_000)] * 6, start_s=10)
    assert rate.rate is None
    assert rate.still_s > 8
    observe(rate, [(9000, 81_000), (11_000, 79_000), (13_000, 77_000)], start_s=22)
    assert rate.still_s == 0
    assert rate.rate == pytest.approx(1000, rel=0.25)


def test_a_rate_that_is_old_is_forgotten_and_one_of_another_topic_too() -> None:
    rate = DrainRate()
    observe(rate, [(0, 9000), (100, 8900), (200, 8800)])
    assert rate.rate is not None
    rate.observe(100.0, 9000, 0)
    assert rate.rate is None
    observe(rate, [(0, 9000), (100, 8900), (200, 8800)], start_s=102)
    assert rate.rate is not None
    rate.observe(110.0, 5, 8000)
    assert rate.rate is None


def test_time_to_drain_is_what_waits_by_the_rate() -> None:
    clock, log = Clock(), Log([0.0] * 10_000, committed=0)
    watch = LaneWatch(Lane.BULK, log, overdue_s=None, longest_s=1000, clock=clock)
    assert watch.look().drain_s is None
    for number in (1, 2):
        clock.now, log.committed = 2.0 * number, 1000 * number
        found = watch.look()
    assert (found.waiting, found.rate, found.drain_s) == (8000, 500, 16)
    log.committed = 10_000
    assert watch.look().drain_s == 0


def test_images_that_wait_for_too_long_are_counted_and_what_is_done_is_not() -> None:
    log = Log([500.0] * 5 + [100.0] * 5, committed=2)
    watch = LaneWatch(Lane.BULK, log, overdue_s=300, longest_s=600)
    assert watch.look().overdue == 3
    log.committed = 5
    assert watch.look().overdue == 0
    log.committed = None
    assert watch.look().overdue == 5
    assert LaneWatch(Lane.BULK, log, overdue_s=None, longest_s=600).look().overdue == 0


@pytest.mark.parametrize("age_s", [10.0, 3000.0, 500_000.0])
def test_the_age_of_the_oldest_is_found_in_a_few_questions(age_s: float) -> None:
    log = Log([age_s] + [1.0] * 10)
    found = LaneWatch(Lane.BULK, log, overdue_s=None, longest_s=604_800).look()
    assert found.oldest_s == pytest.approx(age_s, rel=0.15)
    assert found.oldest_s <= age_s + 1
    assert log.asked <= 9


def test_young_work_costs_one_question_and_no_work_none() -> None:
    log = Log([0.5] * 10)
    watch = LaneWatch(Lane.BULK, log, overdue_s=None, longest_s=604_800)
    assert watch.look().oldest_s == 0
    assert log.asked == 1
    log.committed = 10
    assert watch.look().oldest_s == 0
    assert log.asked == 1


def test_what_expired_before_it_was_done_is_counted_and_is_not_progress() -> None:
    clock, log = Clock(), Log([1.0] * 1000, committed=100)
    watch = LaneWatch(Lane.BULK, log, overdue_s=None, longest_s=600, clock=clock)
    watch.look()
    clock.now, log.start = 20.0, 400
    found = watch.look()
    assert (found.expired, found.waiting, found.still_s) == (300, 600, 20)


def test_the_watch_goes_on_after_kafka_was_away_and_lets_it_go_at_its_end() -> None:
    log = Log([1.0] * 3, away=True)
    watch = BacklogWatch({Lane.BULK: LaneWatch(Lane.BULK, log, overdue_s=None, longest_s=600)}, 0.01)
    assert watch.lane(Lane.BULK) is None
    watch.start()
    assert watch.silent_s(Lane.BULK) == float("inf")
    log.away = False
    until(lambda: watch.lane(Lane.BULK) is not None)
    found = watch.lane(Lane.BULK)
    assert found is not None
    assert found.waiting == 3
    assert watch.lane(Lane.FAST) is None
    assert found.at <= time.monotonic()
    watch.close(5)
    assert log.closed


def test_partitions_are_told_only_while_looks_succeed() -> None:
    log = Log()
    watch = BacklogWatch({Lane.BULK: LaneWatch(Lane.BULK, log, overdue_s=None, longest_s=600)}, 0.05)
    assert watch.partitions(Lane.BULK) == ()
    watch.start()
    until(lambda: watch.partitions(Lane.BULK) == (0,), what="a look")
    log.away = True  # as when a partition has lost its leader
    until(lambda: watch.partitions(Lane.BULK) == (), what="the last look being too old")
    watch.close(5)
