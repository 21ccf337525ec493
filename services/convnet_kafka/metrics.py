"""Every metric of every service, named once, each with what it means and what to do about it. One class a service, one section each.

Counted per request or batch, never per image: an increment costs about 1 us. Imports nothing of the services.
"""

from __future__ import annotations

import os

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

# Set by whoever starts several processes that answer for one another (server/processes.py); prometheus_client reads it when imported.
MULTIPROCESS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def process_registry() -> CollectorRegistry:
    """A registry with this process's CPU, memory and file descriptors in it."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a time stamp beside every counter, which nothing reads
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """All metrics in Prometheus' text format: of this process, or of all that share its port."""
    if os.environ.get(MULTIPROCESS_FOLDER):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


# ---- ingest server -------------------------------------------------------------------------------------------------------------


class ServerMetrics:
    """Metrics of the ingest server.

    Args:
        registry: where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.requests = Counter(
            "convnet_server_requests_total",
            "Requests answered, by route and status. 5xx: look at the log; 429 and 503: more replicas, or Kafka is in trouble.",
            ["route", "status"],
            registry=registry,
        )
        self.refused = Counter(
            "convnet_server_access_refused_total",
            "Requests refused for who sent them, by reason: unauthenticated (no key, or one that gives no access: somebody guesses, or a "
            "key has ended), not-allowed (the key is for other calls), rate-limited (the key's rate is used up: is it set right?).",
            ["reason"],
            registry=registry,
        )
        self.images = Counter(
            "convnet_server_images_total",
            "Images by what became of them: accepted (Kafka holds them), refused (final), unknown (Kafka did not acknowledge in time: "
            "a rate of unknown means that Kafka is slow or away).",
            ["outcome"],
            registry=registry,
        )
        self.upload_bytes = Counter(
            "convnet_server_upload_bytes_total", "Bytes of upload bodies that were read, accepted or not.", registry=registry
        )
        self.upload_seconds = Histogram(
            "convnet_server_upload_seconds",
            "Seconds from an upload's headers to its answer, the wait for Kafka's acknowledgements included.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
            registry=registry,
        )
        self.classify_seconds = Histogram(
            "convnet_server_classify_seconds",
            "Seconds from a classify call's headers to its answer. Past the time-out the answer is 202: more classifiers are needed.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=registry,
        )
        self.uploads = Gauge(
            "convnet_server_uploads",
            "Uploads in progress. Near CONVNET_SERVER_MAX_UPLOADS callers are answered 429: more replicas.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.assembling = Gauge(
            "convnet_server_assembling_bytes",
            "Bytes of images of which only a part has come, and of decoders of compressed bodies. Past CONVNET_SERVER_UPLOAD_MEMORY_MIB "
            "senders wait: more memory or more replicas, or somebody sends large images very slowly.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.assembly_waits = Counter(
            "convnet_server_assembly_waits_total",
            "Times an upload waited because too many images had come in part. Rising: as for convnet_server_assembling_bytes.",
            registry=registry,
        )
        self.spooled = Gauge(
            "convnet_server_spool_bytes",
            "Bytes of disk taken for zip archives in progress. Near CONVNET_SERVER_SPOOL_MIB their senders are answered 429.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.classify_calls = Gauge(
            "convnet_server_classify_calls",
            "Calls of classify in progress. Near CONVNET_SERVER_MAX_CLASSIFY callers are answered 503: more replicas.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.backlog_images = Gauge(
            "convnet_server_backlog_images",
            "Images that wait in a lane for classifiers: ends of the topic less what the group has committed. Rising: more classifiers.",
            ["lane"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.backlog_drain = Gauge(
            "convnet_server_backlog_drain_seconds",
            "Seconds until all that waits in a lane is done, at the rate it is done now; -1 when images wait and nobody knows (no "
            "classifier works, or too little waits to tell). Past CONVNET_SERVER_BULK_DRAIN_LIMIT_S uploads are answered 503.",
            ["lane"],
            multiprocess_mode="livemostrecent",
            registry=registry,
        )
        self.backlog_oldest = Gauge(
            "convnet_server_backlog_oldest_seconds",
            "Seconds that the oldest image of a lane has waited, to some 10 %, 0 below 2 s. Past half of the retention uploads are "
            "answered 503 (backlog-too-old): start classifiers.",
            ["lane"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.backlog_expired = Gauge(
            "convnet_server_backlog_expired_images",
            "Images of a lane that retention removed before they were classified, and that no classifier has passed yet: accepted and "
            "lost. An incident: start classifiers, which count them.",
            ["lane"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.backlog_silent = Gauge(
            "convnet_server_backlog_silent_seconds",
            "Seconds since the lane's backlog was last seen, 1e9 before the first time. Past 30 nothing is refused for it: may this server "
            "read its topics and the offsets of the classifiers' groups?",
            ["lane"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.followers = Gauge(
            "convnet_server_label_readers", "Callers that are reading labels now.", multiprocess_mode="livesum", registry=registry
        )
        self.labels = Counter("convnet_server_labels_sent_total", "Labels given to readers, pages and streams.", registry=registry)
        self.label_records_skipped = Counter(
            "convnet_server_label_records_skipped_total",
            "Times a record of the labels topic was passed over by a reader, because it is not as docs/wire.md says (no JSON object, no "
            "image id, a newer wire version): the log says where it is. Somebody else writes to the labels topic, or servers are too old.",
            registry=registry,
        )
        self.queue_full = Counter(
            "convnet_server_queue_full_total",
            "Times an upload waited because the producer's queue was full: uploads come faster than Kafka takes them.",
            registry=registry,
        )
        self.producer_queue = Gauge(
            "convnet_server_producer_queue",
            "Images handed to the producers and not acknowledged yet.",
            ["lane"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.kafka_silent = Gauge(
            "convnet_server_kafka_silent_seconds",
            "Seconds since Kafka last answered, 1e9 before the first time. The server is not ready past "
            "CONVNET_SERVER_KAFKA_DOWN_UNREADY_S.",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.ready = Gauge(
            "convnet_server_ready",
            "1 when this process is ready, else 0; processes of one pod are summed.",
            multiprocess_mode="livesum",
            registry=registry,
        )


# ---- classifier ----------------------------------------------------------------------------------------------------------------


class ClassifierMetrics:
    """Metrics of a classifier.

    Args:
        registry: where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.images = Counter(
            "convnet_classifier_images_total",
            "Images by lane and result: labelled, or why not. undecodable, unsupported, too-large: what senders send; model-error: look at "
            "the dead letters and the model.",
            ["lane", "result"],
            registry=registry,
        )
        self.batch_images = Histogram(
            "convnet_classifier_batch_images",
            "Images in a batch. Near 1 under load: work comes in drops, or single images are dear.",
            ["lane"],
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
            registry=registry,
        )
        self.busy = Counter(
            "convnet_classifier_busy_seconds_total",
            "Seconds of work by step: parse, decode, predict, publish, shadow (what a model in the shadow costs). The sum's rate near 1: "
            "this replica is full, add replicas.",
            ["step"],
            registry=registry,
        )
        self.waited = Histogram(
            "convnet_classifier_waited_seconds",
            "Seconds from submission to result, of the oldest image of each batch. Rising: more replicas.",
            ["lane"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400),
            registry=registry,
        )
        self.expired = Counter(
            "convnet_classifier_images_expired_total",
            "Images that Kafka's retention removed before they were read: accepted and lost. An incident, each time: more replicas, "
            "longer retention.",
            ["lane"],
            registry=registry,
        )
        self.alone = Counter(
            "convnet_classifier_images_alone_total",
            "Images that were handled one by one, because a classifier died with them in flight. Rising: classifiers die; the log, and the "
            "dead letters with reason quarantined, say of what.",
            ["lane"],
            registry=registry,
        )
        self.skipped = Counter(
            "convnet_classifier_records_skipped_total",
            "Records that no result can be addressed to: wire (not written by our rules) or reply-partition (the labels topic has no such "
            "partition). Somebody else writes to the images topics.",
            ["reason"],
            registry=registry,
        )
        self.resent = Counter(
            "convnet_classifier_results_resent_total",
            "Results that Kafka did not take and that were sent again: is the labels topic there, and writable?",
            registry=registry,
        )
        self.refused = Counter(
            "convnet_classifier_results_refused_total",
            "Results or dead letters that Kafka refused for good and that were given up: is the topic's max.message.bytes as "
            "'convnet-kafka topics check' wants it?",
            registry=registry,
        )
        self.model_errors = Counter(
            "convnet_classifier_model_broken_total",
            "Times the model failed even on its own warm-up batch and was taken out of use: set the stable alias to a sound version.",
            registry=registry,
        )
        self.model = Gauge("convnet_classifier_model_version", "Version of the model in use, 0 for none.", registry=registry)
        self.trial = Gauge(
            "convnet_classifier_trial_version",
            "Version in use by role, canary or shadow, 0 for none. 0 while the alias is set: it failed, look at the log.",
            ["role"],
            registry=registry,
        )
        self.load_failures = Counter(
            "convnet_classifier_model_load_failures_total",
            "Versions that could not be loaded, by role: stable (the old one goes on), canary or shadow (stable answers). The log says "
            "why: mend the files or set the alias to another version.",
            ["role"],
            registry=registry,
        )
        self.canary_failures = Counter(
            "convnet_classifier_canary_failures_total",
            "Images that the canary failed on and stable answered in its place. Any at all: end the canary and look at its version.",
            registry=registry,
        )
        self.shadow_images = Counter(
            "convnet_classifier_shadow_images_total",
            "Images that stable answered and the shadow predicted too, by agreement: same or other class, or failed. What share is the "
            "same says how much a promotion would change.",
            ["agreement"],
            registry=registry,
        )
        self.cancelled_jobs = Gauge(
            "convnet_classifier_cancelled_jobs",
            "Cancelled jobs that are remembered until their life is over; at most 50,000, the oldest are forgotten first.",
            registry=registry,
        )
        self.partitions = Gauge("convnet_classifier_partitions", "Partitions assigned to this replica.", ["lane"], registry=registry)
        self.in_flight = Gauge(
            "convnet_classifier_batches_in_flight", "Batches whose results Kafka has not acknowledged yet.", ["lane"], registry=registry
        )
        self.ready = Gauge("convnet_classifier_ready", "1 when this replica is ready, else 0.", registry=registry)
