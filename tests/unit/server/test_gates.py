"""Who is refused under load, and who never is: limits, time-outs, and what is not known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, Gauge

from convnet_kafka.messages import Lane
from convnet_kafka.server.backlog import LaneBacklog
from convnet_kafka.server.fastlane import UNJUDGED_IMAGES, FastLane
from convnet_kafka.server.overload import BacklogGate, BacklogLimits
from convnet_kafka.server.problems import Problem
from convnet_kafka.settings import ServerSettings

EMPTY = LaneBacklog(waiting=0, rate=None, still_s=0.0, overdue=0, oldest_s=0.0, expired=0, at=0.0)
LIMITS = BacklogLimits({Lane.BULK: 100.0, Lane.FAST: 10.0}, 0)


def refusal(gate: BacklogGate, lane: Lane = Lane.BULK) -> Problem | None:
    try:
        gate.check(lane)
    except Problem as problem:
        return problem
    return None


def gate(found: LaneBacklog | None, limits: BacklogLimits = LIMITS) -> BacklogGate:
    return BacklogGate(limits, lambda _: found)


@pytest.mark.parametrize(
    "found",
    [
        None,
        EMPTY,
        replace(EMPTY, waiting=10**9),
        replace(EMPTY, waiting=10**9, still_s=1000.0),
        replace(EMPTY, waiting=9_999, rate=100.0),
    ],
    ids=["not seen", "empty", "rate not known", "no classifier", "just below"],
)
def test_uploads_are_taken_unless_it_is_known_that_they_must_not_be(found: LaneBacklog | None) -> None:
    assert refusal(gate(found)) is None


def test_a_backlog_that_takes_too_long_is_refused_until_it_does_not() -> None:
    problem = refusal(gate(replace(EMPTY, waiting=15_000, rate=100.0)))
    assert problem is not None
    assert (problem.slug, problem.status, problem.retry_after_s) == ("backlog-too-long", 503, 50)
    assert refusal(gate(replace(EMPTY, waiting=15_000, rate=100.0), BacklogLimits({Lane.BULK: 0, Lane.FAST: 0}, 0))) is None


def test_each_lane_has_its_own_limit() -> None:
    found = replace(EMPTY, waiting=5_000, rate=100.0)
    assert refusal(gate(found)) is None
    assert refusal(gate(found), Lane.FAST) is not None


def test_a_limit_of_images_holds_without_a_rate_too() -> None:
    limits = BacklogLimits({Lane.BULK: 0, Lane.FAST: 0}, 1000)
    assert refusal(gate(replace(EMPTY, waiting=1000), limits)) is None
    problem = refusal(gate(replace(EMPTY, waiting=1001), limits))
    assert problem is not None
    assert (problem.slug, problem.retry_after_s) == ("backlog-too-long", 60)


def test_work_that_is_too_old_is_refused_and_the_caller_told_when_to_come_back() -> None:
    problem = refusal(gate(replace(EMPTY, waiting=10, overdue=10)))
    assert problem is not None
    assert (problem.slug, problem.status, problem.retry_after_s) == ("backlog-too-old", 503, 60)
    problem = refusal(gate(replace(EMPTY, waiting=10**6, overdue=3000, rate=100.0)))
    assert problem is not None
    assert problem.retry_after_s == 30
    problem = refusal(gate(replace(EMPTY, waiting=10**9, overdue=10**9, rate=1.0)))
    assert problem is not None
    assert problem.retry_after_s == 3600


def test_limits_come_from_the_settings() -> None:
    limits = BacklogLimits.of(ServerSettings(bulk_drain_limit_s=7, fast_drain_limit_s=3, max_waiting_images=5))
    assert limits == BacklogLimits({Lane.BULK: 7, Lane.FAST: 3}, 5)


class Line:
    """A fast lane, and what is known of it."""

    def __init__(self, limit: int = 10) -> None:
        self.now = 100.0
        self.found: LaneBacklog | None = EMPTY
        self.lane = FastLane(limit, lambda: self.found, Gauge("calls", "Calls.", registry=CollectorRegistry()), clock=lambda: self.now)

    def refused(self, timeout_s: float = 5.0) -> Problem | None:
        try:
            self.lane.check(timeout_s)
        except Problem as problem:
            return problem
        return None

    def job_refused(self) -> Problem | None:
        try:
            self.lane.check_job()
        except Problem as problem:
            return problem
        return None


def test_the_fast_lane_is_open_when_nothing_speaks_against_it() -> None:
    line = Line()
    assert line.refused() is None
    line.found = None
    assert line.refused() is None
    line.found = replace(EMPTY, waiting=3)
    assert line.refused() is None


def test_a_caller_is_refused_when_more_waits_than_is_done_within_its_time() -> None:
    line = Line()
    line.found = replace(EMPTY, waiting=1000, rate=100.0)
    problem = line.refused(5)
    assert problem is not None
    assert (problem.slug, problem.status, problem.retry_after_s) == ("fast-lane-busy", 503, 5)
    assert line.refused(11) is None


def test_calls_that_came_since_the_last_look_count_too() -> None:
    line = Line()
    line.found = replace(EMPTY, waiting=100, rate=100.0)
    with line.lane.call(range(2000)):
        assert line.refused(5) is not None
    assert line.refused(5) is None


def test_answers_that_come_quickly_prove_the_backlog_wrong() -> None:
    line = Line()
    line.found = replace(EMPTY, waiting=1000, rate=100.0)
    line.lane.answered(0.005, 1)
    assert line.refused(5) is None
    line.now += 10
    assert line.refused(5) is not None


def test_a_caller_is_refused_when_others_wait_and_answers_take_longer_than_its_time() -> None:
    line = Line()
    line.lane.answered(3.0, 1)
    with line.lane.call(range(1)):
        assert line.refused(2) is not None
        assert line.refused(4) is None
        line.now += 10  # what was long ago says nothing
        assert line.refused(2) is None
    line.lane.answered(3.0, 1)
    assert line.refused(2) is None  # nobody is in line any more: somebody has to try


def test_a_lane_in_which_nothing_moves_is_refused_at_once_and_taken_when_it_moves_again() -> None:
    line = Line()
    line.found = replace(EMPTY, waiting=1, still_s=4.0)
    assert line.refused(0.1) is None
    line.found = replace(EMPTY, waiting=1, still_s=6.0)
    problem = line.refused(5)
    assert problem is not None
    assert "classifier" in str(problem)
    assert line.refused(7) is None  # it may come in that time
    line.found = EMPTY
    assert line.refused(5) is None


def test_a_lane_that_answers_stands_not_still_whatever_is_committed() -> None:
    line = Line()
    line.found = replace(EMPTY, waiting=1, still_s=60.0)
    line.lane.answered(0.01, 1)
    assert line.refused(5) is None
    line.lane.answered(5.0, 0)
    line.now += 6
    assert line.refused(5) is not None


def test_a_caller_that_waits_for_nothing_is_not_refused_for_time() -> None:
    line = Line()
    line.found = replace(EMPTY, waiting=1000, rate=1.0, still_s=100.0)
    assert line.refused(0) is None


def test_calls_in_progress_are_bounded() -> None:
    line = Line(limit=1)
    with line.lane.call([]):
        assert line.refused(0) is not None
        with pytest.raises(Problem), line.lane.call([]):
            pass
    assert line.refused() is None


def test_a_job_may_send_some_images_while_nobody_knows_how_fast_they_are_done() -> None:
    line = Line()
    line.found = replace(EMPTY, at=100.0)
    for _ in range(UNJUDGED_IMAGES // 100):
        assert line.job_refused() is None
        line.lane.job_sent(100)
    problem = line.job_refused()
    assert problem is not None
    assert (problem.slug, problem.status) == ("fast-lane-busy", 503)
    line.now += 2
    line.found = replace(EMPTY, at=102.0)  # looked at again: all are done
    assert line.job_refused() is None
    line.found = None
    assert line.job_refused() is None


def test_a_job_is_held_back_when_its_images_would_wait_for_more_than_a_moment() -> None:
    line = Line()
    line.found = replace(EMPTY, waiting=90, rate=100.0, at=100.0)
    assert line.job_refused() is None
    line.lane.job_sent(60)
    problem = line.job_refused()
    assert problem is not None
    assert problem.retry_after_s == pytest.approx(0.5)
    line.now += 0.6  # so much was done meanwhile
    assert line.job_refused() is None


def test_a_job_is_not_taken_where_nothing_moves() -> None:
    line = Line()
    line.found = replace(EMPTY, waiting=1, still_s=6.0, at=100.0)
    problem = line.job_refused()
    assert problem is not None
    assert "classifier" in str(problem)
