"""What counts as a job's one result, whatever order and repetition the log holds."""

from __future__ import annotations

import random
import tracemalloc

from convnet_kafka.server.seen import ImageSet, JobProgress, SeenJobs, SeenResults

A, B = b"a" * 16, b"b" * 16


def first(seen: SeenResults, offset: int, image: bytes, revision: int = 0, *, failed: bool = False) -> bool:
    """Whether the only result of a record counts."""
    return list(seen.observe(offset, image, revision, failed=failed)) == [0]


def test_the_first_result_wins_and_the_answer_never_changes() -> None:
    seen = SeenResults(10)
    assert [first(seen, offset, A) for offset in (10, 11, 12)] == [True, False, False]
    assert [first(seen, offset, A) for offset in (10, 11, 12)] == [True, False, False]
    assert seen.progress == JobProgress(images=1, failed=0, total=None)


def test_a_later_failure_of_a_labelled_image_counts_for_nothing() -> None:
    seen = SeenResults(0)
    seen.observe(0, A, 0, failed=False)
    seen.observe(1, A, 0, failed=True)
    assert seen.progress.failed == 0


def test_a_replayed_image_counts_once_with_its_highest_revision() -> None:
    seen = SeenResults(0)
    assert first(seen, 0, A, 0, failed=True)
    assert seen.progress == JobProgress(1, 1, None)
    assert first(seen, 1, A, 2, failed=False)
    assert first(seen, 2, A, 1, failed=True)
    assert not first(seen, 3, A, 2, failed=True)
    assert seen.progress == JobProgress(1, 0, None)
    for offset, revision, failed in ((0, 0, True), (1, 2, False), (2, 1, True), (3, 2, True)):
        seen.observe(offset, A, revision, failed=failed)
    assert seen.progress == JobProgress(1, 0, None)


def test_an_image_that_has_only_replays_counts_once() -> None:
    seen = SeenResults(0)
    assert first(seen, 0, A, 1, failed=True)
    assert seen.progress == JobProgress(1, 1, None)
    assert first(seen, 1, A, 0, failed=False)
    assert seen.progress == JobProgress(1, 1, None)
    assert first(seen, 2, A, 2, failed=False)
    assert seen.progress == JobProgress(1, 0, None)


def test_a_set_of_images_is_exact_where_ids_look_alike() -> None:
    source = random.Random(11)
    # Few different bytes and one beginning: ids overlap one another in every way.
    alike = [b"\0\0" + bytes(source.choices((0, 1), k=14)) for _ in range(500)]
    images, reference = ImageSet(), set[bytes]()
    for image in [*alike, *(source.randbytes(16) for _ in range(1000)), *alike]:
        assert (image in images) == (image in reference)
        assert images.add(image) == ([0] if image in reference else [])
        reference.add(image)
    assert images.count == len(reference)


def test_the_results_of_a_record_count_one_by_one() -> None:
    seen = SeenResults(0)
    assert list(seen.observe(3, A + B + A, 0, failed=True)) == [0, 1]
    other = b"c" * 16
    assert list(seen.observe(5, B + other + other, 0, failed=False)) == [1]
    assert seen.progress == JobProgress(images=3, failed=2, total=None)
    assert list(seen.observe(6, other + A, 1, failed=False)) == [0, 1]
    assert list(seen.observe(7, A + other + B, 1, failed=False)) == [2]
    assert seen.progress == JobProgress(images=3, failed=0, total=None)
    # What is looked at again gets the same answer.
    assert [list(seen.observe(offset, ids, revision, failed=False)) for offset, ids, revision in (
        (3, A + B + A, 0), (5, B + other + other, 0), (6, other + A, 1), (7, A + other + B, 1)
    )] == [[0, 1], [1], [0, 1], [2]]  # fmt: skip


def test_many_results_take_little_memory_and_say_how_much() -> None:
    source = random.Random(5)
    tracemalloc.start()
    try:
        seen = SeenResults(0)
        for offset in range(100_000):
            seen.observe(offset, source.randbytes(16), 0, failed=False)
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
    images = [source.randbytes(16) for _ in range(500)]
    log = images + source.choices(images, k=2000)
    source.shuffle(log)
    seen = SeenResults(0)
    counted = []
    for offset in range(0, len(log), 25):
        ids = log[offset : offset + 25]
        counted += [ids[number] for number in seen.observe(offset, b"".join(ids), 0, failed=False)]
    assert sorted(counted) == sorted(images)
    assert seen.progress.images == 500


def test_jobs_nobody_reads_are_forgotten_first_and_least_recent_first() -> None:
    jobs = SeenJobs(limit_bytes=3000)
    kept = jobs.get("in use", 0)
    states = {name: jobs.get(name, 0) for name in ("old", "new")}
    for state in (kept, *states.values()):
        for number in range(5):
            state.observe(number, number.to_bytes(16, "big"), 0, failed=False)
    jobs.get("new", 0)
    jobs.shrink({kept})
    assert jobs.get("in use", 0) is kept
    assert jobs.get("old", 99).covered == 99


def test_a_job_that_grows_while_it_is_read_counts_with_what_it_has_become() -> None:
    jobs = SeenJobs(limit_bytes=5000)
    read = jobs.get("read", 0)
    jobs.shrink({read})  # small when it is looked at first
    read.observe(0, b"".join(number.to_bytes(2, "big") + bytes(14) for number in range(100)), 0, failed=False)
    other = jobs.get("other", 0)
    jobs.shrink({read})
    assert jobs.get("other", 0) is not other  # the larger one is in use, so the other had to go
    jobs.shrink(set())
    assert jobs.get("read", 0) is not read
    kept = jobs.get("other", 0)
    jobs.shrink(set())
    assert jobs.get("other", 0) is kept  # what was forgotten is not counted any more
