"""What a member of a group is to commit: of its own partitions alone, never backwards, and again where Kafka did not take it."""

from __future__ import annotations

import pytest

from convnet_kafka.kafka.progress import Position, Progress


@pytest.fixture
def progress() -> Progress:
    made = Progress()
    made.add([0, 1])
    return made


def test_only_what_is_new_is_due_and_once(progress: Progress) -> None:
    progress.done({0: 5, 1: 7})
    progress.done({0: 4})
    assert progress.take([0]) == [Position(0, 5, "")]
    assert progress.take() == [Position(1, 7, "")]
    assert progress.take() == []
    progress.done({0: 5})
    assert progress.take() == []


def test_strangers_partitions_are_not_committed(progress: Progress) -> None:
    progress.done({2: 5})
    progress.annotate(2, 5, "a text")
    progress.give_back([2])
    assert progress.take() == []


def test_what_kafka_did_not_take_is_due_again_at_the_newest_offset_if_it_is_still_ours(progress: Progress) -> None:
    progress.done({0: 5, 1: 7})
    progress.take()
    progress.done({0: 6})
    progress.remove([1])
    progress.give_back([0, 1])
    assert progress.take() == [Position(0, 6, "")]


def test_a_text_goes_with_each_commit_until_it_is_taken_back_or_texts_are_refused(progress: Progress) -> None:
    progress.annotate(0, 3, "a text")
    assert progress.take() == [Position(0, 3, "a text")]
    progress.done({0: 4})
    assert progress.take() == [Position(0, 4, "a text")]
    progress.annotate(0, 2, "")
    assert progress.take() == [Position(0, 4, "")]
    progress.annotate(0, 4, "another")
    assert (progress.drop_texts(), progress.drop_texts()) == (True, False)
    assert progress.take() == [Position(0, 4, "")]


def test_a_partition_that_comes_again_or_whose_log_is_new_begins_anew(progress: Progress) -> None:
    progress.annotate(0, 50, "a text")
    progress.done({1: 50})
    progress.add([0])
    progress.forget(1)
    assert progress.take() == []
    progress.done({0: 2, 1: 3})
    assert progress.take() == [Position(0, 2, ""), Position(1, 3, "")]


def test_nothing_is_due_of_a_log_that_is_no_more(progress: Progress) -> None:
    progress.done({0: 5, 1: 7})
    progress.forget(0)
    assert progress.take() == [Position(1, 7, "")]
