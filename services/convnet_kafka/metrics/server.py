"""The metrics of the ingest server. Counted once for each request or look, never for each image: an increment costs about 1 us."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Histogram

from convnet_kafka.metrics.catalogue import Catalogue, Labels
from convnet_kafka.metrics.kafka_client import KafkaClientMetrics
from convnet_kafka.metrics.process import ProcessMetrics
from convnet_kafka.metrics.values import ACKNOWLEDGEMENTS, LANES, NO_LANE, REFUSALS, REQUESTS

_LANE: Labels = {"lane": LANES}
# Routes by what they put images on, unless the job says otherwise; opening a job says it too. All others are of no lane.
LANE_OF = {"/v1/jobs/{job}/images": "bulk", "/v1/classify": "fast"}
# Answers from here on are errors: how long those took says nothing of how long the work takes.
_ERRORS = 400


class ServerMetrics:
    """Of one server process, or of several that share a port.

    Args:
        registry: where they are registered.

    Attributes:
        catalogue: what is known of each.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        make = self.catalogue = Catalogue(registry)
        self.process = ProcessMetrics(make)
        self.kafka = KafkaClientMetrics(make)
        self._http(make)
        self._images(make)
        self._results(make)
        self._bounds(make)
        self._backlog(make)
        self._state(make)
        self._answers = lru_cache(maxsize=1024)(self._answer_counts)

    def answered(self, route: str, status: int, seconds: float, lane: str | None = None) -> None:
        """Count one answered request.

        Args:
            route: the template of its path.
            status: of the answer.
            seconds: from the end of its headers to the end of the answer.
            lane: that its images are on, where that is known better than by the route.
        """
        counter, histogram = self._answers(route, status, lane)
        counter.inc()
        if status < _ERRORS:
            histogram.observe(seconds)

    def _answer_counts(self, route: str, status: int, lane: str | None) -> tuple[Counter, Histogram]:
        lane = lane or LANE_OF.get(route, NO_LANE)
        return self.requests.labels(lane, route, str(status)), self.request_seconds.labels(lane, route)

    def _http(self, make: Catalogue) -> None:
        of: Labels = {"lane": "bulk or fast: opening jobs, uploads and classify, none: all else", "route": "template of the path"}
        self.requests = make.counter(
            "convnet_server_requests_total",
            "Requests answered, by route and status.",
            unit="requests",
            todo="5xx: look at the log; 429 and 503: more replicas, or Kafka is in trouble; 499: callers that went away before.",
            labels=of | {"status": "of the answer"},
        )
        self.request_seconds = make.histogram(
            "convnet_server_request_seconds",
            "Seconds from a request's headers to the end of its answer, of answers below 400; uploads wait for Kafka's acknowledgement, "
            "classify for its labels, label streams for their reader.",
            buckets=REQUESTS,
            todo="Uploads slow: look at acknowledge_seconds; classify slow: at the classifiers' queue_seconds.",
            labels=of,
        )
        self.refused = make.counter(
            "convnet_server_access_refused_total",
            "Requests refused for who sent them: no valid key, a key for other calls, a key whose rate is used up.",
            unit="requests",
            todo="unauthenticated: somebody guesses, or a key has ended; rate-limited: is the rate set right?",
            labels={"reason": ("unauthenticated", "not-allowed", "rate-limited")},
            rare=True,
        )
        self.next_key_expiry = make.gauge(
            "convnet_server_next_key_expiry_timestamp_seconds",
            "When the next API key in use ends, unix time; 0 when none has an end.",
            unit="seconds",
            across="livemax",
            todo="Soon: rotate it (convnet-kafka keys rotate), or let it end.",
            rare=True,
        )

    def _images(self, make: Catalogue) -> None:
        self.images = make.counter(
            "convnet_server_images_total",
            "Images by what became of them: accepted (Kafka holds them), refused (final), unknown (Kafka did not acknowledge in time).",
            unit="images",
            todo="A rate of unknown: Kafka is slow or away.",
            labels=_LANE | {"outcome": ("accepted", "refused", "unknown")},
        )
        self.images_refused = make.counter(
            "convnet_server_images_refused_total",
            "Refused images by reason (docs/http.md).",
            unit="images",
            todo="What senders send; too-large: is KAFKA_MAX_IMAGE_BYTES right?",
            labels={"reason": REFUSALS},
        )
        self.upload_bytes = make.counter(
            "convnet_server_upload_bytes_total",
            "Bytes of upload bodies that were read, accepted or not.",
            unit="bytes",
            todo="For capacity.",
        )
        self.accept_seconds = make.histogram(
            "convnet_server_accept_seconds",
            "Seconds from a request's headers until its last image was handed to Kafka's client.",
            buckets=REQUESTS,
            todo="Long: the sender is slow, or senders wait for room (queue_full, assembly_waits).",
            labels=_LANE,
        )
        self.acknowledge_seconds = make.histogram(
            "convnet_server_acknowledge_seconds",
            "Seconds from there until Kafka has acknowledged all images of the request.",
            buckets=ACKNOWLEDGEMENTS,
            todo="Rising: the brokers' disks, or replicas that lag.",
            labels=_LANE,
        )

    def _results(self, make: Catalogue) -> None:
        self.labels = make.counter("convnet_server_labels_sent_total", "Labels given to readers, pages and streams.", unit="labels")
        self.results_repeated = make.counter(
            "convnet_server_results_repeated_total",
            "Results that came once more for an image and were passed over: its record was delivered again after a classifier died or lost "
            "its partitions, or its sender sent it again. Counted by each server process through which the job is read.",
            unit="results",
            todo="Some after a kill are normal; a steady rate: classifiers die, or are too slow for their group.",
            rare=True,
        )
        self.label_records_skipped = make.counter(
            "convnet_server_label_records_skipped_total",
            "Times a record of the labels topic was passed over by a reader, because it is not as docs/wire.md says; the log says where.",
            unit="records",
            todo="Somebody else writes to the labels topic, or servers are too old.",
            rare=True,
        )
        self.followers = make.gauge(
            "convnet_server_label_readers", "Callers that are reading labels now.", unit="callers", across="livesum"
        )

    def _bounds(self, make: Catalogue) -> None:
        self.uploads = make.gauge(
            "convnet_server_uploads",
            "Uploads in progress.",
            unit="uploads",
            across="livesum",
            todo="Near CONVNET_SERVER_MAX_UPLOADS callers are answered 429: more replicas.",
        )
        self.classify_calls = make.gauge(
            "convnet_server_classify_calls",
            "Calls of classify in progress.",
            unit="calls",
            across="livesum",
            todo="Near CONVNET_SERVER_MAX_CLASSIFY callers are answered 503: more replicas.",
        )
        self.assembling = make.gauge(
            "convnet_server_assembling_bytes",
            "Bytes of images of which only a part has come, and of decoders of compressed bodies.",
            unit="bytes",
            across="livesum",
            todo="Past CONVNET_SERVER_UPLOAD_MEMORY_MIB senders wait: more memory or replicas, or somebody sends large images very slowly.",
        )
        self.assembly_waits = make.counter(
            "convnet_server_assembly_waits_total",
            "Times an upload waited because too many images had come in part.",
            unit="waits",
            todo="Rising: as for convnet_server_assembling_bytes.",
            rare=True,
        )
        self.spooled = make.gauge(
            "convnet_server_spool_bytes",
            "Bytes of disk taken for zip archives in progress.",
            unit="bytes",
            across="livesum",
            todo="Near CONVNET_SERVER_SPOOL_MIB their senders are answered 429.",
        )
        self.queue_full = make.counter(
            "convnet_server_queue_full_total",
            "Times an upload waited because the producer's queue was full.",
            unit="waits",
            todo="Rising: uploads come faster than Kafka takes them.",
            rare=True,
        )
        self.producer_queue = make.gauge(
            "convnet_server_producer_queue",
            "Images handed to the producers and not acknowledged yet.",
            unit="images",
            across="livesum",
            todo="Stays high: Kafka is slow or away.",
            labels=_LANE,
        )

    def _backlog(self, make: Catalogue) -> None:
        self.backlog_images = make.gauge(
            "convnet_server_backlog_images",
            "Images that wait in a lane for classifiers: ends of the topic less what the group has committed. Each server shows all.",
            unit="images",
            across="livemax",
            todo="Rising: more classifiers.",
            labels=_LANE,
        )
        self.backlog_drain = make.gauge(
            "convnet_server_backlog_drain_seconds",
            "Seconds until all that waits in a lane is done, at the rate it is done now; -1 when images wait and nobody knows (no "
            "classifier works, or too little waits to tell).",
            unit="seconds",
            across="livemostrecent",
            todo="Past CONVNET_SERVER_BULK_DRAIN_LIMIT_S uploads are answered 503: more classifiers.",
            labels=_LANE,
        )
        self.backlog_still = make.gauge(
            "convnet_server_backlog_still_seconds",
            "Seconds for which images have waited and none was done.",
            unit="seconds",
            across="livemax",
            todo="More than some seconds: no classifier works. Start one, or look why they are not ready.",
            labels=_LANE,
        )
        self.backlog_oldest = make.gauge(
            "convnet_server_backlog_oldest_seconds",
            "Seconds that the oldest image of a lane has waited, to some 10 %, 0 below 2 s.",
            unit="seconds",
            across="livemax",
            todo="Past half of the retention uploads are answered 503 (backlog-too-old): start classifiers.",
            labels=_LANE,
        )
        self.backlog_expired = make.gauge(
            "convnet_server_backlog_expired_images",
            "Images of a lane that retention removed before they were classified, and no classifier has passed yet: accepted and lost.",
            unit="images",
            across="livemax",
            todo="An incident: start classifiers, which count them.",
            labels=_LANE,
            rare=True,
        )
        self.backlog_silent = make.gauge(
            "convnet_server_backlog_silent_seconds",
            "Seconds since the lane's backlog was last seen, 1e9 before the first time.",
            unit="seconds",
            across="livemax",
            todo="Past 30 nothing is refused for it: may this server read its topics and the offsets of the classifiers' groups?",
            labels=_LANE,
        )

    def _state(self, make: Catalogue) -> None:
        self.kafka_silent = make.gauge(
            "convnet_server_kafka_silent_seconds",
            "Seconds since Kafka last answered, 1e9 before the first time.",
            unit="seconds",
            across="livemax",
            todo="Past CONVNET_SERVER_KAFKA_DOWN_UNREADY_S the server is not ready: look at Kafka.",
        )
        self.ready = make.gauge(
            "convnet_server_ready",
            "Processes that are ready; 1 or 0 where there is one.",
            unit="processes",
            across="livesum",
            todo="Below convnet_server_processes: /readyz says why.",
        )
        self.processes = make.gauge(
            "convnet_server_processes",
            "Server processes behind this port.",
            unit="processes",
            across="livesum",
            todo="Below CONVNET_SERVER_PROCESSES: one has died and is being replaced, the log says of what.",
        )
        self.processes.set(1)
        self.loop_delay = make.histogram(
            "convnet_server_loop_delay_seconds",
            "How much later than due the event loop woke up; looked at once a second.",
            buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
            todo="Often above 0.1: this process is at its limit, more replicas or processes.",
        )
