"""What an upload does when the producer has no room, when its time is over, and when Kafka does not acknowledge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from confluent_kafka import KafkaError
from prometheus_client import CollectorRegistry, Counter

from convnet_kafka.kafka.producer import Delivery
from convnet_kafka.server.intake import Intake
from convnet_kafka.server.jobs import Job
from support.http import png

JOB = Job("ab" * 16, "default", 0, 1, 0, b"")


class Producer:
    """Takes as many records as it has room for; acknowledges them when told, or answers each with an error."""

    def __init__(self, room: int, error: int | None = None) -> None:
        self.room = room
        self.error = error
        self.waiting: list[Callable[..., None]] = []

    def delivery(self, on_done: Callable[[], None]) -> Delivery:
        return Delivery(self, on_done)  # type: ignore[arg-type]

    def produce(self, topic: str, value: bytes, headers: object, partition: int, key: object, on_delivery: Callable[..., None]) -> None:
        if len(self.waiting) >= self.room:
            self.acknowledge()
            raise BufferError
        self.waiting.append(on_delivery)

    def acknowledge(self) -> None:
        waiting, self.waiting = self.waiting, []
        for on_delivery in waiting:
            on_delivery(KafkaError(self.error) if self.error is not None else None, None)


def intake(
    producer: Producer,
    *,
    deadline_s: float = 10.0,
    meanwhile: Callable[[Intake], Awaitable[None]] | None = None,
    on_failure: Callable[[], None] | None = None,
) -> tuple[Intake, Counter]:
    full = Counter("full", "Full.", registry=CollectorRegistry())
    made = Intake(
        producer,  # type: ignore[arg-type]
        "images",
        JOB,
        deadline=time.monotonic() + deadline_s,
        acknowledge_s=5,
        queue_full=full,
        meanwhile=meanwhile,
        on_failure=on_failure,
    )
    return made, full


async def test_a_full_queue_is_waited_for_and_nothing_is_lost() -> None:
    producer = Producer(room=3)
    images, full = intake(producer)
    for number in range(20):
        if not images.offer(f"{number}.png", png(str(number))):
            await images.offer_when_there_is_room(f"{number}.png", png(str(number)))
    producer.acknowledge()
    outcome = await images.finish()
    assert outcome.counts() == {"accepted": 20, "refused": 0, "unknown": 0}
    assert full._value.get() > 0


async def test_images_that_find_no_room_in_time_are_unknown_by_name() -> None:
    images, _ = intake(Producer(room=0), deadline_s=0.05)
    assert not images.offer("late.png", png("late"))
    await images.offer_when_there_is_room("late.png", png("late"))
    assert images.late
    outcome = await images.finish()
    assert [(problem["name"], problem["status"]) for problem in outcome.problems()] == [("late.png", "unknown")]


async def test_an_image_that_is_not_acknowledged_is_unknown_and_one_that_kafka_finds_too_large_is_refused() -> None:
    found = {}
    for error in (KafkaError._MSG_TIMED_OUT, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.MSG_SIZE_TOO_LARGE):
        producer = Producer(room=9, error=error)
        images, _ = intake(producer)
        images.offer("a.png", png("a"))
        producer.acknowledge()
        (problem,) = (await images.finish()).problems()
        found[error] = (problem["name"], problem["status"], problem["code"])
    assert found == {
        KafkaError._MSG_TIMED_OUT: ("a.png", "unknown", "not-acknowledged"),
        KafkaError.TOPIC_AUTHORIZATION_FAILED: ("a.png", "unknown", "not-acknowledged"),
        KafkaError.MSG_SIZE_TOO_LARGE: ("a.png", "refused", "too-large"),
    }


@pytest.mark.parametrize("error", [None, KafkaError._MSG_TIMED_OUT])
async def test_what_is_waited_for_meanwhile_is_not_woken_by_an_acknowledgement_but_by_a_failure(error: int | None) -> None:
    producer, woken, labels = Producer(room=9, error=error), asyncio.Event(), asyncio.Event()

    async def wait_for_labels(images: Intake) -> None:
        assert not images.failed
        await labels.wait()

    images, _ = intake(producer, meanwhile=wait_for_labels, on_failure=woken.set)
    images.offer("a.png", png("a"))
    finished = asyncio.create_task(images.finish())
    await asyncio.sleep(0)
    producer.acknowledge()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert woken.is_set() is (error is not None)
    assert not finished.done()
    labels.set()
    outcome = await finished
    assert (outcome.accepted, len(outcome.unknown)) == ((1, 0) if error is None else (0, 1))
    assert images.acknowledged_at >= images.ended_at


async def test_a_body_that_is_cut_short_waits_for_its_acknowledgements_alone() -> None:
    async def never(_images: Intake) -> None:
        await asyncio.Event().wait()

    producer = Producer(room=9)
    images, _ = intake(producer, meanwhile=never)
    images.offer("a.png", png("a"))
    producer.acknowledge()
    assert (await images.cut_short()).counts() == {"accepted": 1, "refused": 0, "unknown": 0}
