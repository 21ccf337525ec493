"""What counts as a job's one result, whatever order and repetition the log holds."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from convnet_kafka.errors import WireError
from convnet_kafka.server.seen import ImageSet, JobProgress, SeenJobs, SeenResults

A, B = "aa" * 16, "bb" * 16


def test_the_first_result_wins_and_the_answer_never_changes() -> None:
    seen = SeenResults(10)
    assert [seen.observe(offset, A, 0, failed=False) for offset in (10, 11, 12)] == [True, False, False]
    assert [seen.observe(offset, A, 0, failed=False) for offset in (10, 11, 12)] == [True, False, False]
    assert seen.progress == JobProgress(images=1, failed=0, total=None)


def test_a_later_failure_of_a_labelled_image_counts_for_nothing() -> None:
    seen = SeenResults(0)
    seen.observe(0, A, 0, failed=False)
    seen.observe(1, A, 0, failed=True)
    assert seen.progress.failed == 0


def test_a_replayed_image_counts_once_with_its_highest_revision() -> None:
    seen = SeenResults(0)
    assert seen.observe(0, A, 0, failed=True)
    assert seen.progress == JobProgress(1, 1, None)
    assert seen.observe(1, A, 2, failed=False)
    assert seen.observe(2, A, 1, failed=True)
    assert not seen.observe(3, A, 2, failed=True)
    assert seen.progress == JobProgress(1, 0, None)
    for offset, revision, failed in ((0, 0, True), (1, 2, False), (2, 1, True), (3, 2, True)):
        seen.observe(offset, A, revision, failed=failed)
    assert seen.progress == JobProgress(1, 0, None)


def test_an_image_that_has_only_replays_counts_once() -> None:
    seen = SeenResults(0)
    assert seen.observe(0, A, 1, failed=True)
    assert seen.progress == JobProgress(1, 1, None)
    assert seen.observe(1, A, 0, failed=False)
    assert seen.progress == JobProgress(1, 1, None)
    assert seen.observe(2, A, 2, failed=False)
    assert seen.progress == JobProgress(1, 0, None)


@pytest.mark.parametrize("image", ["", "aa", "aa" * 17, "no hex" * 6])
def test_what_is_no_image_id_is_refused(image: str) -> None:
    with pytest.raises(WireError):
        SeenResults(0).observe(0, image, 0, failed=False)


def test_a_set_of_images_is_exact_where_ids_look_alike() -> None:
    source = random.Random(11)
    # Few different bytes and one beginning: ids overlap one another in every way.
    alike = [b"\0\0" + bytes(source.choices((0, 1), k=14)) for _ in range(500)]
    images, reference = ImageSet(), set[bytes]()
    for image in [*alike, *(source.randbytes(16) for _ in range(1000)), *alike]:
        assert (image in images) == (image in reference)
        assert images.add(image) == (image not in reference)
        reference.add(image)
    assert images.count == len(reference)


def test_many_results_take_little_memory_and_say_how_much() -> None:
    source = random.Random(5)
    tracemalloc.start()
    try:
        seen = SeenResults(0)
        for offset in range(100_000):
            seen.observe(offset, source.randbytes(16).hex(), 0, failed=False)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 8_000_000
    assert 0.7 * taken < seen.size_bytes < 1.5 * taken


def test_the_largest_close_wins() -> None:
    seen = SeenResults(0)
    for images in (2, 5, 3):
        seen.close(images)
    assert seen.progress.total == 5


def test_complete_by_total_or_by_what_the_reader_expects() -> None:
    assert not JobProgress(5, 0, None).complete()
    assert JobProgress(5, 0, None).complete(expect=5)
    assert JobProgress(5, 1, 5).complete()
    assert not JobProgress(4, 0, 5).complete()
    assert JobProgress(0, 0, 0).complete()


def test_random_repetitions_give_each_image_once() -> None:
    source = random.Random(7)
    images = [source.randbytes(16).hex() for _ in range(500)]
    log = images + source.choices(images, k=2000)
    source.shuffle(log)
    seen = SeenResults(0)
    counted = [image for offset, image in enumerate(log) if seen.observe(offset, image, 0, failed=False)]
    assert sorted(counted) == sorted(images)
    assert seen.progress.images == 500


def test_jobs_nobody_reads_are_forgotten_first_and_least_recent_first() -> None:
    jobs = SeenJobs(limit_bytes=3000)
    kept = jobs.get("in use", 0)
    states = {name: jobs.get(name, 0) for name in ("old", "new")}
    for state in (kept, *states.values()):
        for number in range(5):
            state.observe(number, f"{number:032x}", 0, failed=False)
    jobs.get("new", 0)
    jobs.shrink({kept})
    assert jobs.get("in use", 0) is kept
    assert jobs.get("old", 99).covered == 99
