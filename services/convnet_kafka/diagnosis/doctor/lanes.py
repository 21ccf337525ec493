"""The two lanes: does somebody work on them, what waits, for how long, and did anything expire."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing

from confluent_kafka import Consumer, KafkaException, TopicPartition

from convnet_kafka.diagnosis.doctor.findings import Finding, Findings, fail, skip, warn, well
from convnet_kafka.diagnosis.doctor.installation import Installation
from convnet_kafka.diagnosis.groups import Group, describe
from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.kafka.positions import Position
from convnet_kafka.messages import Lane, now_ms
from convnet_kafka.topology import HOUR_MS

# A lane that has a backlog is looked at twice, so far apart, to see whether anything moves.
BETWEEN_S = 1.0
# Images that have waited for this part of their retention are worth a warning; at half of it servers refuse uploads.
WARNED_PART = 0.25
SECOND_MS = 1000


def groups(place: Installation) -> Findings:
    """The groups of the classifiers are there, with members, by the protocol that is set."""
    for lane in Lane:
        name = place.topology.group(lane)
        try:
            group = describe(place.admin(), name, place.patience_s)
        except KafkaUnavailable as error:
            yield skip(f"{error}; it takes Describe on the group")
            continue
        yield _group(place, name, group)


def _group(place: Installation, name: str, group: Group) -> Finding:
    if not group.members:
        return warn(
            f"the group {name} has no member: no classifier runs, or none is ready",
            "start classifiers, or see on their /readyz what they wait for (a model, topics, Kafka)",
        )
    if group.protocol != place.kafka.group_protocol:
        return warn(
            f"the group {name} speaks {group.protocol}, KAFKA_GROUP_PROTOCOL is {place.kafka.group_protocol} here",
            "set it to the same on all classifiers of a release",
        )
    if group.state not in {"stable", "reconciling", "assigning"}:
        return warn(f"the group {name} is {group.state}", "look again in a few seconds; if it stays so, look at the classifiers' logs")
    idle = sum(not member.partitions for member in group.members)
    held = sum(len(member.partitions) for member in group.members)
    said = f"{name}: {len(group.members)} member{'s' * (len(group.members) != 1)}, {held} partitions, {group.state}"
    if idle:
        return warn(
            f"{said}; {idle} of them hold nothing, there are more classifiers than partitions",
            "'convnet-kafka topics grow --images-partitions N' gives them work, or run fewer",
        )
    return well(said)


def backlog(place: Installation) -> Findings:
    """What waits in each lane is worked on, is young enough, and nothing of it has expired."""
    for lane in Lane:
        with closing(place.positions(lane)) as positions:
            found = positions.look()
            yield from _expired(lane, found)
            waiting = sum(position.waiting for position in found.values())
            if not waiting:
                yield well(f"nothing waits in the {lane} lane")
                continue
            time.sleep(BETWEEN_S)
            later = positions.look()
            behind = {partition: position for partition, position in later.items() if position.waiting}
            oldest_s = _oldest_s(place, lane, behind)
        done = sum(position.committed or 0 for position in later.values()) - sum(position.committed or 0 for position in found.values())
        waiting = sum(position.waiting for position in later.values())
        yield _waiting(place, lane, waiting, done / BETWEEN_S, oldest_s)


def _expired(lane: Lane, found: Mapping[int, Position]) -> Findings:
    expired = sum(position.expired for position in found.values() if position.committed is not None)
    if expired:
        where = ", ".join(str(partition) for partition, position in sorted(found.items()) if position.expired)
        yield fail(
            f"{expired:,} images of the {lane} lane expired before they were classified (partitions {where}): accepted, and lost",
            "start classifiers, which count them; then more replicas, or a longer CONVNET_TOPICS_IMAGES_RETENTION_HOURS",
        )


def _waiting(place: Installation, lane: Lane, waiting: int, rate: float, oldest_s: float | None) -> Finding:
    age = "" if oldest_s is None else f", the oldest for {_span(oldest_s)}"
    said = f"{waiting:,} images wait in the {lane} lane{age}"
    retention_s = place.topics.images_retention_hours * HOUR_MS / SECOND_MS
    if oldest_s is not None and oldest_s > retention_s * WARNED_PART:
        return fail(
            f"{said}, of {_span(retention_s)} that they are kept",
            "start classifiers now; from half of that time on servers refuse uploads, at all of it images are lost",
        )
    if rate > 0:
        return well(f"{said}; {rate:,.0f}/s are done, about {_span(waiting / rate)} are left")
    return warn(
        f"{said}, and none was done while we looked",
        "does a classifier run, and is it ready? See the check 'groups', and what its /readyz and its log say",
    )


def _oldest_s(place: Installation, lane: Lane, behind: Mapping[int, Position]) -> float | None:
    """Seconds since the oldest waiting image was written: the first waiting record of each partition, read."""
    if not behind:
        return None
    topic, oldest = place.topology.images(lane), None
    with closing(Consumer(place.reading() | {"auto.offset.reset": "earliest"})) as consumer:
        for partition, position in behind.items():
            try:
                consumer.assign([TopicPartition(topic, partition, position.next)])
                message = consumer.poll(place.patience_s)
            except KafkaException as error:
                raise KafkaUnavailable(f"{topic}[{partition}] cannot be read: {error.args[0].str()}") from error
            if message is not None and message.error() is None:
                age_s = (now_ms() - message.timestamp()[1]) / SECOND_MS
                oldest = max(age_s, oldest or 0.0)
    return oldest


def _span(seconds: float) -> str:
    for unit, size in (("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
