"""Alerts on what callers feel or soon would: images that wait, expire or are lost, traffic that stays away, parts that die."""

from __future__ import annotations

from convnet_charts.promql import SERVICES, by
from convnet_charts.rules.model import Alert, Group
from convnet_charts.rules.tuning import Tuning, number


def alerts(tuning: Tuning) -> tuple[Group, Group]:
    """The groups of alerts on images and on processes."""
    return (
        Group("images", (*_waiting(tuning), *_lost(tuning), *_dead_letters(tuning))),
        Group("processes", (*_processes(tuning), *_expiring(tuning))),
    )


def _waiting(tuning: Tuning) -> tuple[Alert, ...]:
    still = "convnet_server_backlog_still_seconds"
    drain, waiting = "convnet:backlog_drain_seconds:max", SERVICES("convnet:backlog_images:max")
    fast, bulk = number(tuning.fast_still_s), number(tuning.bulk_still_s)
    accepted = SERVICES("convnet_server_images_total", outcome="accepted")
    past = " and ".join(f"sum {by()} (rate({accepted}[{tuning.window('1h')}] offset {tuning.window(ago)})) > 0" for ago in ("1d", "7d"))
    return (
        Alert(
            "ConvnetNoConsumer",
            f"max {by('lane')} ({SERVICES(still, lane='fast')}) > {fast} or max {by('lane')} ({SERVICES(still, lane='bulk')}) > {bulk}",
            tuning.wait("1m"),
            "page",
            "Images wait in the lane {{ $labels.lane }}, and none has been classified for {{ $value | humanizeDuration }}",
            "No classifier takes these images: none runs, none has a model, or none can reach Kafka. Nothing is lost while it lasts.",
        ),
        Alert(
            "ConvnetBacklogWontDrain",
            f"({SERVICES(drain, lane='fast')} > {number(tuning.fast_drain_s)} or {SERVICES(drain, lane='bulk')} > "
            f"{number(tuning.bulk_drain_s)}) and deriv({waiting}[{tuning.window('30m')}]) > 0",
            tuning.wait("10m"),
            "ticket",
            "What waits in the lane {{ $labels.lane }} takes {{ $value | humanizeDuration }} at the present rate, and becomes more",
            "Images come faster than the classifiers do them. Add classifiers, or wait for the rush to end.",
        ),
        Alert(
            "ConvnetBacklogOld",
            f"max {by('lane')} ({SERVICES('convnet_server_backlog_oldest_seconds')}) > {number(tuning.oldest_s)}",
            tuning.wait("5m"),
            "ticket",
            "An image of the lane {{ $labels.lane }} has waited for {{ $value | humanizeDuration }}",
            "A quarter of the time that images are kept is used up; past half servers refuse uploads, past all images are lost.",
        ),
        Alert(
            "ConvnetNoTraffic",
            f"({past}) unless sum {by()} (rate({accepted}[{tuning.window('30m')}])) > 0",
            tuning.wait("5m"),
            "ticket",
            "No image has been accepted for half an hour; a day and a week ago there were {{ $value | humanize }} a second at this hour",
            "Nobody sends, or what they send does not arrive: look at the way to the servers before you call it a quiet day.",
        ),
    )


def _lost(tuning: Tuning) -> tuple[Alert, ...]:
    hour, window = tuning.window("1h"), tuning.window("5m")
    images = "convnet_server_images_total"
    unknown = f"sum {by()} (rate({SERVICES(images, outcome='unknown')}[{window}]))"
    handed = f"sum {by()} (rate({SERVICES(images, outcome__re='accepted|unknown')}[{window}]))"
    return (
        Alert(
            "ConvnetImagesExpired",
            f"sum {by('lane')} (increase({SERVICES('convnet_classifier_images_expired_total')}[{hour}])) > 0"
            f" or max {by('lane')} ({SERVICES('convnet_server_backlog_expired_images')}) > 0",
            "",
            "page",
            "{{ $value | humanize }} accepted images of the lane {{ $labels.lane }} were deleted by Kafka before they were classified",
            "These images are lost, and their jobs do not become complete. Classifiers were away for longer than images are kept.",
        ),
        Alert(
            "ConvnetResultsRefused",
            f"sum {by()} (increase({SERVICES('convnet_classifier_results_refused_total')}[{hour}])) > 0",
            "",
            "page",
            "Kafka refused {{ $value | humanize }} results or dead letters for good",
            "These images stay without their result. The labels or dead letter topic is not as the services need it.",
        ),
        Alert(
            "ConvnetUploadsUnknown",
            f"{unknown} / {handed} > 0.01",
            tuning.wait("2m"),
            "page",
            "{{ $value | humanizePercentage }} of the uploaded images were not acknowledged by Kafka in time",
            "Callers were told that these may or may not be stored, and send them again. Kafka is slow or away.",
        ),
    )


def _dead_letters(tuning: Tuning) -> tuple[Alert, ...]:
    quarter = tuning.window("15m")
    dead = SERVICES("convnet_classifier_dead_letters_total")
    done = SERVICES("convnet_classifier_images_total")
    dropped = SERVICES("convnet_classifier_dead_letter_files_dropped_total")
    quarantined = SERVICES("convnet_classifier_dead_letters_total", reason="quarantined")
    foreign, ours = SERVICES("convnet_classifier_records_skipped_total"), SERVICES("convnet_server_label_records_skipped_total")
    hour = tuning.window("1h")
    return (
        Alert(
            "ConvnetDeadLettersRise",
            f"sum {by('reason')} (increase({dead}[{quarter}])) > {tuning.dead_letters} and on (namespace, release) "
            f"sum {by()} (increase({dead}[{quarter}])) / sum {by()} (increase({done}[{quarter}])) > {number(tuning.dead_letter_ratio)}",
            tuning.wait("5m"),
            "ticket",
            "{{ $value | humanize }} images could not be classified in a quarter of an hour: {{ $labels.reason }}",
            "They have an error as their result, and lie in the dead letter topic. Somebody sends what is no picture, or the model fails.",
        ),
        Alert(
            "ConvnetDeadLettersFull",
            f"sum {by()} (increase({dropped}[{hour}])) > 0",
            "",
            "ticket",
            "{{ $value | humanize }} dead letters were kept without the image's file",
            "A job has used up its share of the dead letter topic: reasons are kept, but these images cannot be sent again from there.",
        ),
        Alert(
            "ConvnetImagesQuarantined",
            f"sum {by()} (increase({quarantined}[{hour}])) > 0",
            "",
            "ticket",
            "{{ $value | humanize }} images were set aside because they ended classifiers",
            "Each ended several processes before it was found. The image's file is in the dead letter topic: it is worth a look.",
        ),
        Alert(
            "ConvnetForeignRecords",
            f"sum {by()} (increase({foreign}[{hour}])) > 0 or sum {by()} (increase({ours}[{hour}])) > 0",
            "",
            "ticket",
            "{{ $value | humanize }} records of the release's topics were passed over: they are not as the wire format says",
            "Somebody else writes to these topics, or a part is older than what it reads.",
        ),
    )


def _processes(tuning: Tuning) -> tuple[Alert, ...]:
    window = tuning.window("30m")
    return (
        Alert(
            "ConvnetTargetDown",
            f"{SERVICES('up')} == 0",
            tuning.wait("2m"),
            "ticket",
            "{{ $labels.pod }} ({{ $labels.component }}) gives no metrics",
            "The process does not answer, or Prometheus may not reach it. Others do its work meanwhile.",
        ),
        Alert(
            "ConvnetKafkaSilent",
            f"max {by('pod')} ({SERVICES('convnet_server_kafka_silent_seconds')}) > {number(tuning.silent_s)}",
            tuning.wait("30s"),
            "page",
            "Kafka has not answered {{ $labels.pod }} for {{ $value | humanizeDuration }}",
            "This server refuses uploads until Kafka answers. Nothing that was accepted is lost.",
        ),
        Alert(
            "ConvnetBacklogUnseen",
            f"max {by('lane')} ({SERVICES('convnet_server_backlog_silent_seconds')}) > {number(tuning.unseen_s)}",
            tuning.wait("1m"),
            "ticket",
            "A server has not seen what waits in the lane {{ $labels.lane }} for {{ $value | humanizeDuration }}",
            "It refuses nothing for a long backlog meanwhile, and alerts on the backlog are blind. It may lack rights on topics or groups.",
        ),
        Alert(
            "ConvnetClassifiersDie",
            f"sum {by()} (increase({SERVICES('convnet_classifier_images_alone_total')}[{window}])) > 0",
            "",
            "ticket",
            "{{ $value | humanize }} images were handled one by one, because a classifier died with them in its hands",
            "Classifiers die: of memory limits, evictions, their node, or an image. No image is lost by it.",
        ),
    )


def _expiring(tuning: Tuning) -> tuple[Alert, ...]:
    key = SERVICES("convnet_server_next_key_expiry_timestamp_seconds")
    authority = SERVICES("convnet_kafka_client_certificate_expiry_timestamp_seconds")
    return (
        Alert(
            "ConvnetKeyExpires",
            f"min {by()} ({key} > 0) - time() < {number(tuning.key_expiry_s)}",
            "",
            "ticket",
            "An API key ends in {{ $value | humanizeDuration }}",
            "Who uses it is answered 401 from then on.",
        ),
        Alert(
            "ConvnetCertificateExpires",
            f"min {by('component')} ({authority} > 0) - time() < {number(tuning.certificate_expiry_s)}",
            "",
            "ticket",
            "A certificate between the {{ $labels.component }} and Kafka ends in {{ $value | humanizeDuration }}",
            "Past that no connection to Kafka is made any more.",
        ),
    )
