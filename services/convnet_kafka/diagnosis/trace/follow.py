"""Puts together what a search finds: the way of one image, or the sums of a job."""

from __future__ import annotations

from collections.abc import Iterable

from convnet_kafka.diagnosis.trace.found import ImageAt, ImageFound, JobFound, JobPlace, ResultAt
from convnet_kafka.diagnosis.trace.search import SKEW_MS, Search, is_meant
from convnet_kafka.errors import TopicMismatch


def follow_job(search: Search, job: JobPlace) -> JobFound:
    """All results of a job, added up.

    Raises:
        KafkaUnavailable: Kafka did not answer.
        TopicMismatch: there is no topic of labels.
    """
    found = JobFound(job)
    counted: dict[str, ResultAt] = {}
    seen: set[tuple[str, int]] = set()
    for each in search.results(job):
        if isinstance(each, int):
            found.total = max(each, found.total or 0)
            continue
        key = each.result.image, each.result.revision
        if key in seen:
            found.repeated += 1
            continue
        seen.add(key)
        before = counted.get(each.result.image)
        if before is None or before.result.revision < each.result.revision:
            counted[each.result.image] = each
    for each in counted.values():
        _count(found, each)
    found.cancelled = search.is_cancelled(job)
    try:
        for letter in search.letters(job, None, job.since_ms):
            found.letters[letter.reason] += 1
    except TopicMismatch:
        pass  # 'doctor' tells it; the results are worth having
    found.unread = search.unread
    return found


def _count(found: JobFound, each: ResultAt) -> None:
    result = each.result
    found.results += 1
    found.replayed += result.revision > 0
    if result.error is None:
        found.labelled += 1
    else:
        found.failed[result.error.value] += 1
    if result.model is not None:
        found.models[result.model] += 1
    if each.by is not None:
        found.replicas[each.by.replica] += 1
    found.waits_ms.append(max(0, result.labelled_at_ms - result.submitted_at_ms))
    found.first_ms = min(result.labelled_at_ms, found.first_ms or result.labelled_at_ms)
    found.last_ms = max(result.labelled_at_ms, found.last_ms or 0)


def follow_image(search: Search, job: JobPlace, image: str) -> ImageFound:
    """One image's way.

    Args:
        search: reads Kafka.
        job: its job.
        image: its id, the begin of its id, or its name.

    Raises:
        KafkaUnavailable: Kafka did not answer.
        TopicMismatch: a topic is not there.
    """
    found = ImageFound(job, image)
    found.results = _of_one(
        each for each in search.results(job) if isinstance(each, ResultAt) and is_meant(each.result.image, each.result.name, image)
    )
    if found.results:
        found.image, found.name = found.results[0].result.image, found.results[0].result.name
        found.records = _records(search, job, found)
    else:
        found.records = search.images(job, image, lane=None, since_ms=job.since_ms, until_ms=None)
    if found.records and not found.name:
        found.name = found.records[0].name
    found.letters = list(search.letters(job, found.image, _begin(found.records, found.results, job))) if found.results else []
    found.cancelled = search.is_cancelled(job)
    if not found.results and found.records:
        found.waiting = search.before(found.records[-1])
        found.owner = search.owner(found.records[-1])
    found.unread = search.unread > 0
    return found


def _records(search: Search, job: JobPlace, found: ImageFound) -> list[ImageAt]:
    """Where the image lay: by the time of its first result, and, if it was sent again, between that and the next."""
    first = found.results[0].result
    records = search.image_near(job, found.image, first.lane, first.submitted_at_ms, first.labelled_at_ms)
    before_ms = first.labelled_at_ms
    for each in found.results[1:]:
        if each.result.revision > first.revision:
            known = {(record.topic, record.partition, record.offset) for record in records}
            again = search.images(job, found.image, lane=each.result.lane, since_ms=before_ms, until_ms=each.result.labelled_at_ms + 1)
            records += [record for record in again if (record.topic, record.partition, record.offset) not in known]
            before_ms = each.result.labelled_at_ms
    return records


def _of_one(results: Iterable[ResultAt]) -> list[ResultAt]:
    """Results of the first image that matches: a name may stand for several pictures."""
    found: list[ResultAt] = []
    for each in results:
        if not found or each.result.image == found[0].result.image:
            found.append(each)
    return found


def _begin(records: list[ImageAt], results: list[ResultAt], job: JobPlace) -> int:
    times = [record.at_ms for record in records] + [each.result.submitted_at_ms for each in results]
    return min(times, default=job.since_ms) - SKEW_MS
