"""The books of a job: every image has one outcome, whatever comes late."""

from __future__ import annotations

from convnet_kafka.client.label import NOT_ACCEPTED, Label, failure
from convnet_kafka.client.outcomes import Outcomes


def label(name: str, revision: int = 0) -> Label:
    return Label(name, "7", 0.9, None, None, 1, revision, "0" * 32, None)


def test_an_image_that_was_given_up_has_its_outcome_although_a_result_comes() -> None:
    books = Outcomes()
    books.sent(["a", "b"])
    assert [told.name for told in books.given_up([failure("a", NOT_ACCEPTED, "why")])] == ["a"]
    assert books.record([label("a"), label("b")]) == [label("b")]
    assert books.record([label("a")]) == []
    assert (books.accepted, books.labelled, books.failed) == (1, 1, 1)
    # It is in the job, and who closes the job with less would let readers go before the last label.
    assert books.in_job == 2
    assert books.waiting == 0


def test_an_image_whose_result_was_missing_counts_once_although_it_comes() -> None:
    books = Outcomes()
    books.sent(["a"])
    books.accepted_by_server(["a"])
    books.lost(["a"])
    assert books.record([label("a")]) == []
    assert (books.accepted, books.labelled, books.failed, books.in_job, books.waiting) == (1, 0, 1, 1, 0)


def test_a_result_that_comes_before_the_answer_to_its_upload_counts_once() -> None:
    books = Outcomes()
    books.sent(["a"])
    assert books.record([label("a")]) == [label("a")]
    assert books.accepted_by_server(["a"]) == []
    assert (books.accepted, books.labelled, books.in_job, books.waiting) == (1, 1, 1, 0)


def test_a_replay_is_a_further_event_and_counts_no_image() -> None:
    books = Outcomes()
    books.sent(["a"])
    books.record([label("a")])
    assert books.record([label("a"), label("a", 1), label("a", 1)]) == [label("a", 1)]
    assert (books.accepted, books.labelled) == (1, 1)
