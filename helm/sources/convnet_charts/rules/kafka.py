"""Alerts on the brokers, by the names that Strimzi's metrics reporter gives."""

from __future__ import annotations

from convnet_charts.promql import BROKERS, by
from convnet_charts.rules.model import Alert, Group
from convnet_charts.rules.tuning import Tuning


def alerts(tuning: Tuning) -> Group:
    """The group of alerts on the brokers."""
    return Group(
        "kafka",
        (
            Alert(
                "ConvnetKafkaBrokerDown",
                f"{BROKERS('up')} == 0",
                tuning.wait("2m"),
                "ticket",
                "The broker {{ $labels.pod }} gives no metrics",
                "With three brokers all goes on, without room for another failure.",
            ),
            Alert(
                "ConvnetKafkaUnderReplicated",
                f"sum {by()} ({BROKERS('kafka_server_replicamanager_underreplicatedpartitions')}) > 0",
                tuning.wait("5m"),
                "ticket",
                "{{ $value }} partitions have fewer copies than they should",
                "A broker is away or cannot keep up. Another failure may stop uploads.",
            ),
            Alert(
                "ConvnetKafkaOfflinePartitions",
                f"max {by()} ({BROKERS('kafka_controller_kafkacontroller_offlinepartitionscount')}) > 0",
                tuning.wait("1m"),
                "page",
                "{{ $value }} partitions have no broker that serves them",
                "Images and results of these partitions can neither be written nor read until their brokers are back.",
            ),
        ),
    )
