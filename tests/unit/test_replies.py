"""Results are put together into records and taken out again as they were, whatever ids and values a sender chose."""

from __future__ import annotations

import pytest

from convnet_kafka.errors import NewerWireVersion, WireError
from convnet_kafka.replies import (
    CLOSE_AT_BYTES,
    MOST_RESULTS,
    ReplyHeaders,
    Results,
    close_headers,
    label_headers,
    labels_in,
    offset_of,
    place_of,
    values_in,
)

JOB = "0f" * 16


def together(images: list[str], value: bytes = b'{"a":1}') -> list[tuple[list[str], list[bytes]]]:
    """The records that hold a result of each image: its images and its values."""
    results = Results(JOB, "acme", 3, failed=True)
    results.images += images
    results.values += [value] * len(images)
    found = []
    for headers, written in results.records():
        parsed = ReplyHeaders.parse(headers)
        assert (parsed.job, parsed.tenant, parsed.revision, parsed.failed) == (JOB, "acme", 3, True)
        found.append((parsed.images, values_in(written, len(parsed.images))))
    return found


def test_a_record_is_closed_by_number_and_by_bytes_and_nothing_is_lost_in_between() -> None:
    images = [f"{number:032x}" for number in range(2 * MOST_RESULTS + 1)]
    found = together(images)
    assert [len(ids) for ids, _ in found] == [MOST_RESULTS, MOST_RESULTS, 1]
    assert [image for ids, _ in found for image in ids] == images
    large = b'{"name":"%b"}' % (b"n" * (CLOSE_AT_BYTES // 3))
    assert [len(ids) for ids, _ in together(images[:7], large)] == [3, 3, 1]
    huge = b'{"name":"%b"}' % (b"n" * CLOSE_AT_BYTES)
    assert [len(ids) for ids, _ in together(images[:2], huge)] == [1, 1]


@pytest.mark.parametrize("odd", ["", "aa", "aa" * 17, "no hex no hex no hex no hex no h", "ä" * 32])
def test_an_id_that_is_none_costs_no_other_result_its_place(odd: str) -> None:
    results = Results(JOB, "default", 0, failed=False)
    results.images += ["11" * 16, odd, "22" * 16]
    results.values += [b"{}"] * 3
    records = list(results.records())
    assert [dict(headers)["image"].decode() for headers, _ in records] == ["11" * 16, odd, "22" * 16]
    assert ReplyHeaders.parse(records[0][0]).images == ["11" * 16]
    with pytest.raises(WireError):
        ReplyHeaders.parse(records[1][0])


def test_two_ids_of_wrong_length_that_fit_together_are_no_ids() -> None:
    results = Results(JOB, "default", 0, failed=False)
    results.images += ["1" * 31, "2" * 33]
    results.values += [b"{}"] * 2
    assert len(list(results.records())) == 2


def test_places_grow_along_the_partition_and_tell_their_record() -> None:
    places = [place_of(offset + 1) - count + number for offset, count in ((7, 1), (8, 3), (9, MOST_RESULTS)) for number in range(count)]
    assert places == sorted(set(places))
    assert [offset_of(place) for place in places] == [7, 8, 8, 8, *[9] * MOST_RESULTS]


def test_a_close_holds_no_result_and_a_newer_version_stops_the_reader() -> None:
    assert labels_in(close_headers(job=JOB, tenant="default"), b'{"images":1}') == []
    headers = dict(label_headers(job=JOB, images="1" * 32, revision=0, tenant="default", failed=False)) | {"wire": b"2"}
    with pytest.raises(NewerWireVersion):
        labels_in(headers, b"{}")
