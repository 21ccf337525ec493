"""What of the figures somebody should act on, in a sentence each with what to do. One function a thing, one list of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from convnet_kafka.diagnosis.top.figures import ClassifierFigures, Figures, LaneFigures, ServerFigures

# A backlog that takes longer than this at the present rate is told.
LONG_DRAIN_S = 60.0
# Images that wait while nothing is done, for so long.
STILL_S = 5.0
# So much of its time a replica works: it is full.
FULL = 0.9
KAFKA_SILENT_S = 10.0
# Fewer a second are single events of the window's begin.
LEAST_RATE = 0.01
OUR_FAULT = ("quarantined", "model-error")


@dataclass(frozen=True, slots=True)
class Hint:
    """Something to act on.

    Attributes:
        what: is so.
        do: about it.
    """

    what: str
    do: str


def hints(seen: Figures) -> list[Hint]:
    """All there are, the most serious first."""
    return [hint for find in HINTS for hint in find(seen)]


def _problems(seen: Figures) -> Iterator[Hint]:
    for problem in seen.problems:
        yield Hint(problem, "'convnet-kafka doctor' looks closer")


def _expired(seen: Figures) -> Iterator[Hint]:
    for lane in seen.lanes:
        if lane.expired:
            yield Hint(f"{lane.expired:,} images of the {lane.lane} lane expired unclassified: accepted, and lost", "start classifiers now")


def _away(seen: Figures) -> Iterator[Hint]:
    for name, why in seen.away:
        yield Hint(f"{name} {why}", "does it run? Look at its log")
    replicas: list[ServerFigures | ClassifierFigures] = [*seen.servers, *seen.classifiers]
    for replica in replicas:
        if not replica.ready:
            yield Hint(f"{replica.name} is not ready: {'; '.join(replica.reasons)}", "that is what it waits for")


def _nobody_works(seen: Figures) -> Iterator[Hint]:
    for lane in seen.lanes:
        still = lane.still_s is not None and lane.still_s >= STILL_S
        if lane.waiting and lane.members == 0:
            yield Hint(
                f"{lane.waiting:,} images wait in the {lane.lane} lane, and no classifier is a member of its group", "start classifiers"
            )
        elif lane.waiting and (still or (lane.done_per_s == 0 and seen.seconds >= STILL_S)):
            yield Hint(
                f"{lane.waiting:,} images wait in the {lane.lane} lane, and none is done",
                "look at the classifiers' logs; 'convnet-kafka doctor'",
            )
        ownerless = [each.partition for each in lane.partitions if not each.owner]
        if lane.members and ownerless and lane.state == "stable":
            yield Hint(
                f"partitions {', '.join(map(str, ownerless[:8]))} of the {lane.lane} lane have no owner",
                "look at the group: 'convnet-kafka doctor'",
            )


def _too_slow(seen: Figures) -> Iterator[Hint]:
    for lane in seen.lanes:
        if _grows(lane) and lane.done_per_s:
            wanted = (lane.in_per_s or 0.0) / lane.done_per_s * max(lane.members or 1, 1)
            most = len(lane.partitions)
            how = f"about {wanted:.0f} classifiers keep up ({lane.members or 0} run)"
            if wanted > most:
                how += f"; the lane has {most} partitions: 'convnet-kafka topics grow --images-partitions {round(wanted)}' first"
            yield Hint(f"the {lane.lane} lane gets {lane.in_per_s:,.0f}/s and {lane.done_per_s:,.0f}/s are done", how)
        elif lane.drain_s is not None and lane.drain_s > LONG_DRAIN_S:
            yield Hint(
                f"{lane.waiting:,} images wait in the {lane.lane} lane, for another {lane.drain_s / 60:,.0f} min at this rate",
                "more classifiers, or wait",
            )
        if lane.idle:
            yield Hint(
                f"{lane.idle} classifiers hold nothing of the {lane.lane} lane: it has {len(lane.partitions)} partitions",
                "'convnet-kafka topics grow', or fewer classifiers",
            )


def _grows(lane: LaneFigures) -> bool:
    """More comes than is done, and it matters: what waits takes longer than a moment."""
    return bool(lane.in_per_s and lane.done_per_s and lane.in_per_s > lane.done_per_s * 1.1 and lane.waiting > 5 * lane.done_per_s)


def _full(seen: Figures) -> Iterator[Hint]:
    full = [replica for replica in seen.classifiers if (replica.busy or 0.0) >= FULL]
    if full and len(full) == len(seen.classifiers) and any(lane.waiting > (lane.done_per_s or 0) for lane in seen.lanes):
        yield Hint("every classifier works all the time", "more classifiers, up to the number of partitions")


def _models(seen: Figures) -> Iterator[Hint]:
    versions = Counter(replica.models["stable"] for replica in seen.classifiers)
    if len(versions) > 1:
        told = ", ".join(f"{count} with {version or 'none'}" for version, count in sorted(versions.items()))
        yield Hint(
            f"classifiers serve several stable versions: {told}",
            "fine for some seconds after a promotion; else one cannot load it, see its log",
        )
    for role in ("stable", "canary", "shadow"):
        refused = [replica.name for replica in seen.classifiers if replica.aliases[role] and replica.models[role] != replica.aliases[role]]
        if refused and role != "stable":
            yield Hint(
                f"the {role} version is out of use in {', '.join(refused[:4])}",
                "it failed or cannot be loaded: see the log, 'convnet-kafka models verify'",
            )


def _failures(seen: Figures) -> Iterator[Hint]:
    if seen.outcomes_per_s.get("unknown", 0.0) > LEAST_RATE:
        yield Hint(
            f"{seen.outcomes_per_s['unknown']:,.1f} images/s are answered 'unknown': Kafka does not acknowledge in time",
            "look at the brokers; senders send them again",
        )
    ours = {reason: rate for reason in OUR_FAULT if (rate := seen.results_per_s.get(reason, 0.0)) > LEAST_RATE}
    if ours:
        told = ", ".join(f"{rate:,.1f}/s {reason}" for reason, rate in ours.items())
        yield Hint(f"images fail for a reason that is ours: {told}", "'convnet-kafka dlq list' names them")
    for server in seen.servers:
        if (server.refused_per_s or 0.0) > LEAST_RATE:
            yield Hint(
                f"{server.name} refuses {server.refused_per_s:,.1f} requests/s (429, 503)",
                "docs/operations.md says which limit that is; its log and answers name it",
            )
        if (server.failed_per_s or 0.0) > LEAST_RATE:
            yield Hint(f"{server.name} answers {server.failed_per_s:,.1f} requests/s with an error of its own", "look at its log")
        if (server.kafka_silent_s or 0.0) > KAFKA_SILENT_S:
            yield Hint(
                f"{server.name} has not heard from Kafka for {min(server.kafka_silent_s or 0.0, 86_400):,.0f} s",
                "'convnet-kafka doctor' there",
            )


HINTS = (_problems, _expired, _away, _nobody_works, _too_slow, _full, _models, _failures)
