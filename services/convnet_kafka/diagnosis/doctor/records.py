"""The newest records of the topics: written by our rules, by clocks that agree, and how many became dead letters of late.

Reads, and changes nothing. Labels carry the brokers' time beside the classifiers' own, so clocks are compared without a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from statistics import median

from confluent_kafka import Message

from convnet_kafka.deadletters import DeadLetter
from convnet_kafka.diagnosis.doctor.findings import Finding, Findings, fail, skip, warn, well
from convnet_kafka.diagnosis.doctor.installation import Installation
from convnet_kafka.errors import KafkaUnavailable, NewerWireVersion, TopicMismatch, WireError
from convnet_kafka.kafka.scan import bounds, scan
from convnet_kafka.kafka.tail import newest_records
from convnet_kafka.messages import LabelRecord, Lane, checked_headers, now_ms
from convnet_kafka.replies import labels_in

# Of each partition; enough to see what is written now.
NEWEST_IMAGES = 5
NEWEST_LABELS = 50
# A label waits up to 20 ms for company and its acknowledgement some more; whole seconds are a clock.
SKEW_WARNED_MS, SKEW_FAILED_MS = 2000, 60_000
DAY_MS = 86_400_000
MOST_LETTERS = 10_000
# The other reasons say what somebody sent.
OUR_FAULT = {"quarantined", "model-error", "not ours"}


def wire(place: Installation) -> Findings:
    """Images were written by our rules, and none by a newer version than ours."""
    newer: Counter[str] = Counter()
    foreign: Counter[str] = Counter()
    seen = 0
    for lane in Lane:
        topic = place.topology.images(lane)
        for message in newest_records(place.reading(), topic, NEWEST_IMAGES):
            seen += 1
            try:
                checked_headers(message.headers())
            except NewerWireVersion as error:
                newer[f"{topic}: {error}"] += 1
            except WireError as error:
                foreign[f"{topic}: {error}"] += 1
    for said, count in newer.items():
        yield fail(
            f"{count} of the newest images cannot be read by this version; {said}",
            "classifiers of this version stand still, unready: upgrade them (servers and other senders come after classifiers)",
        )
    for said, count in foreign.items():
        yield warn(f"{count} of the newest images get no label: {said}", "somebody else writes to the images topics: find and stop it")
    if not newer and not foreign:
        yield well(f"the newest images are written by our rules ({seen} looked at)" if seen else "no image was sent yet")


def clocks(place: Installation) -> Findings:
    """The clocks of servers, classifiers and brokers agree."""
    behind_broker: list[int] = []
    early = 0
    for label, message in _labels(newest_records(place.reading(), place.topology.labels, NEWEST_LABELS)):
        behind_broker.append(message.timestamp()[1] - label.labelled_at_ms)
        early = max(early, label.submitted_at_ms - label.labelled_at_ms)
    if not behind_broker:
        yield skip("no label was written yet: nothing to compare clocks by")
        return
    typical = median(behind_broker)
    yield _skew("the classifiers' clocks and the brokers'", typical, f"the median of {len(behind_broker)} labels")
    if early > SKEW_WARNED_MS:
        yield _skew("the servers' clocks and the classifiers'", early, "an image was labelled before it was accepted")


def _skew(whose: str, difference_ms: float, how: str) -> Finding:
    said = f"{whose} differ by {abs(difference_ms) / 1000:.1f} s ({how})"
    do = "set the clocks by NTP (chrony, systemd-timesyncd) on every node; ages, retention, job lives and certificates go by them"
    if abs(difference_ms) >= SKEW_FAILED_MS:
        return fail(said, do)
    if abs(difference_ms) >= SKEW_WARNED_MS:
        return warn(said, do)
    return well(f"{whose} agree within {max(abs(difference_ms) / 1000, 0.1):.1f} s ({how})")


def _labels(messages: Iterable[Message]) -> Iterable[tuple[LabelRecord, Message]]:
    for message in messages:
        with suppress(WireError):
            for label in labels_in(message.headers(), message.value()):
                yield label, message


def dead_letters(place: Installation) -> Findings:
    """Few images became dead letters in the last day."""
    topic = place.topology.dead_letters
    reasons: Counter[str] = Counter()
    try:
        within = bounds(place.reading(), topic, since_ms=now_ms() - DAY_MS)
        whole = sum(end - low for low, end in within.values())
        if whole <= MOST_LETTERS:
            for message in scan(place.reading(), topic, within):
                try:
                    reasons[DeadLetter.parse(message).reason] += 1
                except WireError:
                    reasons["not ours"] += 1
    except (KafkaUnavailable, TopicMismatch) as error:
        yield skip(str(error))
        return
    if not whole:
        yield well("no dead letter in the last day")
        return
    told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()) or "too many to count by reason"
    said = f"{whole:,} dead letters in the last day: {told}"
    if whole > MOST_LETTERS or reasons.keys() & OUR_FAULT:
        yield warn(said, "'convnet-kafka dlq list' names them; 'dlq save' keeps the files, 'dlq replay' sends them again")
    else:
        yield well(f"{said}: that is what senders sent")
