"""What librdkafka says of the connections to Kafka of one service: what waits, how far the brokers are, and what goes wrong.

Fed from its statistics, which a client makes at an interval and hands to whoever polls it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import orjson

from convnet_kafka.metrics.catalogue import Catalogue, Labels
from convnet_kafka.metrics.values import LANES

CLIENTS = ("producer", "consumer")
_OF: Labels = {"client": CLIENTS, "lane": LANES}
MICROSECONDS = 1e6
MILLISECONDS = 1e3
# Which figure of the brokers is behind which counter, each since the client's start.
_BROKER_COUNTS = {
    "errors": ("txerrs", "rxerrs"),
    "request_timeouts": ("req_timeouts",),
    "retries": ("txretries",),
    "disconnects": ("disconnects",),
    "sent_bytes": ("txbytes",),
    "received_bytes": ("rxbytes",),
}


class KafkaClientMetrics:
    """Of all Kafka clients of one process that carry images or labels.

    Args:
        make: makes metrics.
    """

    def __init__(self, make: Catalogue) -> None:
        self.queue_messages = make.gauge(
            "convnet_kafka_client_queue_messages",
            "Records in the client's queues: of a producer those not acknowledged yet, of a consumer those fetched ahead.",
            unit="records",
            across="livesum",
            todo="A producer's stays high: Kafka is slower than what comes in.",
            labels=_OF,
        )
        self.queue_bytes = make.gauge(
            "convnet_kafka_client_queue_bytes",
            "Bytes of these records.",
            unit="bytes",
            across="livesum",
            todo="Bounded by KAFKA_MEMORY_BUDGET_MIB.",
            labels=_OF,
        )
        self.round_trip = make.gauge(
            "convnet_kafka_client_round_trip_seconds",
            "Seconds from a request to its answer, of the slowest broker, since the statistics before; a consumer's include the time that "
            "a broker holds an empty answer back (up to 0.5 s). 0 when nothing was sent.",
            unit="seconds",
            across="livemax",
            todo="A producer's rises: the broker's disk or the network is slow.",
            labels=_OF | {"quantile": ("0.5", "0.99")},
        )
        self.brokers_up = make.gauge(
            "convnet_kafka_client_brokers_up",
            "Brokers that the client is connected to.",
            unit="brokers",
            across="livemin",
            todo="0: Kafka is away, or refuses us: look at the log for its reason.",
            labels=_OF,
        )
        self.throttle = make.gauge(
            "convnet_kafka_client_throttle_seconds",
            "The longest that a broker made the client wait, on average since the statistics before.",
            unit="seconds",
            across="livemax",
            todo="More than 0: a quota of the Kafka user is used up, raise it.",
            labels=_OF,
            rare=True,
        )
        counter = make.counter
        self._counters = {
            "errors": counter(
                "convnet_kafka_client_errors_total",
                "Requests and answers that failed on the wire.",
                todo="Rising: the network between us and the brokers.",
                labels=_OF,
                rare=True,
            ),
            "request_timeouts": counter(
                "convnet_kafka_client_request_timeouts_total",
                "Requests without an answer in time.",
                unit="requests",
                todo="Rising: a broker is overloaded or gone.",
                labels=_OF,
                rare=True,
            ),
            "retries": counter(
                "convnet_kafka_client_retries_total",
                "Requests that were sent again.",
                unit="requests",
                todo="Some at a broker's restart are normal; a steady rate is not.",
                labels=_OF,
                rare=True,
            ),
            "disconnects": counter(
                "convnet_kafka_client_disconnects_total",
                "Connections to brokers that ended.",
                unit="connections",
                todo="A steady rate: something between us and Kafka cuts connections.",
                labels=_OF,
                rare=True,
            ),
            "sent_bytes": counter(
                "convnet_kafka_client_sent_bytes_total", "Bytes sent to brokers.", unit="bytes", todo="For capacity.", labels=_OF
            ),
            "received_bytes": counter(
                "convnet_kafka_client_received_bytes_total", "Bytes received from brokers.", unit="bytes", todo="For capacity.", labels=_OF
            ),
        }
        self.certificate_expiry = make.gauge(
            "convnet_kafka_client_certificate_expiry_timestamp_seconds",
            "When the first certificate ends that is in use towards Kafka, the authorities' and our own (KAFKA_SSL_CA_LOCATION, "
            "KAFKA_SSL_CERTIFICATE_LOCATION), unix time; 0 when there is none.",
            unit="seconds",
            across="livemax",
            todo="Soon: renew it, and mount the new one before.",
            rare=True,
        )

    def recorder(self, client: Literal["producer", "consumer"], lane: str) -> Callable[[str], None]:
        """What takes one client's statistics: for its `stats_cb`, called by whoever polls it."""
        gauges = {name: getattr(self, name).labels(client, lane) for name in ("queue_messages", "queue_bytes", "brokers_up", "throttle")}
        quantiles = {key: self.round_trip.labels(client, lane, shown) for key, shown in (("p50", "0.5"), ("p99", "0.99"))}
        counters = {name: counter.labels(client, lane) for name, counter in self._counters.items()}
        before: dict[str, float] = {}

        def record(statistics: str) -> None:
            found: dict[str, Any] = orjson.loads(statistics)
            brokers = [broker for broker in found.get("brokers", {}).values() if broker.get("nodeid", -1) >= 0]
            messages, size = _queued(found)
            gauges["queue_messages"].set(messages)
            gauges["queue_bytes"].set(size)
            gauges["brokers_up"].set(sum(broker.get("state") == "UP" for broker in brokers))
            gauges["throttle"].set(max((_window(broker, "throttle", "avg") for broker in brokers), default=0) / MILLISECONDS)
            for key, gauge in quantiles.items():
                gauge.set(max((_window(broker, "rtt", key) for broker in brokers), default=0) / MICROSECONDS)
            for name, counter in counters.items():
                now = sum(broker.get(figure, 0) for broker in brokers for figure in _BROKER_COUNTS[name])
                # Smaller than before: another client has taken the place of one that broke.
                counter.inc(now - before[name] if name in before and now >= before[name] else now)
                before[name] = now

        return record


def _queued(statistics: Mapping[str, Any]) -> tuple[int, int]:
    """Records and bytes in a client's queues."""
    if statistics.get("type") == "producer":
        return int(statistics.get("msg_cnt", 0)), int(statistics.get("msg_size", 0))
    partitions = [partition for topic in statistics.get("topics", {}).values() for partition in topic.get("partitions", {}).values()]
    return sum(partition.get("fetchq_cnt", 0) for partition in partitions), sum(partition.get("fetchq_size", 0) for partition in partitions)


def _window(broker: Mapping[str, Any], name: str, key: str) -> int:
    return int(broker.get(name, {}).get(key, 0))
