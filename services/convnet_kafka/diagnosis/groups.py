"""Who is a member of the classifiers' groups, and what each holds, as the brokers say.

Owns no client. Asked only where Kafka has just answered: librdkafka's admin requests are not made for brokers that are away (2.16).
"""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import ConsumerGroupState, ConsumerGroupType, KafkaException
from confluent_kafka.admin import AdminClient

from convnet_kafka.errors import KafkaUnavailable


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a group.

    Attributes:
        client: its `client.id`, which for our classifiers ends in host and process.
        host: the address it came from.
        partitions: what it holds, ascending.
    """

    client: str
    host: str
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A group as its coordinator describes it.

    Attributes:
        state: `stable`, `empty`, `assigning`, `reconciling`, `dead` (there is no such group), ...
        protocol: `consumer` (KIP-848) or `classic`; empty for a group that is not there.
        members: ordered by their first partition.
    """

    state: str
    protocol: str
    members: tuple[Member, ...]


def describe(admin: AdminClient, group: str, timeout_s: float) -> Group:
    """Ask for one group.

    Raises:
        KafkaUnavailable: Kafka did not answer, or does not let us see the group.
    """
    try:
        found = admin.describe_consumer_groups([group], request_timeout=timeout_s)[group].result(timeout_s + 1)
    except KafkaException as error:
        raise KafkaUnavailable(f"the group {group} cannot be described: {error.args[0].str()}") from error
    except TimeoutError as error:
        raise KafkaUnavailable(f"the group {group} was not described in {timeout_s:.0f} s") from error
    if found.state == ConsumerGroupState.DEAD:
        return Group("dead", "", ())
    members = [
        Member(
            member.client_id,
            str(member.host).lstrip("/"),
            tuple(sorted(place.partition for place in member.assignment.topic_partitions)) if member.assignment else (),
        )
        for member in found.members
    ]
    return Group(
        found.state.name.lower(),
        "consumer" if found.type == ConsumerGroupType.CONSUMER else "classic",
        tuple(sorted(members, key=lambda member: (member.partitions or (1 << 31,), member.client))),
    )
