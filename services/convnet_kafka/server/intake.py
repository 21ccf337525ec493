"""The images of one request on their way into Kafka: each is looked at, given its id, handed to the producer, and accounted for.

The hot path: no task, no future and no copy of an image but the one the producer makes. A small image costs the whole process, socket to
acknowledgement, some 8 us of CPU.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError
from prometheus_client import Counter

from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.kafka.partitioner import PRODUCER_CHOOSES, BalancedPartitioner
from convnet_kafka.kafka.producer import AcknowledgedProducer, QueueFull
from convnet_kafka.messages import ImageWriter, clip, now_ms
from convnet_kafka.server import sniff
from convnet_kafka.server.jobs import Job
from convnet_kafka.server.outcome import Outcome, Refusal, RefusalCode, Unknown

if TYPE_CHECKING:
    from convnet_kafka.tracing.requests import RequestTrace

# A queue of some MiB empties within milliseconds when Kafka keeps up.
ROOM_STEP_S = 0.005
# Callbacks come once `message.timeout.ms` is over; this much later than that something is broken.
ACKNOWLEDGEMENT_SLACK_S = 5.0
_LATE = "the upload's time was over before Kafka took it: send it again"
_AWAY = "Kafka does not answer at the moment, and it was not stored: send it again in a few seconds"
_NOT_ACKNOWLEDGED = "Kafka has not acknowledged it; it may be stored or not: send it again"


class Acknowledgement:
    """Carries a delivery's one call from the producer's thread to the event loop. Made on the loop.

    Attributes:
        at: when the call came, in `time.monotonic()`, the clock of the event loop; 0 before.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._awaited = False
        self.at = 0.0

    def __call__(self) -> None:
        """All records have their answers. From any thread; the loop is woken only for one who waits already."""
        self.at = time.monotonic()
        if self._awaited:
            self.tell(self._event.set)

    def tell(self, call: Callable[[], None]) -> None:
        """Have something called by the loop. From any thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(call)

    async def wait(self, acknowledge_s: float) -> None:
        """Wait for the call.

        Args:
            acknowledge_s: the producer's own time-out in seconds; a little more is given.

        Raises:
            KafkaUnavailable: not even a failure was told in time.
        """
        self._awaited = True
        if self.at:
            return
        try:
            async with asyncio.timeout(acknowledge_s + ACKNOWLEDGEMENT_SLACK_S):
                await self._event.wait()
        except TimeoutError:
            raise KafkaUnavailable("Kafka did not answer in time; it may have stored all or nothing: send the same request again") from None


class Intake:
    """One request's images.

    Args:
        producer: of the lane.
        topic: the lane's topic.
        job: whose images they are.
        deadline: `time.monotonic()` after which nothing more is handed to Kafka.
        acknowledge_s: seconds Kafka has to acknowledge an image.
        queue_full: counts waits for room.
        names: filled with the name of every image by its id, when given.
        available: False while Kafka is away: nothing is handed over then, so that nobody waits for it and memory does not fill.
        partitioner: chooses each image's partition; without one the producer does.
        trace: of the request, when it is recorded.
        meanwhile: waited for, once all images are handed over, before Kafka's answers are: a label proves what an acknowledgement says,
            and one who waits for it need not be woken for both.
        on_failure: called on the event loop when all answers are there and some are failures.

    Attributes:
        outcome: what became of the images; `accepted` only after `finish`.
        last_image: id of the last image handed over.
        ended_at: when the last image had been handed over, in the event loop's seconds; 0 before.
        acknowledged_at: when Kafka had answered for all images that were handed over; 0 before, and when there were none.
    """

    def __init__(
        self,
        producer: AcknowledgedProducer,
        topic: str,
        job: Job,
        *,
        deadline: float,
        acknowledge_s: float,
        queue_full: Counter,
        names: dict[str, str] | None = None,
        available: Callable[[], bool] = lambda: True,
        partitioner: BalancedPartitioner | None = None,
        trace: RequestTrace | None = None,
        meanwhile: Callable[[Intake], Awaitable[None]] | None = None,
        on_failure: Callable[[], None] | None = None,
    ) -> None:
        self._acknowledgement = Acknowledgement()
        self._delivery = producer.delivery(self._answered)
        self._topic = topic
        self._writer = ImageWriter(job=job.id, reply_partition=job.partition, tenant=job.tenant, submitted_at_ms=now_ms())
        self._deadline = deadline
        self._acknowledge_s = acknowledge_s
        self._queue_full = queue_full
        self._names = names
        self._available = available
        self._partitioner = partitioner
        self._trace = trace
        self._meanwhile = meanwhile
        self._on_failure = on_failure
        self._handed_over = 0
        self.outcome = Outcome()
        self.last_image = ""
        self.ended_at = 0.0
        self.acknowledged_at = 0.0

    @property
    def images(self) -> int:
        """Images, and things that are none, taken so far."""
        return self._handed_over + len(self.outcome.refused) + len(self.outcome.unknown)

    def refuse(self, refusal: Refusal) -> None:
        """Account for something that was refused before it came here."""
        self.outcome.refused.append(refusal)

    def offer(self, name: str, content: bytes) -> bool:
        """Take one image; False when there is no room and it must be offered again after `room`."""
        content_type = sniff.picture_type(content)
        if content_type is None:
            self.refuse(Refusal(name, RefusalCode.UNSUPPORTED, sniff.not_a_picture(content)))
            return True
        image, headers = self._writer.write(name, content, content_type)
        on_answer = None
        if self._trace is not None and (sent := self._trace.image(self._topic, image, self._handed_over)) is not None:
            headers.append(("traceparent", sent.traceparent.encode()))
            on_answer = sent.answered
        partitioner, size = self._partitioner, len(content)
        partition = PRODUCER_CHOOSES if partitioner is None else partitioner.take(size)
        try:
            self._delivery.send(self._topic, content, headers, partition=partition, tag=name, on_answer=on_answer)
        except QueueFull:
            if partitioner is not None:
                partitioner.give_back(size)
            return False
        self._handed_over += 1
        self.last_image = image
        if self._names is not None:
            self._names[image] = name
        return True

    async def offer_when_there_is_room(self, name: str, content: bytes) -> None:
        """Take one image for which there was no room a moment ago; when the time is over, or Kafka is away, it counts as unknown."""
        self._queue_full.inc()
        while not self.late:
            await asyncio.sleep(ROOM_STEP_S)
            if self.offer(name, content):
                return
        self.give_up(name)

    def give_up(self, name: str) -> None:
        """Account for an image for which there was no time."""
        self.outcome.unknown.append(Unknown(name, _LATE if self._available() else _AWAY))

    @property
    def late(self) -> bool:
        """True when nothing more may be handed to Kafka, for good or while it is away."""
        return time.monotonic() > self._deadline or not self._available()

    @property
    def failed(self) -> int:
        """Images of which Kafka has said, or the producer knows, that they are not stored for certain; so far."""
        return len(self._delivery.failures)

    async def finish(self) -> Outcome:
        """Wait for what is to be waited for, then for Kafka's answers, and tell what became of each image.

        Raises:
            KafkaUnavailable: not even failures were told in time.
        """
        self._seal()
        if self._meanwhile is not None:
            await self._meanwhile(self)
        return await self._settle()

    async def cut_short(self) -> Outcome:
        """The same when nothing more comes that is worth waiting for: for Kafka's answers alone.

        Raises:
            KafkaUnavailable: not even failures were told in time.
        """
        self._seal()
        return await self._settle()

    def _seal(self) -> None:
        self._delivery.seal()
        self.ended_at = asyncio.get_running_loop().time()

    def _answered(self) -> None:
        """All answers are there. In the producer's thread, or in `_seal`."""
        self._acknowledgement()
        if self._on_failure is not None and self._delivery.failures:
            self._acknowledgement.tell(self._on_failure)

    async def _settle(self) -> Outcome:
        waited_s = asyncio.get_running_loop().time() - self.ended_at
        await self._acknowledgement.wait(self._acknowledge_s - waited_s)
        if self._handed_over:
            self.acknowledged_at = max(self._acknowledgement.at, self.ended_at)
        for failure in self._delivery.failures:
            name = str(failure.tag)
            if failure.code == KafkaError.MSG_SIZE_TOO_LARGE:
                self.refuse(Refusal(name, RefusalCode.TOO_LARGE, f"Kafka refused it: {failure.reason}"))
            else:
                self.outcome.unknown.append(Unknown(name, clip(f"{_NOT_ACKNOWLEDGED} ({failure.reason})", 300)))
        # Those that failed are counted among the refused and the unknown now.
        self._handed_over -= len(self._delivery.failures)
        self.outcome.accepted = self._handed_over
        return self.outcome
