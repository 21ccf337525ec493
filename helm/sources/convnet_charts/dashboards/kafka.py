"""What waits in Kafka, how our clients see it, and how its brokers are."""

from __future__ import annotations

from convnet_charts.dashboards.board import Levels, board, graph, number, row
from convnet_charts.dashboards.queries import BROKERS, INTERVAL, PODS, Query, largest, rate, total


def kafka() -> str:
    """The dashboard `convnet-kafka`."""
    lag = (
        graph(
            "Backlog",
            "Images that wait, by lane: the topic's ends less what the group has committed.",
            "short",
            Query(largest("convnet_server_backlog_images", "lane"), "{{lane}}"),
            runbook="ConvnetBacklogWontDrain",
        ),
        graph(
            "Time to drain",
            "Seconds until all that waits is done, at the present rate. Below 0: nobody knows, as nothing is being done.",
            "s",
            Query(largest("convnet_server_backlog_drain_seconds", "lane"), "{{lane}}"),
            runbook="ConvnetBacklogWontDrain",
        ),
        graph(
            "Oldest image",
            "How long the oldest image has waited.",
            "s",
            Query(largest("convnet_server_backlog_oldest_seconds", "lane"), "{{lane}}"),
            runbook="ConvnetBacklogOld",
        ),
        graph(
            "Standing still",
            "Seconds for which images have waited and none was done: no classifier takes them.",
            "s",
            Query(largest("convnet_server_backlog_still_seconds", "lane"), "{{lane}}"),
            levels=Levels(60, 300),
            runbook="ConvnetNoConsumer",
        ),
        graph(
            "Expired before they were done",
            "Images that retention removed, and that no classifier has passed yet. Each is lost.",
            "short",
            Query(largest("convnet_server_backlog_expired_images", "lane"), "{{lane}}"),
            runbook="ConvnetImagesExpired",
        ),
        graph(
            "Backlog last seen",
            "Seconds since a server last saw the backlog. Past 30 it refuses nothing for it.",
            "s",
            Query(largest("convnet_server_backlog_silent_seconds", "lane"), "{{lane}}"),
            levels=Levels(30, 60),
            runbook="ConvnetBacklogUnseen",
        ),
    )
    clients = (
        graph(
            "Round trip",
            "99th percentile of seconds from request to answer of the slowest broker, as our clients see it.",
            "s",
            Query(
                largest("convnet_kafka_client_round_trip_seconds", "component", "client", "lane", scope=PODS, quantile="0.99"),
                "{{component}} {{client}} {{lane}}",
            ),
        ),
        graph(
            "Queued in clients",
            "Records in the clients' queues: to be sent, or read ahead.",
            "short",
            Query(
                total("convnet_kafka_client_queue_messages", "component", "client", "lane", scope=PODS), "{{component}} {{client}} {{lane}}"
            ),
        ),
        graph(
            "Bytes queued in clients",
            "Bounded by KAFKA_MEMORY_BUDGET_MIB in each process.",
            "bytes",
            Query(
                total("convnet_kafka_client_queue_bytes", "component", "client", "lane", scope=PODS), "{{component}} {{client}} {{lane}}"
            ),
        ),
        graph(
            "Troubles a second",
            "Errors, time-outs, requests sent again, and broken connections of all our clients.",
            "ops",
            Query(rate("convnet_kafka_client_errors_total"), "errors"),
            Query(rate("convnet_kafka_client_request_timeouts_total"), "time-outs"),
            Query(rate("convnet_kafka_client_retries_total"), "sent again"),
            Query(rate("convnet_kafka_client_disconnects_total"), "disconnected"),
            width=6,
        ),
        graph(
            "Brokers in reach",
            "Brokers that the client least well connected has a connection to.",
            "short",
            Query(f"min by (component, client) ({PODS('convnet_kafka_client_brokers_up')})", "{{component}} {{client}}"),
            width=6,
            runbook="ConvnetKafkaSilent",
        ),
        graph(
            "Throttled",
            "Seconds that brokers hold our clients back, by quota.",
            "s",
            Query(largest("convnet_kafka_client_throttle_seconds", "component", "client", scope=PODS), "{{component}} {{client}}"),
            width=6,
        ),
        graph(
            "To and from Kafka",
            "Bytes a second of all our clients.",
            "Bps",
            Query(rate("convnet_kafka_client_sent_bytes_total", "component"), "{{component}} sent"),
            Query(rate("convnet_kafka_client_received_bytes_total", "component"), "{{component}} received"),
            width=6,
        ),
    )
    health = (
        number(
            "Brokers",
            "Brokers that give metrics.",
            "short",
            Query(f"sum ({BROKERS('up')})", ""),
            none="none",
            runbook="ConvnetKafkaBrokerDown",
        ),
        number(
            "Under-replicated",
            "Partitions with fewer copies than they should have.",
            "short",
            Query(total("kafka_server_replicamanager_underreplicatedpartitions", scope=BROKERS), ""),
            levels=Levels(1, 10),
            runbook="ConvnetKafkaUnderReplicated",
        ),
        number(
            "Offline",
            "Partitions that nobody serves.",
            "short",
            Query(largest("kafka_controller_kafkacontroller_offlinepartitionscount", scope=BROKERS), ""),
            levels=Levels(1, 1),
            runbook="ConvnetKafkaOfflinePartitions",
        ),
        number(
            "Request threads idle",
            "Of the busiest broker. Below 0.3 it is near its limit.",
            "percentunit",
            Query(
                f"min (rate({BROKERS('kafka_server_kafkarequesthandlerpool_requesthandleravgidlepercent_total')}[{INTERVAL}])) / 1e9", ""
            ),
            levels=Levels(0.5, 0.3, falling=True),
        ),
        number(
            "Network threads idle",
            "Of the busiest broker.",
            "percentunit",
            Query(f"min ({BROKERS('kafka_network_socketserver_networkprocessoravgidlepercent')})", ""),
            levels=Levels(0.5, 0.3, falling=True),
        ),
        number(
            "Heap in use",
            "Of the broker that uses most.",
            "percentunit",
            Query(
                f"max ({BROKERS('jvm_memory_used_bytes', area='heap')} / {BROKERS('jvm_memory_max_bytes', area='heap')})",
                "",
            ),
            levels=Levels(0.85, 0.95),
        ),
    )
    topic = {"topic__not": ""}
    brokers = (
        graph(
            "Bytes in by topic",
            "Bytes a second that are written, before replication.",
            "Bps",
            Query(rate("kafka_server_brokertopicmetrics_bytesinpersec_total", "topic", scope=BROKERS, **topic), "{{topic}}"),
            stacked=True,
        ),
        graph(
            "Bytes out by topic",
            "Bytes a second that are read.",
            "Bps",
            Query(rate("kafka_server_brokertopicmetrics_bytesoutpersec_total", "topic", scope=BROKERS, **topic), "{{topic}}"),
            stacked=True,
        ),
        graph(
            "Records in by topic",
            "Records a second. A record of labels may hold the results of several images.",
            "ops",
            Query(rate("kafka_server_brokertopicmetrics_messagesinpersec_total", "topic", scope=BROKERS, **topic), "{{topic}}"),
        ),
        graph(
            "Time of requests",
            "99th percentile of milliseconds that brokers take for a request, waiting for other brokers included.",
            "ms",
            Query(
                largest(
                    "kafka_network_requestmetrics_totaltimems",
                    "request",
                    scope=BROKERS,
                    quantile="0.99",
                    request__re="Produce|FetchConsumer|OffsetCommit",
                ),
                "{{request}}",
            ),
        ),
        graph(
            "Groups by state",
            "Consumer groups. One that is Empty has no member.",
            "short",
            Query(total("kafka_server_group_coordinator_metrics_consumer_group_count", "state", scope=BROKERS), "{{state}}"),
            stacked=True,
            runbook="ConvnetNoConsumer",
        ),
        graph(
            "Bytes on disk by topic",
            "All copies. Images are deleted by time alone, classified or not.",
            "bytes",
            Query(total("kafka_log_log_size", "topic", scope=BROKERS), "{{topic}}"),
            stacked=True,
            runbook="ConvnetKafkaDiskFills",
        ),
    )
    return board(
        "convnet-kafka",
        "convnet-kafka / Kafka and lag",
        "What waits in Kafka, how our clients see it, and how its brokers are.",
        [row("What waits", *lag), row("Our clients", *clients), row("Brokers", *health, *brokers)],
        brokers=True,
    )
