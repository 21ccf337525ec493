"""What waits in a lane, asked of Kafka from outside: the group's committed offsets beside the ends of the log."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

import click

from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.kafka.connection import reader_options
from convnet_kafka.kafka.positions import GroupPositions
from convnet_kafka.messages import Lane
from convnet_kafka.settings import KafkaSettings
from convnet_kafka.topology import Topology
from waits import wait

# Never reads a record.
_SHARE, _MAX_RECORD_BYTES = 0.0, 256 * 1024
# On a machine that is full Kafka may not answer in time; a run of minutes is not given up for that.
_TRIES = 5
_FILL_LOOK_S = 0.5


class Lag:
    """Of the classifiers' group on one lane, as a context manager. Belongs to one thread.

    Args:
        bootstrap_servers: of a stack with the usual prefix.
        lane: which.
    """

    def __init__(self, bootstrap_servers: str, lane: Lane = Lane.BULK) -> None:
        kafka = KafkaSettings(bootstrap_servers=bootstrap_servers)
        topology = Topology(kafka.topic_prefix)
        options = reader_options(kafka, f"{kafka.topic_prefix}-benchmark", share=_SHARE, max_record_bytes=_MAX_RECORD_BYTES)
        self._positions = GroupPositions(options, topology.images(lane), topology.group(lane))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._positions.close()

    def images(self) -> int:
        """Images that wait, or whose results are not committed yet.

        Raises:
            KafkaUnavailable: Kafka did not answer, several times.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._look()
            except KafkaUnavailable:
                continue
        return self._look()

    def wait_for(self, images: int, deadline_s: float, going_on: Callable[[], bool]) -> None:
        """Return when so many images wait.

        Args:
            images: how many.
            deadline_s: seconds that this may take.
            going_on: whether who sends them is still at it.

        Raises:
            ClickException: they are not there in time, or nobody sends them any more.
        """
        wait(lambda: self.images() >= images or not going_on(), f"{images:,} images that wait in Kafka", deadline_s, _FILL_LOOK_S)
        if not going_on():
            raise click.ClickException(f"the client ended before {images:,} images waited in Kafka")

    def _look(self) -> int:
        return sum(position.waiting for position in self._positions.look().values())
