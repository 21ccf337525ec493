"""Strimzi's metrics reporter in the local broker, as an option: Kafka's metrics under the names that they have in a cluster.

Data only: the pinned jars and the settings. The jars are those of `io.strimzi:metrics-reporter` and its runtime dependencies as Maven
resolves them. Later versions of it publish only their part for clients; the names that this one gives are made by the same rules.
"""

from __future__ import annotations

from convnet_kafka.local.kafkajars import Jar
from convnet_kafka.local.process import HOST

_REPORTER_VERSION = "0.2.0"
_PROMETHEUS = "io.prometheus"
_PROMETHEUS_VERSION = "1.3.6"

# What dashboards and rules read, by prefixes of metrics' names, and what helps to understand it: 25 ms and some 50 kB a scrape. All that a
# broker has would be ten times that. The JVM's metrics come with it always.
ALLOWED = (
    "kafka_controller_controllerstats_uncleanleaderelectionspersec.*",
    "kafka_controller_kafkacontroller_.*",
    "kafka_log_log_size",
    "kafka_log_logmanager_offlinelogdirectorycount",
    "kafka_network_requestmetrics_requestspersec.*",
    "kafka_network_requestmetrics_totaltimems.*",
    "kafka_network_socketserver_networkprocessoravgidlepercent",
    "kafka_server_brokertopicmetrics_.*",
    "kafka_server_group_coordinator_metrics_consumer_group_.*",
    "kafka_server_kafkarequesthandlerpool_.*",
    "kafka_server_replicamanager_.*",
)

REPORTER_JARS: tuple[Jar, ...] = (
    Jar("io.strimzi", "metrics-reporter", _REPORTER_VERSION, 32_120, "e6aa373a7a99dfc384c59ac925d52e19506a29d3c784bf1e76d8271cc30aec9c"),
    *(
        Jar(_PROMETHEUS, f"prometheus-metrics-{name}", _PROMETHEUS_VERSION, size, sha256)
        for name, size, sha256 in (
            ("config", 33_215, "32e6ecf39f3ab76eee94ee69102795f8ed80024d27fda0ba41d54f25ac887fad"),
            ("core", 95_554, "681eb8f906dbd30e396bb69b1aeff711a652f1464e2c87b36813f895d124ac67"),
            ("exporter-common", 10_277, "f2a2e0dcd101764cf2cceb57895c0cb1839f8eac17f6315112b7cb031db4e9a8"),
            ("exporter-httpserver", 19_978, "b5db074b19cd439ad358eacdf6ca191eb744f8a14c9833f6c3c8db43ff463a0b"),
            # A Prometheus that asks for native histograms asks for this form, and gets an error where it is missing.
            ("exposition-formats", 2_094_866, "527c5e21767934fa1d7fb0f4581f560254fe15fff5b86046eb3d669aec8ae000"),
            ("exposition-textformats", 19_592, "2d9e03503c2bcd1c913f2a4f82d2ebef8b9df971c6f22de7993dfabe01d575f9"),
            ("instrumentation-jvm", 53_250, "c063e6df55bf27c01e746bd33191b34b373b8595cc3acf9cab861e170c192508"),
            ("model", 90_911, "51a8da74c037ddd5c94dd6bfc828e60b748efede0dc3fae6f188d4e0bbeadd75"),
            ("tracer-common", 3280, "f74e318a30aafe29c169488c4535f4170714625cb50fcfd56c2854c3c5f66f09"),
            ("tracer-initializer", 3967, "1d118d948670b0ee467114b6866c83d470347427134cbb201c52d8ce99806740"),
            ("tracer-otel", 3975, "fa4f5061549e1c5b1ae362160ee0ebb7d87dc86fef8bbd179e5aa0754c020b3f"),
            ("tracer-otel-agent", 4276, "5dfb4c10c0834563909c185efab8675e513541847bb8e4751a882a37cc778417"),
        )
    ),
)


def reporter_settings(port: int) -> dict[str, str]:
    """The broker's settings (`server.properties`) for metrics at `http://127.0.0.1:<port>/metrics`; the jars above must be loaded."""
    return {
        # Kafka has two families of metrics, each with its own kind of reporter; one listener serves both.
        "metric.reporters": "io.strimzi.kafka.metrics.KafkaPrometheusMetricsReporter",
        "kafka.metrics.reporters": "io.strimzi.kafka.metrics.YammerPrometheusMetricsReporter",
        "prometheus.metrics.reporter.listener": f"http://{HOST}:{port}",
        "prometheus.metrics.reporter.allowlist": ",".join(ALLOWED),
    }
