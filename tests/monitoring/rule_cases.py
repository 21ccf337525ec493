"""For each alert: series that make it fire, and series, as near to those as can be, that do not. Run by promtool (test_rules.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Input:
    """One run of promtool's clock.

    Attributes:
        series: metric with labels beyond namespace and release -> values as promtool writes them (`0+1x10`, `5x10`, `_x10`).
        at: when to look.
        alerts: label sets of the alerts that must fire then, beyond namespace, release and what the rule itself adds.
        interval: between samples, and between evaluations.
    """

    series: Mapping[str, str]
    at: str
    alerts: Sequence[Mapping[str, str]] = ()
    interval: str = "1m"


@dataclass(frozen=True)
class Case:
    """An alert's two runs."""

    fires: Input
    quiet: Input


def counted(metric: str, labels: str, fires: Mapping[str, str]) -> Case:
    """An alert on any increase of a counter: one event fires it, and is over an hour later; a counter that stands still does not."""
    series = f"{metric}{{{labels}}}"
    return Case(Input({series: "0x10 1x10"}, "15m", [fires]), Input({series: "7x30"}, "15m"))


def requests(bad: str, good: str) -> dict[str, str]:
    """Requests a minute that end in a 503 and in a 202."""
    return {
        'convnet_server_requests_total{pod="a",lane="bulk",route="/v1/jobs/{job}/images",status="503"}': bad,
        'convnet_server_requests_total{pod="a",lane="bulk",route="/v1/jobs/{job}/images",status="202"}': good,
        # The probes' answers are not the callers'.
        'convnet_server_requests_total{pod="a",lane="none",route="/readyz",status="503"}': "0+1000x5000",
    }


def latency(late: str, all_of_them: str) -> dict[str, str]:
    """Images of the fast lane that have their result within a second, and all."""
    name = "convnet_classifier_end_to_end_seconds"
    return {f'{name}_bucket{{pod="a",lane="fast",le="1.0"}}': late, f'{name}_count{{pod="a",lane="fast"}}': all_of_them}


def accepted(values: str) -> dict[str, str]:
    return {'convnet_server_images_total{pod="a",lane="bulk",outcome="accepted"}': values}


# Steps of ten minutes.
DAY = 144
CASES: Mapping[str, Case] = {
    "ConvnetAvailabilityBudgetBurns": Case(
        # 2 % fail, 20 times what 99.9 % allows, for little more than an hour.
        Input(
            requests("0+2x70", "0+98x70"),
            "70m",
            [{"window": "1h", "severity": "page"}, {"window": "6h", "severity": "page"}, {"window": "1d", "severity": "ticket"}],
        ),
        # 3 % failed for ten minutes, and none has for two hours.
        Input(requests("0+3x10 30x140", "0+97x150"), "150m"),
    ),
    "ConvnetLatencyBudgetBurns": Case(
        # Half of the images are late, for more than three hours.
        Input(
            latency("0+50x200", "0+100x200"),
            "200m",
            [
                {"lane": "fast", "window": window, "severity": severity}
                for window, severity in (("1h", "page"), ("6h", "page"), ("1d", "ticket"), ("3d", "ticket"))
            ],
        ),
        # One in two hundred is late: half of the budget.
        Input(latency("0+199x200", "0+200x200"), "200m"),
    ),
    "ConvnetNoConsumer": Case(
        Input({'convnet_server_backlog_still_seconds{pod="a",lane="fast"}': "0+60x10"}, "5m", [{"lane": "fast"}]),
        # The bulk lane may rest for longer: a fleet comes up from zero in minutes.
        Input({'convnet_server_backlog_still_seconds{pod="a",lane="bulk"}': "0+60x4 0x10"}, "6m"),
    ),
    "ConvnetBacklogWontDrain": Case(
        Input(
            {
                'convnet_server_backlog_drain_seconds{pod="a",lane="bulk"}': "20000x60",
                'convnet_server_backlog_images{pod="a",lane="bulk"}': "100000+100x60",
            },
            "60m",
            [{"lane": "bulk"}],
        ),
        # As long, but it becomes less.
        Input(
            {
                'convnet_server_backlog_drain_seconds{pod="a",lane="bulk"}': "20000x60",
                'convnet_server_backlog_images{pod="a",lane="bulk"}': "100000-100x60",
            },
            "60m",
        ),
    ),
    "ConvnetBacklogOld": Case(
        Input({'convnet_server_backlog_oldest_seconds{pod="a",lane="bulk"}': "160000x10"}, "10m", [{"lane": "bulk"}]),
        Input({'convnet_server_backlog_oldest_seconds{pod="a",lane="bulk"}': "150000x10"}, "10m"),
    ),
    "ConvnetNoTraffic": Case(
        Input(accepted(f"0+600x{7 * DAY} {7 * DAY * 600}x6"), f"{7 * DAY + 6}0m", [{}], "10m"),
        # A Sunday without traffic, as the Sunday before it.
        Input(accepted(f"0x{DAY} 0+600x{6 * DAY} {6 * DAY * 600}x6"), f"{7 * DAY + 6}0m", interval="10m"),
    ),
    "ConvnetImagesExpired": Case(
        Input({'convnet_classifier_images_expired_total{pod="a",lane="bulk"}': "0x5 12x10"}, "10m", [{"lane": "bulk"}]),
        Input(
            {
                'convnet_classifier_images_expired_total{pod="a",lane="bulk"}': "12x10",
                'convnet_server_backlog_expired_images{pod="b",lane="bulk"}': "0x10",
            },
            "10m",
        ),
    ),
    "ConvnetResultsRefused": counted("convnet_classifier_results_refused_total", 'pod="a"', {}),
    "ConvnetUploadsUnknown": Case(
        Input({**accepted("0+90x20"), 'convnet_server_images_total{pod="a",lane="bulk",outcome="unknown"}': "0+10x20"}, "15m", [{}]),
        # Refused images are the sender's affair.
        Input({**accepted("0+90x20"), 'convnet_server_images_total{pod="a",lane="bulk",outcome="refused"}': "0+10x20"}, "15m"),
    ),
    "ConvnetDeadLettersRise": Case(
        Input(
            {
                'convnet_classifier_dead_letters_total{pod="a",reason="undecodable"}': "0+5x30",
                'convnet_classifier_images_total{pod="a",lane="bulk",result="labelled"}': "0+100x30",
            },
            "30m",
            [{"reason": "undecodable"}],
        ),
        # As many, among a hundred times as many images.
        Input(
            {
                'convnet_classifier_dead_letters_total{pod="a",reason="undecodable"}': "0+5x30",
                'convnet_classifier_images_total{pod="a",lane="bulk",result="labelled"}': "0+10000x30",
            },
            "30m",
        ),
    ),
    "ConvnetDeadLettersFull": counted("convnet_classifier_dead_letter_files_dropped_total", 'pod="a"', {}),
    "ConvnetImagesQuarantined": Case(
        Input({'convnet_classifier_dead_letters_total{pod="a",reason="quarantined"}': "0x10 1x10"}, "15m", [{}]),
        Input({'convnet_classifier_dead_letters_total{pod="a",reason="undecodable"}': "0x10 1x10"}, "15m"),
    ),
    "ConvnetForeignRecords": counted("convnet_classifier_records_skipped_total", 'pod="a",reason="wire"', {}),
    "ConvnetTargetDown": Case(
        Input({'up{pod="a",component="server"}': "1x5 0x5"}, "9m", [{"pod": "a", "component": "server"}]),
        # Away for a minute, as in a restart.
        Input({'up{pod="a",component="server"}': "1x5 0x0 1x5"}, "9m"),
    ),
    "ConvnetKafkaSilent": Case(
        Input({'convnet_server_kafka_silent_seconds{pod="a"}': "0 0+60x5"}, "5m", [{"pod": "a"}]),
        Input({'convnet_server_kafka_silent_seconds{pod="a"}': "0 20x5"}, "5m"),
    ),
    "ConvnetBacklogUnseen": Case(
        Input({'convnet_server_backlog_silent_seconds{pod="a",lane="fast"}': "0+60x10"}, "5m", [{"lane": "fast"}]),
        Input({'convnet_server_backlog_silent_seconds{pod="a",lane="fast"}': "30x10"}, "5m"),
    ),
    "ConvnetClassifiersDie": counted("convnet_classifier_images_alone_total", 'pod="a",lane="bulk"', {}),
    "ConvnetKeyExpires": Case(
        # The clock of promtool begins at 0.
        Input({'convnet_server_next_key_expiry_timestamp_seconds{pod="a"}': "1000000x5"}, "5m", [{}]),
        # 0: no key ends.
        Input({'convnet_server_next_key_expiry_timestamp_seconds{pod="a"}': "0x5"}, "5m"),
    ),
    "ConvnetCertificateExpires": Case(
        Input(
            {'convnet_kafka_client_certificate_expiry_timestamp_seconds{pod="a",component="server"}': "1000000x5"},
            "5m",
            [{"component": "server"}],
        ),
        Input({'convnet_kafka_client_certificate_expiry_timestamp_seconds{pod="a",component="server"}': "3000000x5"}, "5m"),
    ),
    "ConvnetModelNotLoaded": Case(
        Input(
            {
                'convnet_classifier_alias_version{pod="a",role="stable"}': "7x2 8x20",
                'convnet_classifier_model_version{pod="a",role="stable"}': "7x22",
            },
            "10m",
            [{"pod": "a", "role": "stable"}],
        ),
        # It takes a minute to load; there is no canary.
        Input(
            {
                'convnet_classifier_alias_version{pod="a",role="stable"}': "7x2 8x20",
                'convnet_classifier_model_version{pod="a",role="stable"}': "7x3 8x19",
                'convnet_classifier_alias_version{pod="a",role="canary"}': "0x22",
                'convnet_classifier_model_version{pod="a",role="canary"}': "0x22",
            },
            "10m",
        ),
    ),
    "ConvnetModelBroken": counted("convnet_classifier_model_broken_total", 'pod="a"', {"pod": "a"}),
    "ConvnetCanaryFails": counted("convnet_classifier_canary_failures_total", 'pod="a"', {}),
    "ConvnetCanaryDisagrees": Case(
        Input(
            {
                'convnet_classifier_compared_images_total{pod="a",role="canary",agreement="same"}': "0+8x70",
                'convnet_classifier_compared_images_total{pod="a",role="canary",agreement="other"}': "0+2x70",
            },
            "70m",
            [{"role": "canary"}],
        ),
        # As bad, but of ten images that says little.
        Input(
            {
                'convnet_classifier_compared_images_total{pod="a",role="canary",agreement="same"}': "0x60 0+0.8x10",
                'convnet_classifier_compared_images_total{pod="a",role="canary",agreement="other"}': "0x60 0+0.2x10",
            },
            "70m",
        ),
    ),
    "ConvnetClassMixDrifts": Case(
        Input(
            {
                'convnet_classifier_labels_total{pod="a",role="stable",class="cat"}': "0+90x120",
                'convnet_classifier_labels_total{pod="a",role="stable",class="dog"}': "0+10x120",
                'convnet_classifier_validation_share{pod="a",class="cat"}': "0.5x120",
                'convnet_classifier_validation_share{pod="a",class="dog"}': "0.5x120",
            },
            "120m",
            [{"role": "stable"}],
        ),
        Input(
            {
                'convnet_classifier_labels_total{pod="a",role="stable",class="cat"}': "0+75x120",
                'convnet_classifier_labels_total{pod="a",role="stable",class="dog"}': "0+25x120",
                'convnet_classifier_validation_share{pod="a",class="cat"}': "0.5x120",
                'convnet_classifier_validation_share{pod="a",class="dog"}': "0.5x120",
            },
            "120m",
        ),
    ),
    "ConvnetKafkaBrokerDown": Case(
        Input({'up{pod="k-0",component="kafka"}': "1x5 0x5"}, "9m", [{"pod": "k-0", "component": "kafka"}]),
        Input({'up{pod="k-0",component="kafka"}': "1x10"}, "9m"),
    ),
    "ConvnetKafkaUnderReplicated": Case(
        Input({'kafka_server_replicamanager_underreplicatedpartitions{pod="k-0",component="kafka"}': "0x2 3x10"}, "10m", [{}]),
        # A broker that restarts, and is back in time.
        Input({'kafka_server_replicamanager_underreplicatedpartitions{pod="k-0",component="kafka"}': "0x2 3x3 0x10"}, "10m"),
    ),
    "ConvnetKafkaOfflinePartitions": Case(
        Input({'kafka_controller_kafkacontroller_offlinepartitionscount{pod="k-0",component="kafka"}': "0x2 1x10"}, "5m", [{}]),
        Input({'kafka_controller_kafkacontroller_offlinepartitionscount{pod="k-0",component="kafka"}': "0x10"}, "5m"),
    ),
    "ConvnetKafkaDiskFills": Case(
        # 100 GB, of which 1 GB more is taken every five minutes: 75 GB are free, and gone in 6 hours.
        Input(
            {
                'kubelet_volume_stats_available_bytes{persistentvolumeclaim="data-0-kafka-broker-0"}': "75e9-0.2e9x60",
                'kubelet_volume_stats_capacity_bytes{persistentvolumeclaim="data-0-kafka-broker-0"}': "100e9x60",
            },
            "60m",
            [{"persistentvolumeclaim": "data-0-kafka-broker-0"}],
        ),
        # A tenth of that speed.
        Input(
            {
                'kubelet_volume_stats_available_bytes{persistentvolumeclaim="data-0-kafka-broker-0"}': "75e9-0.02e9x60",
                'kubelet_volume_stats_capacity_bytes{persistentvolumeclaim="data-0-kafka-broker-0"}': "100e9x60",
            },
            "60m",
        ),
    ),
    "ConvnetReplicasMissing": Case(
        Input(
            {
                'kube_deployment_spec_replicas{deployment="one-classifier"}': "3x30",
                'kube_deployment_status_replicas_available{deployment="one-classifier"}': "2x30",
            },
            "20m",
            [{"deployment": "one-classifier"}],
        ),
        # Another release's.
        Input(
            {
                'kube_deployment_spec_replicas{deployment="other-classifier"}': "3x30",
                'kube_deployment_status_replicas_available{deployment="other-classifier"}': "2x30",
            },
            "20m",
        ),
    ),
    "ConvnetPodRestarts": Case(
        Input(
            {'kube_pod_container_status_restarts_total{pod="one-server-x-y",container="server"}': "0x5 0+1x10"},
            "15m",
            [{"pod": "one-server-x-y", "container": "server"}],
        ),
        Input({'kube_pod_container_status_restarts_total{pod="one-server-x-y",container="server"}': "0x5 1x10"}, "15m"),
    ),
}
