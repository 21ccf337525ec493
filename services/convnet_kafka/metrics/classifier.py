"""The metrics of a classifier. Counted once for each batch, never for each image: an increment costs about 1 us, an image 80 us."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from convnet_kafka.metrics.catalogue import Catalogue, Labels
from convnet_kafka.metrics.kafka_client import KafkaClientMetrics
from convnet_kafka.metrics.process import ProcessMetrics
from convnet_kafka.metrics.values import ACKNOWLEDGEMENTS, FAILURES, LABELLED, LANES, WAITS

_LANE: Labels = {"lane": LANES}
ROLES = ("stable", "canary", "shadow")
_ROLE: Labels = {"role": ROLES}
_TRIALS = ("canary", "shadow")
STAGES = ("parse", "decode", "predict", "publish", "compare")
REBALANCES = ("assigned", "revoked", "lost")
# A class that has no series of its own.
OTHER_CLASS = "(other)"


class ClassifierMetrics:
    """Of one classifier.

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
        self._images(make)
        self._batches(make)
        self._answers(make)
        self._models(make)
        self._failures(make)
        self._group(make)

    def _images(self, make: Catalogue) -> None:
        self.images = make.counter(
            "convnet_classifier_images_total",
            "Images by lane and result: labelled, or why not. An image that is delivered again is counted again.",
            unit="images",
            todo="undecodable, unsupported, too-large: what senders send; model-error: look at the dead letters and the model.",
            labels=_LANE | {"result": (LABELLED, *FAILURES)},
        )
        self.queue_seconds = make.weighted(
            "convnet_classifier_queue_seconds",
            "Seconds an image waited in Kafka: from its submission until its batch was begun. Replays are not counted.",
            buckets=WAITS,
            todo="Rising: more replicas.",
            labels=_LANE,
        )
        self.end_to_end_seconds = make.weighted(
            "convnet_classifier_end_to_end_seconds",
            "Seconds from an image's submission until Kafka has its result; replays and images of cancelled jobs are not counted. What the "
            "latency objectives are measured by.",
            buckets=WAITS,
            todo="Rising: queue_seconds says whether replicas are missing, stage_seconds what became slow.",
            labels=_LANE,
        )

    def _batches(self, make: Catalogue) -> None:
        self.batch_images = make.histogram(
            "convnet_classifier_batch_images",
            "Images in a batch.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
            unit="images",
            todo="Near 1 under load: work comes in drops, or single images are dear.",
            labels=_LANE,
        )
        self.stage_seconds = make.histogram(
            "convnet_classifier_stage_seconds",
            "Seconds of work on a batch by stage; compare is what a model in the shadow, or the comparison of a canary, costs.",
            buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
            todo="The rate of its sums, added up, near 1: this replica is full, add replicas.",
            labels=_LANE | {"stage": STAGES},
        )
        self.acknowledge_seconds = make.histogram(
            "convnet_classifier_acknowledge_seconds",
            "Seconds from handing a batch's results to Kafka's client until Kafka has them all.",
            buckets=ACKNOWLEDGEMENTS,
            todo="Rising: the brokers' disks, or replicas that lag. Bulk results wait 20 ms for company on purpose.",
            labels=_LANE,
        )
        self.in_flight = make.gauge(
            "convnet_classifier_batches_in_flight",
            "Batches whose results Kafka has not acknowledged yet.",
            unit="batches",
            across="livesum",
            todo="Stays at 24, or at the same lower number under load: Kafka does not keep up.",
            labels=_LANE,
        )

    def _answers(self, make: Catalogue) -> None:
        self.labels = make.counter(
            "convnet_classifier_labels_total",
            "Labels by the role of the model and by class. The first CONVNET_CLASSIFIER_METRIC_CLASSES classes have a series each, all "
            "others one together; `uncertain` where no class was probable enough. Nobody is sent the shadow's.",
            unit="labels",
            todo="A mix that drifts from validation_share: the pictures have changed, look at some, train again.",
            labels={"role": "stable, canary or shadow", "class": f"name of a class, uncertain, or {OTHER_CLASS}"},
        )
        self.confidence = make.weighted(
            "convnet_classifier_confidence",
            "Confidence of the labels, by the role of the model.",
            buckets=(0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0),
            unit="ratio",
            todo="Falling: the pictures have changed, or the new version is worse on them.",
            labels=_ROLE,
        )
        self.validation_share = make.gauge(
            "convnet_classifier_validation_share",
            "Share of each class among the held-out images of the stable model; none for models whose card does not say.",
            unit="ratio",
            across="livemax",
            todo="Compare labels_total with it.",
            labels={"class": f"name of a class, or {OTHER_CLASS}"},
        )
        self.compared = make.counter(
            "convnet_classifier_compared_images_total",
            "Images that both the stable model and one on trial predicted, by whether they agree: same or other class, or the one on trial "
            "failed. The shadow sees all images, of a canary's one in 20 is compared.",
            unit="images",
            todo="The share of `same` says how much a promotion would change.",
            labels={"role": _TRIALS, "agreement": ("same", "other", "failed")},
        )
        self.canary_failures = make.counter(
            "convnet_classifier_canary_failures_total",
            "Images that the canary failed on and stable answered in its place.",
            unit="images",
            todo="Any at all: end the canary and look at its version.",
            rare=True,
        )

    def _models(self, make: Catalogue) -> None:
        self.model = make.gauge(
            "convnet_classifier_model_version",
            "Version in use by role, 0 for none.",
            unit="version",
            across="livemax",
            todo="Differs between replicas for more than seconds: see alias_version.",
            labels=_ROLE,
        )
        self.alias = make.gauge(
            "convnet_classifier_alias_version",
            "Version that the registry names for a role, 0 for none.",
            unit="version",
            across="livemax",
            todo="Differs from model_version for long: it cannot be loaded, or failed; the log says why.",
            labels=_ROLE,
        )
        self.model_info = make.gauge(
            "convnet_classifier_model_info",
            "Always 1; its labels say which models are in use.",
            unit="1",
            across="livemax",
            labels={
                "role": "stable, canary or shadow",
                "version": "in the registry",
                "network": "architecture",
                "artefact": "the file that is served",
            },
        )
        self.model_accuracy = make.gauge(
            "convnet_classifier_model_accuracy",
            "Accuracy of the artefact in use on its held-out images, 0 for none.",
            unit="ratio",
            across="livemax",
            labels=_ROLE,
        )
        self.canary_percent = make.gauge(
            "convnet_classifier_canary_percent",
            "Share of the jobs that the canary answers, in percent.",
            unit="percent",
            across="livemax",
            todo="Above 0 for weeks: promote it or end it.",
        )
        self.load_failures = make.counter(
            "convnet_classifier_model_load_failures_total",
            "Versions that could not be loaded, by role: stable (the old one goes on), canary or shadow (stable answers).",
            unit="loads",
            todo="The log says why: mend the files or set the alias to another version.",
            labels=_ROLE,
            rare=True,
        )
        self.model_errors = make.counter(
            "convnet_classifier_model_broken_total",
            "Times the model failed even on its own warm-up batch and was taken out of use.",
            unit="times",
            todo="Set the stable alias to a sound version.",
            rare=True,
        )

    def _failures(self, make: Catalogue) -> None:
        self.dead_letters = make.counter(
            "convnet_classifier_dead_letters_total",
            "Dead letters written, by reason.",
            unit="images",
            todo="Rising: `convnet-kafka dlq list`; quarantined and model-error are ours to mend, the others are what senders send.",
            labels={"reason": tuple(reason for reason in FAILURES if reason != "cancelled")},
        )
        self.files_dropped = make.counter(
            "convnet_classifier_dead_letter_files_dropped_total",
            "Dead letters without their file, because CONVNET_CLASSIFIER_DEAD_LETTERS_SHARE was used up.",
            unit="images",
            todo="Somebody sends much that is no picture.",
            rare=True,
        )
        self.expired = make.counter(
            "convnet_classifier_images_expired_total",
            "Images that Kafka's retention removed before they were read: accepted and lost.",
            unit="images",
            todo="An incident, each time: more replicas, longer retention.",
            labels=_LANE,
            rare=True,
        )
        self.alone = make.counter(
            "convnet_classifier_images_alone_total",
            "Images that were handled one by one, because a classifier died with them in flight.",
            unit="images",
            todo="Rising: classifiers die; the log, and the dead letters with reason quarantined, say of what.",
            labels=_LANE,
            rare=True,
        )
        self.skipped = make.counter(
            "convnet_classifier_records_skipped_total",
            "Records that no result can be addressed to: wire (not written by our rules) or reply-partition (the labels topic has no such "
            "partition).",
            unit="records",
            todo="Somebody else writes to the images topics.",
            labels={"reason": ("wire", "reply-partition")},
            rare=True,
        )
        self.resent = make.counter(
            "convnet_classifier_results_resent_total",
            "Records of results that Kafka did not take and that were sent again.",
            unit="records",
            todo="Is the labels topic there, and writable?",
            rare=True,
        )
        self.results_refused = make.counter(
            "convnet_classifier_results_refused_total",
            "Records of results, or dead letters, that Kafka refused for good and that were given up.",
            unit="records",
            todo="Is the topic's max.message.bytes as 'convnet-kafka topics check' wants it?",
            rare=True,
        )

    def _group(self, make: Catalogue) -> None:
        self.partitions = make.gauge(
            "convnet_classifier_partitions",
            "Partitions assigned to this replica.",
            unit="partitions",
            across="livesum",
            todo="0 for long: there are more replicas than partitions (convnet-kafka topics grow).",
            labels=_LANE,
        )
        self.rebalances = make.counter(
            "convnet_classifier_rebalances_total",
            "Times partitions came (assigned), went in order (revoked) or went because Kafka took this replica for dead (lost).",
            unit="times",
            todo="lost: replicas are stopped, starved of CPU or cut off; a steady rate of any: something restarts replicas.",
            labels=_LANE | {"event": REBALANCES},
        )
        self.given_up = make.counter(
            "convnet_classifier_images_given_up_total",
            "Images in flight when their partitions went away before their results were in: others repeat them.",
            unit="images",
            todo="Rising: results take longer than CONVNET_CLASSIFIER_REVOKE_TIMEOUT_S, or partitions are lost.",
            labels=_LANE,
            rare=True,
        )
        self.commit_failures = make.counter(
            "convnet_classifier_commit_failures_total",
            "Commits that Kafka did not take; they are tried again.",
            unit="commits",
            todo="A steady rate: the group's coordinator, or the rights of the Kafka user.",
            labels=_LANE,
            rare=True,
        )
        self.cancelled_jobs = make.gauge(
            "convnet_classifier_cancelled_jobs",
            "Cancelled jobs that are remembered until their life is over; at most 50,000, the oldest are forgotten first.",
            unit="jobs",
            across="livemax",
        )
        self.ready = make.gauge(
            "convnet_classifier_ready",
            "1 when this replica is ready, else 0.",
            unit="1",
            across="livesum",
            todo="0 for long: /readyz says why.",
        )
