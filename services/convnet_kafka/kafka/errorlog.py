"""Errors that librdkafka repeats: each kind is told at once, and then seldom.

While a broker is away every client reports it some twenty times a second; the log is to say so, not to drown in it.
"""

from __future__ import annotations

import time

import structlog
from confluent_kafka import KafkaError

logger = structlog.get_logger(__name__)

TOLD_EVERY_S = 10.0


class ErrorLog:
    """Of one client, and called by its thread alone.

    Args:
        client: what it is, in words.
        where: which one, as fields of the log.
    """

    def __init__(self, client: str, **where: object) -> None:
        self._client = client
        self._where = where
        # By kind of error: when it was last told, and how often it came since.
        self._told: dict[int, tuple[float, int]] = {}

    def __call__(self, error: KafkaError) -> None:
        """Tell an error, unless its kind was told a moment ago."""
        now = time.monotonic()
        told_at, untold = self._told.get(error.code(), (float("-inf"), 0))
        if now - told_at < TOLD_EVERY_S:
            self._told[error.code()] = (told_at, untold + 1)
            return
        self._told[error.code()] = (now, 0)
        held_back = {"held_back": untold} if untold else {}
        logger.warning("kafka error", client=self._client, **self._where, error=error.str(), **held_back)
