"""What two readings add up to: rates, waits, who holds what. Plain values, which `--json` gives as they are.

Rates come from the replicas' counters where replicas are known, else from Kafka's offsets, which everybody who may read the topics sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from convnet_kafka.diagnosis.groups import Member
from convnet_kafka.diagnosis.top.collect import CLASSIFIER, SERVER
from convnet_kafka.diagnosis.top.reading import LaneReading, Reading, ReplicaReading
from convnet_kafka.diagnosis.top.samples import Samples, added, mean, quantile
from convnet_kafka.messages import Lane

# Of images, from the moment a server accepted them until Kafka had their result.
LATENCY = "convnet_classifier_end_to_end_seconds"
QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
LABELLED = "labelled"
ROLES = ("stable", "canary", "shadow")


@dataclass(frozen=True, slots=True)
class PartitionFigures:
    """One partition of a lane.

    Attributes:
        partition: its number.
        waiting: records that wait in it.
        owner: the member that holds it; empty when nobody does, or nobody may be seen.
    """

    partition: int
    waiting: int
    owner: str


@dataclass(frozen=True, slots=True)
class LaneFigures:
    """One lane.

    Attributes:
        lane: which.
        in_per_s: records written to its topic; None without a second reading.
        done_per_s: records that the group has done.
        waiting: records that wait.
        expired: records that retention removed undone.
        drain_s: seconds until nothing waits at this rate; None when nobody knows.
        oldest_s: seconds that the oldest has waited, as servers see it; None when no server tells.
        still_s: seconds for which work has waited and none was done, as servers see it.
        latency_s: from accepted to labelled, by `p50`, `p95`, `p99`; None without labels.
        batch_images: mean images of a batch.
        partitions: one by one.
        members: how many members its group has, None when they cannot be seen.
        idle: members that hold nothing.
        state: of the group.
    """

    lane: Lane
    in_per_s: float | None
    done_per_s: float | None
    waiting: int
    expired: int
    drain_s: float | None
    oldest_s: float | None
    still_s: float | None
    latency_s: Mapping[str, float | None]
    batch_images: float | None
    partitions: tuple[PartitionFigures, ...]
    members: int | None
    idle: int
    state: str


@dataclass(frozen=True, slots=True)
class ServerFigures:
    """One server, all its processes together."""

    name: str
    ready: bool
    reasons: tuple[str, ...]
    version: str
    images_per_s: float | None
    bytes_per_s: float | None
    requests_per_s: float | None
    refused_per_s: float | None
    failed_per_s: float | None
    request_p95_s: float | None
    uploads: int
    readers: int
    queue: int
    kafka_silent_s: float | None
    cpu: float | None
    memory_bytes: float


@dataclass(frozen=True, slots=True)
class ClassifierFigures:
    """One classifier. `holds` has its partitions by lane; how many, where Kafka does not say which."""

    name: str
    ready: bool
    reasons: tuple[str, ...]
    version: str
    models: Mapping[str, int]
    aliases: Mapping[str, int]
    holds: Mapping[Lane, tuple[int, ...] | int]
    images_per_s: float | None
    batch_images: float | None
    busy: float | None
    in_flight: int
    cpu: float | None
    memory_bytes: float


@dataclass(frozen=True, slots=True)
class StrangerFigures:
    """A member of the groups whose address for metrics is not known here."""

    name: str
    host: str
    holds: Mapping[Lane, tuple[int, ...] | int]


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that is shown.

    Attributes:
        seconds: between the two readings; 0 when there is only one, and then nothing has a rate.
        brokers: None when Kafka does not answer.
        accepted_per_s: images that servers took; None when no server is known.
        labelled_per_s: images that got a label; None when no classifier is known.
        results_per_s: results by kind: `labelled`, and why not.
        outcomes_per_s: images by what servers answered: accepted, refused, unknown.
        strangers: members of the groups that no known classifier is.
        away: what did not answer: its name, and why.
        dead_letters: in Kafka now; None when they cannot be seen.
        dead_letters_per_s: written.
        agreement: canary and shadow: share of compared images with the same class as stable; empty without any.
    """

    seconds: float
    brokers: int | None
    accepted_per_s: float | None
    labelled_per_s: float | None
    results_per_s: Mapping[str, float]
    outcomes_per_s: Mapping[str, float]
    lanes: tuple[LaneFigures, ...]
    servers: tuple[ServerFigures, ...]
    classifiers: tuple[ClassifierFigures, ...]
    strangers: tuple[StrangerFigures, ...]
    away: tuple[tuple[str, str], ...]
    dead_letters: int | None
    dead_letters_per_s: float | None
    agreement: Mapping[str, float]
    problems: tuple[str, ...]


def figures(before: Reading | None, now: Reading) -> Figures:
    """What is and what happened between two readings."""
    seconds = now.at - before.at if before is not None else 0.0
    gained = _gained(before, now)
    servers = [replica for replica in now.replicas if replica.role == SERVER]
    classifiers = [replica for replica in now.replicas if replica.role == CLASSIFIER]
    by_role = {
        role: added(gained[replica.endpoint.url] for replica in them if replica.endpoint.url in gained)
        for role, them in ((SERVER, servers), (CLASSIFIER, classifiers))
    }
    results = _rates(by_role[CLASSIFIER].by("convnet_classifier_images_total", "result"), seconds)
    outcomes = _rates(by_role[SERVER].by("convnet_server_images_total", "outcome"), seconds)
    kafka, earlier = now.kafka, before.kafka if before is not None else None
    lanes = [
        _lane(lane, reading, earlier.lanes.get(lane) if earlier is not None else None, seconds, servers, by_role[CLASSIFIER])
        for lane, reading in (kafka.lanes.items() if kafka is not None else ())
    ]
    owners = _members(now)
    return Figures(
        seconds=seconds,
        brokers=kafka.brokers if kafka is not None else None,
        accepted_per_s=outcomes.get("accepted", 0.0) if servers and seconds else None,
        labelled_per_s=results.get(LABELLED, 0.0) if classifiers and seconds else None,
        results_per_s=results,
        outcomes_per_s=outcomes,
        lanes=tuple(lanes),
        servers=tuple(_server(replica, gained.get(replica.endpoint.url), seconds) for replica in servers),
        classifiers=tuple(_classifier(replica, gained.get(replica.endpoint.url), seconds, owners) for replica in classifiers),
        strangers=_strangers(owners, {replica.replica for replica in classifiers}),
        away=tuple((str(replica.endpoint), "; ".join(replica.reasons)) for replica in now.replicas if not replica.role),
        dead_letters=kafka.dead_letters if kafka is not None else None,
        dead_letters_per_s=(kafka.dead_letters_ever - earlier.dead_letters_ever) / seconds if kafka and earlier and seconds else None,
        agreement=_agreement(classifiers),
        problems=now.problems,
    )


def _gained(before: Reading | None, now: Reading) -> dict[str, Samples]:
    """What each replica's counters have gained; a replica that is new has no rate yet."""
    old = {replica.endpoint.url: replica.samples for replica in before.replicas} if before is not None else {}
    return {
        replica.endpoint.url: replica.samples.since(old[replica.endpoint.url])
        for replica in now.replicas
        if replica.samples.values and old.get(replica.endpoint.url, Samples()).values
    }


def _rates(counts: Mapping[str, float], seconds: float) -> dict[str, float]:
    return {name: count / seconds for name, count in counts.items()} if seconds else {}


def _lane(
    lane: Lane, reading: LaneReading, before: LaneReading | None, seconds: float, servers: list[ReplicaReading], gained: Samples
) -> LaneFigures:
    waiting = sum(position.waiting for position in reading.positions.values())
    came = done = None
    if before is not None and seconds:
        came = sum(position.end for position in reading.positions.values()) - sum(position.end for position in before.positions.values())
        done = sum(position.committed or 0 for position in reading.positions.values()) - sum(
            position.committed or 0 for position in before.positions.values()
        )
    done_per_s = max(0.0, done / seconds) if done is not None else None
    members = reading.group.members if reading.group is not None else ()
    owner = {partition: member.client for member in members for partition in member.partitions}
    told = [replica.samples for replica in servers]
    return LaneFigures(
        lane=lane,
        in_per_s=max(0.0, came / seconds) if came is not None else None,
        done_per_s=done_per_s,
        waiting=waiting,
        expired=sum(position.expired for position in reading.positions.values() if position.committed is not None),
        drain_s=0.0 if not waiting else waiting / done_per_s if done_per_s else None,
        oldest_s=_highest(told, "convnet_server_backlog_oldest_seconds", lane),
        still_s=_highest(told, "convnet_server_backlog_still_seconds", lane),
        latency_s={name: quantile(gained, LATENCY, part, lane=lane.value) for name, part in QUANTILES},
        batch_images=mean(gained, "convnet_classifier_batch_images", lane=lane.value),
        partitions=tuple(
            PartitionFigures(partition, position.waiting, owner.get(partition, ""))
            for partition, position in sorted(reading.positions.items())
        ),
        members=len(members) if reading.group is not None else None,
        idle=sum(not member.partitions for member in members),
        state=reading.group.state if reading.group is not None else "",
    )


def _highest(samples: list[Samples], name: str, lane: Lane) -> float | None:
    return max((found for each in samples if (found := each.highest(name, lane=lane.value)) is not None), default=None)


def _members(now: Reading) -> dict[Lane, tuple[Member, ...]]:
    lanes = now.kafka.lanes if now.kafka is not None else {}
    return {lane: reading.group.members for lane, reading in lanes.items() if reading.group is not None}


def _server(replica: ReplicaReading, gained: Samples | None, seconds: float) -> ServerFigures:
    samples = replica.samples

    def rate(name: str, **labels: str) -> float | None:
        return gained.total(name, **labels) / seconds if gained is not None and seconds else None

    requests = gained.by("convnet_server_requests_total", "status") if gained is not None else {}
    return ServerFigures(
        name=str(replica.endpoint),
        ready=replica.ready,
        reasons=replica.reasons,
        version=_version(samples),
        images_per_s=rate("convnet_server_images_total", outcome="accepted"),
        bytes_per_s=rate("convnet_server_upload_bytes_total"),
        requests_per_s=rate("convnet_server_requests_total"),
        refused_per_s=_of_statuses(requests, ("429", "503"), seconds, gained),
        failed_per_s=_of_statuses(requests, ("500", "502", "504"), seconds, gained),
        request_p95_s=quantile(gained, "convnet_server_request_seconds", 0.95) if gained is not None else None,
        uploads=int(samples.total("convnet_server_uploads")),
        readers=int(samples.total("convnet_server_label_readers")),
        queue=int(samples.total("convnet_server_producer_queue")),
        kafka_silent_s=samples.highest("convnet_server_kafka_silent_seconds"),
        cpu=rate("process_cpu_seconds_total"),
        memory_bytes=samples.total("process_resident_memory_bytes"),
    )


def _of_statuses(requests: Mapping[str, float], statuses: tuple[str, ...], seconds: float, gained: Samples | None) -> float | None:
    return sum(requests.get(status, 0.0) for status in statuses) / seconds if gained is not None and seconds else None


def _classifier(
    replica: ReplicaReading, gained: Samples | None, seconds: float, members: Mapping[Lane, tuple[Member, ...]]
) -> ClassifierFigures:
    samples = replica.samples

    def rate(name: str, **labels: str) -> float | None:
        return gained.total(name, **labels) / seconds if gained is not None and seconds else None

    return ClassifierFigures(
        name=str(replica.endpoint),
        ready=replica.ready,
        reasons=replica.reasons,
        version=_version(samples),
        models={role: int(samples.total("convnet_classifier_model_version", role=role)) for role in ROLES},
        aliases={role: int(samples.total("convnet_classifier_alias_version", role=role)) for role in ROLES},
        holds={lane: _held(replica, lane, members.get(lane, ())) for lane in Lane},
        images_per_s=rate("convnet_classifier_images_total"),
        batch_images=mean(gained, "convnet_classifier_batch_images") if gained is not None else None,
        busy=rate("convnet_classifier_stage_seconds_sum"),
        in_flight=int(samples.total("convnet_classifier_batches_in_flight")),
        cpu=rate("process_cpu_seconds_total"),
        memory_bytes=samples.total("process_resident_memory_bytes"),
    )


def _held(replica: ReplicaReading, lane: Lane, members: tuple[Member, ...]) -> tuple[int, ...] | int:
    for member in members:
        if replica.replica and member.client.endswith(f"-{replica.replica}"):
            return member.partitions
    return int(replica.samples.total("convnet_classifier_partitions", lane=lane.value))


def _strangers(members: Mapping[Lane, tuple[Member, ...]], known: set[str]) -> tuple[StrangerFigures, ...]:
    """Members by the process that they name, or by their client where they name none."""
    holds: dict[tuple[str, str], dict[Lane, tuple[int, ...] | int]] = {}
    for lane, group in members.items():
        for member in group:
            name = member.client.rpartition(f"-classifier-{lane.value}-")[2]
            if name not in known:
                holds.setdefault((name, member.host), dict.fromkeys(Lane, ()))[lane] = member.partitions
    return tuple(StrangerFigures(name, host, held) for (name, host), held in sorted(holds.items()))


def _agreement(classifiers: list[ReplicaReading]) -> dict[str, float]:
    """Since the classifiers began: trials last for hours, and a moment compares few images."""
    counts = added(replica.samples for replica in classifiers)
    found = {}
    for role in ROLES[1:]:
        by = counts.by("convnet_classifier_compared_images_total", "agreement", role=role)
        if whole := sum(by.values()):
            found[role] = by.get("same", 0.0) / whole
    return found


def _version(samples: Samples) -> str:
    return next(iter(samples.by("convnet_build_info", "version")), "")
