"""Whether a local Kafka can be worked with: a port that listens is not enough, topics must be creatable and groups able to commit."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

_LOOK_S = 0.01
_CONNECT_S = 1.0
# Asked at once; a broker that still loads answers in its own time.
_ANSWER_S = 5.0
# Asking for this group's positions makes the broker create and load the positions topic; the group itself is never created.
_PROBE_GROUP = "convnet-kafka-ready"


def wait_until_it_serves(host: str, port: int, deadline: float, alive: Callable[[], bool]) -> bool:
    """Wait until the broker answers, creates topics and keeps positions.

    Args:
        host: where it listens.
        port: its port.
        deadline: on the monotonic clock.
        alive: whether its process runs.

    Returns:
        False when it ended, or did not come up by the deadline.
    """
    while not _listens(host, port):
        if not alive() or time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_S)
    # A consumer's `committed`, not the admin client's `list_consumer_group_offsets`: that one crashes the process (librdkafka 2.16,
    # a null consumer group) when the coordinator is still loading. `log_level` 0: a broker that comes up refuses connections for
    # a moment, and librdkafka would print each refusal.
    common = {"bootstrap.servers": f"{host}:{port}", "log_level": 0, "reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 50}
    probe = Consumer({**common, "group.id": _PROBE_GROUP})
    # The first idempotent producer makes the broker fetch a block of producer ids, and is told to try again in half a second.
    # It had better be this one.
    warm_up = Producer({**common, "enable.idempotence": True})
    try:
        while alive() and (left_s := deadline - time.monotonic()) > 0:
            with contextlib.suppress(KafkaException):
                if warm_up.list_topics(timeout=min(left_s, _ANSWER_S)).brokers:
                    probe.committed([TopicPartition(_PROBE_GROUP, 0)], timeout=min(left_s, _ANSWER_S))
                    return True
            time.sleep(_LOOK_S)
    finally:
        probe.close()
    return False


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_S):
            return True
    except OSError:
        return False
