"""What this server knows from the topic `control`: which jobs are cancelled and which models there are; and how a job is cancelled.

Owns one reader of the topic. Whether it can be read is no part of being ready: uploads and labels do not need it.
"""

from __future__ import annotations

import time

from convnet_kafka.control import CancelledJob, ControlState, control_headers
from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.kafka.connection import Options
from convnet_kafka.kafka.producer import AcknowledgedProducer, QueueFull
from convnet_kafka.kafka.table import TableFollower
from convnet_kafka.messages import now_ms
from convnet_kafka.server.intake import Acknowledgement
from convnet_kafka.server.jobs import Job
from convnet_kafka.server.problems import Problem

# Between looks for jobs whose life is over.
FORGET_S = 10.0


class Control:
    """One process's side of the topic.

    Args:
        options: from `connection.reader_options`.
        topic: its name.
    """

    def __init__(self, options: Options, topic: str) -> None:
        self._topic = topic
        self._forget_at = 0.0
        self._state = ControlState()
        self._follower = TableFollower(
            options, topic, lambda message: self._state.apply(message.headers(), message.key(), message.value()), self._forget_expired
        )

    def start(self) -> None:
        """Start reading. Does not wait for Kafka."""
        self._follower.start()

    def close(self) -> None:
        """Stop reading."""
        self._follower.close()

    def is_cancelled(self, job: Job) -> bool:
        """Whether the job has been cancelled, as far as is known here."""
        return job.id in self._state.cancelled

    def check_not_cancelled(self, job: Job) -> None:
        """The job still takes images.

        Raises:
            Problem: it has been cancelled.
        """
        if self.is_cancelled(job):
            raise Problem("job-cancelled", "this job has been cancelled and takes no more images: open a new job")

    def models(self) -> ControlState:
        """Model cards and aliases.

        Raises:
            KafkaUnavailable: the topic has not been read yet.
        """
        if not self._follower.caught_up:
            raise KafkaUnavailable(f"the models are not known yet: {self._follower.problem}; try again in a moment")
        return self._state

    async def cancel(self, job: Job, expires_at_ms: int, producer: AcknowledgedProducer, acknowledge_s: float) -> None:
        """Tell all classifiers and servers; returns when Kafka has it. Cancelling again does nothing.

        Args:
            job: which.
            expires_at_ms: when its life is over.
            producer: one that sends at once.
            acknowledge_s: its time-out in seconds.

        Raises:
            KafkaUnavailable: Kafka has not acknowledged it; it may have it all the same.
        """
        if self.is_cancelled(job):
            return
        record = CancelledJob(job.id, expires_at_ms)
        written = Acknowledgement()
        delivery = producer.delivery(written)
        try:
            delivery.send(self._topic, record.to_json(), control_headers(record.kind), partition=0, key=record.key.encode())
        except QueueFull:
            raise KafkaUnavailable("Kafka takes nothing at the moment: cancel the job again in a few seconds") from None
        delivery.seal()
        await written.wait(acknowledge_s)
        if delivery.failures:
            raise KafkaUnavailable(f"the cancelling was not acknowledged ({delivery.failures[0].reason}): send it again")
        self._state.cancel(record)  # who asks this server again must not wait for the reader

    def _forget_expired(self) -> None:
        """Jobs whose life is over answer 410 without being remembered; classifiers take their records away."""
        if time.monotonic() >= self._forget_at:
            self._forget_at = time.monotonic() + FORGET_S
            self._state.forget(self._state.expired(now_ms()))
