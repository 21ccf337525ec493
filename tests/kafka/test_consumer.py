"""GroupConsumer on a real Kafka: where they start, what they commit, what they say of records that are gone."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition
from structlog.testing import capture_logs

from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.kafka.connection import group_options
from convnet_kafka.kafka.consumer import GroupConsumer, GroupEvents
from convnet_kafka.kafka.history import Start
from convnet_kafka.local.broker import LocalBroker
from support.topics import committed, delete_before, kafka_settings, make_topic, put

MIB = 1024 * 1024


@dataclass
class Member:
    """A group consumer and what it was told."""

    assigned: list[frozenset[int]] = field(default_factory=list)
    starts: dict[int, Start | None] = field(default_factory=dict)
    revoked: list[frozenset[int]] = field(default_factory=list)
    lost: list[frozenset[int]] = field(default_factory=list)
    expired: list[tuple[int, int]] = field(default_factory=list)
    on_revoke: Callable[[], None] = lambda: None
    on_loss: Callable[[], None] = lambda: None
    read: list[tuple[int, int]] = field(default_factory=list)
    consumer: GroupConsumer = field(init=False)

    def join(self, options: dict[str, object], topic: str) -> None:
        self.consumer = GroupConsumer(options, topic, GroupEvents(self.assign, self.revoke, self.lose, self.expire))
        self.consumer.start()

    def assign(self, starts: Mapping[int, Start | None]) -> None:
        self.assigned.append(frozenset(starts))
        self.starts |= starts

    def revoke(self, partitions: frozenset[int]) -> None:
        self.revoked.append(partitions)
        self.on_revoke()

    def lose(self, partitions: frozenset[int]) -> None:
        self.lost.append(partitions)
        self.on_loss()

    def expire(self, partition: int, images: int) -> None:
        self.expired.append((partition, images))

    def poll(self, count: int = 100) -> None:
        """One short read; (partition, offset) of its records are kept."""
        self.read += [(message.partition(), message.offset()) for message in self.consumer.read(count, 0.05)]

    def poll_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, f"read {len(self.read)}, assigned {self.assigned}"
            self.poll()


class Group:
    """Members of one group on one topic."""

    def __init__(self, broker: LocalBroker, protocol: str, topic: str) -> None:
        self.name = f"group-{uuid.uuid4().hex[:8]}"
        self.topic = topic
        self._settings = kafka_settings(broker.bootstrap_servers, group_protocol=protocol)
        self.members: list[Member] = []

    def join(self, **other: object) -> Member:
        self.members.append(Member())
        options = group_options(self._settings, "test", group=self.name, share=0.5, max_record_bytes=MIB) | other
        self.members[-1].join(options, self.topic)
        return self.members[-1]


class Refused(Consumer):
    """What librdkafka does when a coordinator that is just coming back refuses to say where the group was: it reads nothing, for ever."""

    def __init__(self, options: dict[str, object]) -> None:
        super().__init__(options)
        self._refusals = 2

    def committed(self, partitions: list[TopicPartition], timeout: float = -1) -> list[TopicPartition]:
        if self._refusals:
            self._refusals -= 1
            return self.refuse(partitions)
        return super().committed(partitions, timeout=timeout)

    def refuse(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        raise KafkaException(KafkaError(KafkaError.NOT_COORDINATOR))

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        super().incremental_assign(partitions)
        self.pause([item for item in partitions if item.offset == OFFSET_INVALID])
        self.resume([item for item in partitions if item.offset != OFFSET_INVALID])


class RefusedEach(Refused):
    """The same, where the answer comes and says of each partition that it is refused."""

    def refuse(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        error = KafkaError(KafkaError.NOT_COORDINATOR)
        return [
            cast("TopicPartition", SimpleNamespace(partition=item.partition, offset=OFFSET_INVALID, error=error)) for item in partitions
        ]


@pytest.fixture(params=["consumer", "classic"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def group(broker: LocalBroker, protocol: str) -> Iterator[Callable[..., Group]]:
    made: list[Group] = []

    def make(partitions: int = 1, values: int = 0) -> Group:
        topic = make_topic(broker.bootstrap_servers, partitions)
        for partition in range(partitions):
            put(broker.bootstrap_servers, topic, [b"%d" % number for number in range(values)], partition)
        made.append(Group(broker, protocol, topic))
        return made[-1]

    yield make
    for each in made:
        for member in each.members:
            member.consumer.close()


def test_a_group_that_never_committed_starts_at_the_beginning(group: Callable[..., Group]) -> None:
    member = group(partitions=2, values=5).join()
    member.poll_until(lambda: len(member.read) == 10)
    assert sorted(member.read) == [(partition, offset) for partition in (0, 1) for offset in range(5)]
    assert member.expired == []


def test_reading_goes_on_where_the_group_has_committed(broker: LocalBroker, group: Callable[..., Group]) -> None:
    pair = group(values=10)
    first = pair.join()
    first.poll_until(lambda: len(first.read) == 10)
    first.consumer.done({0: 4})
    first.consumer.commit(wait=True)
    assert committed(broker.bootstrap_servers, pair.name, pair.topic) == 4
    first.consumer.close()
    second = pair.join()
    second.poll_until(lambda: len(second.read) == 6)
    assert [offset for _, offset in second.read] == [4, 5, 6, 7, 8, 9]


def test_commits_never_go_backwards(broker: LocalBroker, group: Callable[..., Group]) -> None:
    one = group(values=10)
    member = one.join()
    member.poll_until(lambda: len(member.read) == 10)
    member.consumer.done({0: 8})
    member.consumer.done({0: 3})
    member.consumer.commit(wait=True)
    member.consumer.commit(wait=True)
    assert committed(broker.bootstrap_servers, one.name, one.topic) == 8


def test_what_retention_took_before_it_was_read_is_counted_and_reading_goes_on(broker: LocalBroker, group: Callable[..., Group]) -> None:
    pair = group(values=10)
    first = pair.join()
    first.poll_until(lambda: len(first.read) == 10)
    first.consumer.done({0: 2})
    first.consumer.commit(wait=True)
    first.consumer.close()
    delete_before(broker.bootstrap_servers, pair.topic, 7)
    second = pair.join()
    second.poll_until(lambda: len(second.read) == 3)
    assert second.expired == [(0, 5)]
    assert [offset for _, offset in second.read] == [7, 8, 9]
    put(broker.bootstrap_servers, pair.topic, [b"later"])
    second.poll_until(lambda: (0, 10) in second.read)
    assert second.expired == [(0, 5)]


def test_what_a_group_that_never_committed_has_missed_is_counted(broker: LocalBroker, group: Callable[..., Group]) -> None:
    late = group(values=10)
    delete_before(broker.bootstrap_servers, late.topic, 4)
    member = late.join()
    member.poll_until(lambda: len(member.read) == 6)
    assert member.expired == [(0, 4)]


@pytest.mark.parametrize("done", [0, 2])
def test_what_is_gone_is_counted_once_although_nothing_follows_it(broker: LocalBroker, group: Callable[..., Group], done: int) -> None:
    """The group's position is behind it: the next owner and who watches the backlog see no loss any more."""
    pair = group(values=10)
    if done:
        early = pair.join()
        early.poll_until(lambda: len(early.read) == 10)
        early.consumer.done({0: done})
        early.consumer.commit(wait=True)
        early.consumer.close()
    delete_before(broker.bootstrap_servers, pair.topic, 10)
    first = pair.join()
    first.poll_until(lambda: first.expired)
    assert first.expired == [(0, 10 - done)]
    assert first.consumer.commit(wait=True)
    assert committed(broker.bootstrap_servers, pair.name, pair.topic) == 10
    first.consumer.close()
    second = pair.join()
    put(broker.bootstrap_servers, pair.topic, [b"later"])
    second.poll_until(lambda: second.read)
    assert (second.read, second.expired) == ([(0, 10)], [])


def test_a_member_that_comes_gets_partitions_after_the_owner_has_finished_and_committed(
    broker: LocalBroker, group: Callable[..., Group]
) -> None:
    pair = group(partitions=2, values=5)
    first = pair.join()
    first.poll_until(lambda: len(first.read) == 10)
    first.on_revoke = lambda: first.consumer.done({0: 5, 1: 5})
    second = pair.join()
    deadline = time.monotonic() + 30
    while not (first.revoked and second.assigned):
        assert time.monotonic() < deadline
        first.poll()
        second.poll()
    (moved,) = first.revoked[0]
    assert second.assigned == [frozenset({moved})]
    assert first.consumer.assigned == frozenset({1 - moved})
    assert committed(broker.bootstrap_servers, pair.name, pair.topic, moved) == 5
    put(broker.bootstrap_servers, pair.topic, [b"new"], moved)
    second.poll_until(lambda: second.read)
    assert second.read == [(moved, 5)]


def test_a_member_that_leaves_finishes_first_and_the_rest_goes_to_others(broker: LocalBroker, group: Callable[..., Group]) -> None:
    pair = group(values=6)
    first = pair.join()
    first.poll_until(lambda: len(first.read) == 6)
    first.on_revoke = lambda: first.consumer.done({0: 4})
    first.consumer.close()
    assert first.revoked == [frozenset({0})]
    second = pair.join()
    second.poll_until(lambda: len(second.read) == 2)
    assert [offset for _, offset in second.read] == [4, 5]


@pytest.mark.parametrize("protocol", ["consumer", pytest.param("classic", marks=pytest.mark.long)], indirect=True)
def test_a_member_that_is_thrown_out_is_told_and_its_late_commit_changes_nothing(
    broker: LocalBroker, protocol: str, group: Callable[..., Group]
) -> None:
    """A member that does not poll for `max.poll.interval.ms` is as good as dead. The classic protocol allows no less than its session."""
    pair = group(values=6)
    patience = {"max.poll.interval.ms": 1500} if protocol == "consumer" else {"max.poll.interval.ms": 6000, "session.timeout.ms": 6000}
    sleeper = pair.join(**patience)
    sleeper.poll_until(lambda: len(sleeper.read) == 6)
    heir = pair.join()
    heir.poll_until(lambda: len(heir.read) == 6)
    heir.consumer.done({0: 6})
    heir.consumer.commit(wait=True)
    sleeper.on_loss = lambda: sleeper.consumer.done({0: 3})
    sleeper.consumer.done({0: 3})
    sleeper.consumer.commit(wait=True)
    sleeper.poll_until(lambda: sleeper.lost)
    sleeper.consumer.commit(wait=True)
    assert committed(broker.bootstrap_servers, pair.name, pair.topic) == 6


def test_done_from_another_thread_is_committed_by_the_reading_one(broker: LocalBroker, group: Callable[..., Group]) -> None:
    one = group(values=3)
    member = one.join()
    member.poll_until(lambda: len(member.read) == 3)
    thread = threading.Thread(target=member.consumer.done, args=({0: 3},))
    thread.start()
    thread.join()
    member.consumer.commit()
    member.poll_until(lambda: committed(broker.bootstrap_servers, one.name, one.topic) == 3)


def test_a_missing_topic_is_no_error_and_its_records_are_read_once_it_is_there(broker: LocalBroker, protocol: str) -> None:
    group = Group(broker, protocol, f"late-{uuid.uuid4().hex[:8]}")
    member = group.join(**{"topic.metadata.refresh.interval.ms": 200})
    member.poll()
    make_topic(broker.bootstrap_servers, name=group.topic)
    put(broker.bootstrap_servers, group.topic, [b"first"])
    member.poll_until(lambda: member.read)
    member.consumer.close()


@pytest.mark.parametrize("protocol", ["consumer"], indirect=True)
def test_one_that_is_busy_with_what_it_has_stays_in_the_group_by_attending_and_misses_nothing(group: Callable[..., Group]) -> None:
    one = group(values=600)
    member = one.join(**{"max.poll.interval.ms": 1500})
    member.poll_until(lambda: member.read)
    begun = len(member.read)
    deadline = time.monotonic() + 4.5
    while time.monotonic() < deadline:
        member.consumer.attend()
    assert member.lost == []
    assert len(member.read) == begun
    member.poll_until(lambda: len(member.read) >= 600)
    assert member.read == [(0, offset) for offset in range(600)]
    assert (member.lost, member.revoked) == ([], [])


@pytest.mark.parametrize("refused", [Refused, RefusedEach])
def test_partitions_that_came_while_nobody_said_where_the_group_was_are_read_from_there_once_it_is_said(
    group: Callable[..., Group], monkeypatch: pytest.MonkeyPatch, refused: type[Refused]
) -> None:
    one = group(partitions=2, values=10)
    first = one.join()
    first.poll_until(lambda: len(first.read) == 20)
    first.consumer.done({0: 4, 1: 7})
    first.consumer.commit(wait=True)
    first.consumer.close()
    monkeypatch.setattr("convnet_kafka.kafka.consumer.Consumer", refused)
    monkeypatch.setattr("convnet_kafka.kafka.consumer.PLACE_AGAIN_S", 0.2)
    with capture_logs() as logs:
        second = one.join()
        second.poll_until(lambda: second.assigned)
        assert set(second.starts.values()) == {None}
        second.poll_until(lambda: len(second.read) == 9)
    told = [line for line in logs if line["event"] == "partitions come without their history"]
    assert [line["partitions"] for line in told] == [[0, 1], [0, 1]]
    assert all("coordinator" in line["error"].lower() for line in told)
    assert sorted(second.read) == [(0, offset) for offset in range(4, 10)] + [(1, offset) for offset in range(7, 10)]
    assert second.starts == {0: Start(4, "", 10), 1: Start(7, "", 10)}
    assert (second.lost, second.expired) == ([], [])


@pytest.mark.parametrize("protocol", ["consumer"], indirect=True)
def test_a_consumer_that_can_do_nothing_any_more_says_so(group: Callable[..., Group]) -> None:
    """KIP-848 refuses a static member while another one of its name is there, for good."""
    one = group(values=3)
    first = one.join(**{"group.instance.id": "same"})
    first.poll_until(lambda: first.assigned)
    second = one.join(**{"group.instance.id": "same"})
    with pytest.raises(KafkaUnavailable, match="cannot go on"):
        second.poll_until(lambda: False)


def test_what_is_read_again_may_be_committed(broker: LocalBroker, group: Callable[..., Group]) -> None:
    one = group(partitions=2, values=5)
    member = one.join()
    member.poll_until(lambda: len(member.read) == 10)
    member.consumer.rewind({0: 3, 1: 4})
    member.poll_until(lambda: len(member.read) == 13)
    assert sorted(member.read[10:]) == [(0, 3), (0, 4), (1, 4)]
    member.consumer.done({0: 5})
    assert member.consumer.commit(wait=True)
    assert committed(broker.bootstrap_servers, one.name, one.topic) == 5
    assert (member.lost, member.expired) == ([], [])
