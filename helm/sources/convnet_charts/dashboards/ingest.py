"""How images come in: requests, answers, and where an upload's time goes."""

from __future__ import annotations

from convnet_charts.dashboards.board import Levels, board, graph, number, row
from convnet_charts.dashboards.queries import PODS, Query, largest, mean, quantile, quantiles, rate, total


def ingest() -> str:
    """The dashboard `convnet-ingest`."""
    accepted = rate("convnet_server_images_total", outcome="accepted")
    requests = (
        number("Accepted", "Images a second that Kafka has taken.", "ops", Query(accepted, "")),
        number("Body bytes", "Bytes of upload bodies a second.", "Bps", Query(rate("convnet_server_upload_bytes_total"), "")),
        number(
            "Bytes an image",
            "Of upload bodies, archives' own bytes included.",
            "bytes",
            Query(f"{rate('convnet_server_upload_bytes_total')} / ({accepted} > 0)", ""),
            none="no images",
        ),
        number(
            "5xx",
            "Share of uploads, classify calls and jobs to be opened that end in a 5xx.",
            "percentunit",
            Query(
                f"({rate('convnet_server_requests_total', lane__re='bulk|fast', status__re='5..')} or vector(0)) / "
                f"{rate('convnet_server_requests_total', lane__re='bulk|fast')}",
                "",
            ),
            levels=Levels(0.001, 0.01),
            runbook="ConvnetAvailabilityBudgetBurns",
        ),
        number(
            "Unknown",
            "Share of the uploaded images that Kafka did not acknowledge in time; callers send them again.",
            "percentunit",
            Query(
                f"{rate('convnet_server_images_total', outcome='unknown')} / "
                f"{rate('convnet_server_images_total', outcome__re='accepted|unknown')}",
                "",
            ),
            levels=Levels(0.001, 0.01),
            runbook="ConvnetUploadsUnknown",
        ),
        number(
            "Kafka silent for",
            "Seconds since Kafka last answered a server; past 10 it is not ready.",
            "s",
            Query(largest("convnet_server_kafka_silent_seconds"), ""),
            levels=Levels(5, 10),
            runbook="ConvnetKafkaSilent",
        ),
        graph(
            "Requests by route",
            "Requests a second, probes and pages too.",
            "reqps",
            Query(rate("convnet_server_requests_total", "route"), "{{route}}"),
            stacked=True,
        ),
        graph(
            "Answers by status",
            "Of uploads, classify, jobs to be opened. 401, 403: keys; 409, 413: what senders send; 429: a limit; 503: load or Kafka.",
            "reqps",
            Query(rate("convnet_server_requests_total", "lane", "status", lane__re="bulk|fast"), "{{lane}} {{status}}"),
            stacked=True,
            runbook="ConvnetAvailabilityBudgetBurns",
        ),
        graph(
            "Images by outcome",
            "Accepted: Kafka has them. Refused: final, for a reason. Unknown: Kafka did not acknowledge in time.",
            "ops",
            Query(rate("convnet_server_images_total", "lane", "outcome"), "{{lane}} {{outcome}}"),
            stacked=True,
            runbook="ConvnetUploadsUnknown",
        ),
    )
    time = (
        graph(
            "Request time",
            "From headers to answer, of answers below 400. A classify call waits for its labels, an upload for Kafka.",
            "s",
            *quantiles("convnet_server_request_seconds", "lane", lane__re="bulk|fast", route__not="/v1/jobs"),
        ),
        graph(
            "Taking in",
            "From headers to the last image handed to Kafka's client: the sender's network, parsing, and waiting for room.",
            "s",
            *quantiles("convnet_server_accept_seconds", "lane"),
        ),
        graph(
            "Kafka's acknowledgement",
            "From the last image handed over until Kafka has acknowledged all of a request.",
            "s",
            *quantiles("convnet_server_acknowledge_seconds", "lane"),
            runbook="ConvnetUploadsUnknown",
        ),
    )
    pressure = (
        graph(
            "Uploads in progress",
            "By server. Near CONVNET_SERVER_MAX_UPLOADS callers are answered 429.",
            "short",
            Query(total("convnet_server_uploads", "pod", scope=PODS), "{{pod}}"),
            width=6,
        ),
        graph(
            "Classify calls in progress",
            "By server. Near CONVNET_SERVER_MAX_CLASSIFY callers are answered 503.",
            "short",
            Query(total("convnet_server_classify_calls", "pod", scope=PODS), "{{pod}}"),
            width=6,
        ),
        graph(
            "Waiting in the producer",
            "Images handed to Kafka's client and not acknowledged, by server and lane.",
            "short",
            Query(total("convnet_server_producer_queue", "pod", "lane", scope=PODS), "{{pod}} {{lane}}"),
            width=6,
        ),
        graph(
            "Waits for room",
            "Uploads a second that had to wait: for the producer's queue (Kafka is slow), or for memory (large images come slowly).",
            "ops",
            Query(rate("convnet_server_queue_full_total"), "producer's queue"),
            Query(rate("convnet_server_assembly_waits_total"), "memory"),
            width=6,
        ),
        graph(
            "Memory and disk of uploads",
            "Bytes of images that have come in part, and of zip archives on disk.",
            "bytes",
            Query(total("convnet_server_assembling_bytes", "pod", scope=PODS), "{{pod}} in part"),
            Query(total("convnet_server_spool_bytes", "pod", scope=PODS), "{{pod}} zip"),
        ),
        graph(
            "Event loop late by",
            "How late the loop of a server was, looked at once a second. Tenths of a second: the process is full; more of them.",
            "s",
            Query(quantile(0.5, "convnet_server_loop_delay_seconds", "pod", scope=PODS), "{{pod}} p50"),
            Query(quantile(0.99, "convnet_server_loop_delay_seconds", "pod", scope=PODS), "{{pod}} p99"),
        ),
        graph(
            "Refused images",
            "Images a second that are refused for good, by reason.",
            "ops",
            Query(rate("convnet_server_images_refused_total", "reason"), "{{reason}}"),
            stacked=True,
        ),
    )
    readers = (
        graph(
            "Readers of labels",
            "Callers that follow labels now, by server.",
            "short",
            Query(total("convnet_server_label_readers", "pod", scope=PODS), "{{pod}}"),
            width=6,
        ),
        graph(
            "Labels sent",
            "Labels a second, to pages and streams.",
            "ops",
            Query(rate("convnet_server_labels_sent_total"), "labels"),
            width=6,
        ),
        graph(
            "Repeated results",
            "Results a second that came again for an image that had one: a classifier died, or lost its partitions.",
            "ops",
            Query(rate("convnet_server_results_repeated_total"), "repeated"),
            width=6,
            runbook="ConvnetClassifiersDie",
        ),
        graph(
            "Refused callers",
            "Requests a second without a key, with one that may not, or above its rate.",
            "reqps",
            Query(rate("convnet_server_access_refused_total", "reason"), "{{reason}}"),
            width=6,
        ),
        graph(
            "Labels skipped",
            "Records of the labels topic that are not as the wire format says.",
            "ops",
            Query(rate("convnet_server_label_records_skipped_total"), "skipped"),
            width=12,
            runbook="ConvnetForeignRecords",
        ),
        graph(
            "Mean size of a request",
            "Bytes of body for each upload, and the mean seconds that it takes.",
            "bytes",
            Query(
                f"{rate('convnet_server_upload_bytes_total')} / "
                f"{rate('convnet_server_request_seconds_count', lane__re='bulk|fast', route__not='/v1/jobs')}",
                "bytes",
            ),
            width=6,
        ),
        graph(
            "Mean time of a request",
            "Mean seconds from headers to answer, by route.",
            "s",
            Query(mean("convnet_server_request_seconds", "route", lane__re="bulk|fast"), "{{route}}"),
            width=6,
        ),
    )
    return board(
        "convnet-ingest",
        "convnet-kafka / Ingest",
        "How images come in: requests and answers, where an upload's time goes, and what is near its limit.",
        [
            row("", *requests),
            row("Where the time goes", *time),
            row("Under load", *pressure),
            row("Reading labels, keys, records", *readers),
        ],
    )
