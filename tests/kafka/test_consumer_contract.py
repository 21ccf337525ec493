"""What unit tests assume of a group consumer holds for the real one and for the stand-in in memory alike."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping

import pytest

from convnet_kafka.kafka.connection import group_options
from convnet_kafka.kafka.consumer import GroupConsumer, GroupEvents
from convnet_kafka.kafka.history import Start
from convnet_kafka.local.broker import LocalBroker
from support.memory_kafka import MemoryConsumer, MemoryTopic
from support.topics import committed, kafka_settings, make_topic, put
from support.waiting import until

AnyConsumer = GroupConsumer | MemoryConsumer


class World:
    """A topic of one partition with ten records and a group: real, or in memory."""

    def __init__(self, broker: LocalBroker | None) -> None:
        self._servers = broker.bootstrap_servers if broker else ""
        self._memory = MemoryTopic()
        self._group = f"group-{uuid.uuid4().hex[:8]}"
        self.told: list[tuple[str, frozenset[int]]] = []
        self.starts: list[Start | None] = []
        self._consumers: list[AnyConsumer] = []
        if broker:
            self._topic = make_topic(self._servers)
            put(self._servers, self._topic, [b"%d" % number for number in range(10)])
        else:
            for number in range(10):
                self._memory.put(b"%d" % number)

    def join(self) -> AnyConsumer:
        events = GroupEvents(
            self._assigned,
            lambda partitions: self.told.append(("revoked", partitions)),
            lambda partitions: self.told.append(("lost", partitions)),
            lambda partition, images: None,
        )
        consumer: AnyConsumer
        if self._servers:
            options = group_options(kafka_settings(self._servers), "test", group=self._group, share=0.5, max_record_bytes=100_000)
            consumer = GroupConsumer(options, self._topic, events)
        else:
            consumer = MemoryConsumer(self._memory, events)
        consumer.start()
        self._consumers.append(consumer)
        return consumer

    def _assigned(self, starts: Mapping[int, Start | None]) -> None:
        self.told.append(("assigned", frozenset(starts)))
        self.starts.append(starts.get(0))

    def read(self, consumer: AnyConsumer, count: int, at_once: int = 100) -> list[int | None]:
        offsets: list[int | None] = []
        until(lambda: offsets.extend(message.offset() for message in consumer.read(at_once, 0.1)) or len(offsets) >= count)
        return offsets

    def committed(self) -> int:
        return committed(self._servers, self._group, self._topic) if self._servers else self._memory.committed.get(0, -1)

    def close(self) -> None:
        for consumer in self._consumers:
            consumer.close()


@pytest.fixture(params=["real", "memory"])
def world(request: pytest.FixtureRequest) -> Iterator[Callable[[], World]]:
    made: list[World] = []

    def make() -> World:
        made.append(World(request.getfixturevalue("broker") if request.param == "real" else None))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_it_starts_at_the_beginning_and_hands_out_no_more_than_asked(world: Callable[[], World]) -> None:
    here = world()
    consumer = here.join()
    assert here.read(consumer, 3, at_once=3)[:3] == [0, 1, 2]
    assert len(consumer.read(2, 1.0)) <= 2
    assert here.told == [("assigned", frozenset({0}))]


def test_it_commits_what_is_done_and_never_goes_back(world: Callable[[], World]) -> None:
    here = world()
    consumer = here.join()
    here.read(consumer, 10)
    consumer.done({0: 6})
    consumer.done({0: 2})
    consumer.commit(wait=True)
    assert here.committed() == 6


def test_it_says_revoked_when_it_closes_commits_what_is_done_by_then_and_the_next_goes_on_there(world: Callable[[], World]) -> None:
    here = world()
    first = here.join()
    here.read(first, 10)
    first.done({0: 7})
    first.close()
    assert here.told[-1] == ("revoked", frozenset({0}))
    assert here.committed() == 7
    assert here.read(here.join(), 3) == [7, 8, 9]


def test_what_is_done_of_a_partition_that_is_gone_is_passed_over(world: Callable[[], World]) -> None:
    here = world()
    first = here.join()
    here.read(first, 10)
    first.done({5: 7})
    first.commit(wait=True)
    assert here.committed() < 0


def test_it_says_where_a_partition_stands_when_it_comes(world: Callable[[], World]) -> None:
    here = world()
    consumer = here.join()
    here.read(consumer, 10)
    assert here.starts[0] is not None
    assert (here.starts[0].committed < 0, here.starts[0].metadata, here.starts[0].end) == (True, "", 10)


def test_a_text_goes_with_every_commit_until_it_is_changed_and_the_next_owner_gets_it(world: Callable[[], World]) -> None:
    here = world()
    first = here.join()
    here.read(first, 10)
    first.annotate(0, 2, "begun")
    assert first.commit(wait=True)
    first.done({0: 5})
    assert first.commit(wait=True)
    first.close()
    second = here.join()
    here.read(second, 5)
    assert here.starts[1] == Start(5, "begun", 10)
    second.annotate(0, 5, "")
    assert second.commit(wait=True)
    assert here.committed() == 5
    second.close()
    here.read(here.join(), 5)
    assert here.starts[2] == Start(5, "", 10)


def test_a_text_at_an_older_offset_does_not_take_the_commit_back(world: Callable[[], World]) -> None:
    here = world()
    consumer = here.join()
    here.read(consumer, 10)
    consumer.done({0: 8})
    consumer.annotate(0, 3, "begun")
    assert consumer.commit(wait=True)
    assert here.committed() == 8


def test_it_reads_again_from_where_it_is_told_and_nothing_is_lost_while_it_only_attends(world: Callable[[], World]) -> None:
    here = world()
    consumer = here.join()
    here.read(consumer, 10)
    consumer.rewind({0: 4})
    assert here.read(consumer, 6) == [4, 5, 6, 7, 8, 9]
    consumer.rewind({0: 6})
    for _ in range(100):
        consumer.attend()
    assert here.read(consumer, 4) == [6, 7, 8, 9]
