"""An image that ends its process is found and set aside, by whoever owns its partition next; an innocent one never is. On stand-ins."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from convnet.errors import ModelError
from convnet_kafka.classifier import lanes, onebyone, pipeline
from convnet_kafka.classifier.quarantine import DEATHS_ALONE, WATCHED_RECORDS, Note, Stage, Watch
from convnet_kafka.messages import FailureCode, Lane
from convnet_kafka.settings import ClassifierSettings
from support.classifier_rig import Rig, picture
from support.memory_kafka import MemoryTopic
from support.waiting import until

MakeRig = Callable[..., Rig]
# A picture of this shade ends the process that predicts it.
DEADLY = 240


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "WAIT_IDLE_S", 0.01)
    monkeypatch.setattr(lanes, "READ_S", 0.01)
    monkeypatch.setattr(lanes, "NOTE_AGAIN_S", 0.01)
    monkeypatch.setattr(onebyone, "LOOK_S", 0.01)
    monkeypatch.setattr(onebyone, "LAST_TRY_AFTER_S", 0.0)


# ---- what is written down ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("note", [Note(1, 64), Note(3, 2**40, 2**39, 2)])
def test_a_note_is_read_as_it_was_written(note: Note) -> None:
    assert Note.parse(note.text()) == note


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "consumer-1",
        "[]",
        "{}",
        '"x"',
        '{"attempt":1,"until":5}',
        '{"convnet-kafka":2,"attempt":1,"until":5}',
        '{"convnet-kafka":1}',
        '{"convnet-kafka":1,"attempt":"1","until":5}',
        '{"convnet-kafka":1,"attempt":1,"until":nu',
    ],
)
def test_what_is_not_ours_or_of_another_version_is_passed_over(text: str | None) -> None:
    assert Note.parse(text) is None


def test_nothing_is_watched_where_nobody_can_have_been_before() -> None:
    assert Watch.of(committed=-1, metadata="", end=0) is None
    assert Watch.of(committed=7, metadata="", end=7) is None
    assert Watch.of(committed=7, metadata=Note(1, 7).text(), end=7) is None


def watch(committed: int, metadata: str, end: int) -> Watch:
    made = Watch.of(committed, metadata, end)
    assert made is not None
    return made


def test_what_lay_there_when_the_partition_came_is_watched_and_what_comes_later_is_free() -> None:
    one = watch(-1, "", 10)
    assert [one.stage(offset) for offset in (0, 9, 10)] == [Stage.WATCHED, Stage.WATCHED, Stage.FREE]
    assert not one.over(9)
    assert one.over(10)
    assert Note.parse(one.watched(8)) == Note(1, 8)
    assert one.resting(3) == ""


def test_no_more_is_watched_than_a_process_can_have_begun() -> None:
    one = watch(100, "", 1_000_000)
    last = 100 + WATCHED_RECORDS - 1
    assert [one.stage(offset) for offset in (100, last, last + 1)] == [Stage.WATCHED, Stage.WATCHED, Stage.FREE]


def test_as_much_is_watched_as_a_process_with_the_largest_batches_can_have_begun_since_its_last_commit() -> None:
    settings = ClassifierSettings.model_json_schema()["properties"]
    largest = settings["max_batch"]["maximum"]
    in_flight = pipeline.MAX_IMAGES_IN_FLIGHT - 1 + largest
    until_a_commit_is_due = 12_000 * settings["commit_interval_s"]["default"]
    until_it_is_sent = 2 * largest
    assert in_flight + until_a_commit_is_due + until_it_is_sent <= WATCHED_RECORDS


def test_what_was_in_flight_at_a_death_is_handled_alone_and_what_follows_is_watched() -> None:
    one = watch(100, Note(1, 164).text(), 500)
    assert [one.stage(offset) for offset in (100, 163, 164)] == [Stage.ALONE, Stage.ALONE, Stage.WATCHED]
    assert Note.parse(one.alone(100)) == Note(2, 164, 100, 1)
    assert Note.parse(one.resting(101)) == Note(1, 164)
    assert one.resting(164) == ""


def test_two_deaths_alone_with_the_same_record_make_it_guilty() -> None:
    first = watch(100, Note(2, 164, 100, 1).text(), 500)
    assert not first.guilty(100)
    assert Note.parse(first.alone(100)) == Note(3, 164, 100, 2)
    assert Note.parse(first.alone(101)) == Note(3, 164, 101, 1)
    second = watch(100, first.alone(100), 500)
    assert second.guilty(100)
    assert not second.guilty(101)


def test_a_record_that_was_survived_is_no_suspect_any_more() -> None:
    one = watch(100, Note(2, 164, 100, 1).text(), 500)
    assert Note.parse(one.survived(100)) == Note(3, 164)
    assert Note.parse(one.resting(100)) == Note(2, 164)
    assert one.deaths(100) == 0


def test_a_note_beyond_a_topic_made_anew_blames_nothing_beyond_its_end() -> None:
    one = watch(0, Note(1, 5000).text(), 3)
    assert one.stage(2) is Stage.ALONE
    assert one.over(3)


# ---- lives and deaths ----------------------------------------------------------------------------------------------------------


class Lives:
    """Classifiers one after the other on the same topics, each until it dies or has nothing left to do."""

    def __init__(self, make: MakeRig, partitions: int = 1) -> None:
        self._make = make
        self.topics = {lane: MemoryTopic(partitions) for lane in Lane}
        self.rigs: list[Rig] = []

    def new(self, on_event: Callable[[str], bool] | None = None) -> Rig:
        """A life; `on_event` is asked at each commit and each prediction whether to die right there."""
        one = self._make(topics=self.topics)
        self.rigs.append(one)

        def happens(event: str) -> None:
            if on_event is not None and on_event(event):
                one.die()

        def predicting(shades: list[int]) -> None:
            happens("predict")
            if DEADLY in shades:
                one.die()

        one.predictor.on_predict = predicting
        one.on_consumer = lambda consumer: setattr(consumer, "on_commit", lambda: happens("commit"))
        return one

    def live(self, on_event: Callable[[str], bool] | None = None) -> bool:
        """Start one and let it work until all is done (True) or it is dead (False)."""
        one = self.new(on_event)
        one.start()
        until(lambda: one.dead or self.done(), 20, "an end")
        one.end()
        return not one.dead

    def done(self) -> bool:
        """Everything has its result, and no note blames anything: one that ends where the group stands may be left, by a death there."""
        for topic in self.topics.values():
            for partition, records in topic.records.items():
                note = Note.parse(topic.notes.get(partition))
                if topic.committed.get(partition, 0) != len(records) or (note is not None and note.until > len(records)):
                    return False
        return True

    def errors(self) -> dict[str, set[FailureCode | None]]:
        """Name -> what its results were."""
        found: dict[str, set[FailureCode | None]] = {}
        for one in self.rigs:
            for label in one.labels:
                found.setdefault(label.name, set()).add(label.error)
        return found


@pytest.fixture
def lives(rig: MakeRig) -> Iterator[Callable[..., Lives]]:
    return lambda partitions=1: Lives(rig, partitions)


def test_an_image_that_ends_its_process_is_set_aside_after_two_deaths_alone_and_all_others_are_labelled(
    lives: Callable[..., Lives],
) -> None:
    here = lives(partitions=2)
    first = here.new()
    names = set()
    for number in range(40):
        first.submit(picture(number), f"{number}.png", partition=number % 2)
        names.add(f"{number}.png")
    deadly = first.submit(picture(DEADLY), "deadly.png", partition=1)
    for number in range(3):
        first.submit(picture(number), f"fast-{number}.png", Lane.FAST)
        names.add(f"fast-{number}.png")

    deaths = 0
    while not here.live():
        deaths += 1
        assert deaths <= 1 + DEATHS_ALONE
    assert deaths == 1 + DEATHS_ALONE
    results = here.errors()
    assert results.pop("deadly.png") == {FailureCode.QUARANTINED}
    assert results == {name: {None} for name in names}
    (letter,) = (sent for one in here.rigs for sent in one.dead_letters)
    assert (letter.key, letter.value) == (deadly.encode(), picture(DEADLY))
    assert (letter.headers["reason"], letter.headers["attempts"], letter.headers["model"]) == (b"quarantined", b"2", b"")
    assert letter.headers["source-offset"] == b"20"


def test_two_deadly_images_side_by_side_are_both_set_aside(lives: Callable[..., Lives]) -> None:
    here = lives()
    first = here.new()
    for number, shade in enumerate([10, DEADLY, DEADLY, 20]):
        first.submit(picture(shade), f"{number}.png")
    for _ in range(8):
        if here.live():
            break
    assert here.errors() == {"0.png": {None}, "1.png": {FailureCode.QUARANTINED}, "2.png": {FailureCode.QUARANTINED}, "3.png": {None}}


def test_a_deadly_image_that_comes_later_is_found_as_well(lives: Callable[..., Lives]) -> None:
    """No note stands while free records are worked on: the next owner leaves one, the one after it finds it."""
    here = lives()
    one = here.new()
    one.start()
    one.submit(picture(10), "before.png")
    one.wait_for_commit(1)
    one.submit(picture(DEADLY), "deadly.png")
    one.submit(picture(20), "after.png")
    until(lambda: one.dead)
    one.end()
    deaths = 1
    while not here.live():
        deaths += 1
        assert deaths <= 2 + DEATHS_ALONE
    assert deaths == 2 + DEATHS_ALONE
    assert here.errors() == {"before.png": {None}, "deadly.png": {FailureCode.QUARANTINED}, "after.png": {None}}


def test_no_two_kills_wherever_they_hit_set_an_innocent_aside(lives: Callable[..., Lives]) -> None:
    """Every pair of moments: around each commit and each prediction of the first two lives."""

    def at(number: int) -> Callable[[str], bool]:
        moments = itertools.count()
        return lambda _event: next(moments) == number

    for first, second in itertools.product(range(4), range(9)):
        here = lives()
        planner = here.new()
        for number in range(3):
            planner.submit(picture(number), f"{number}.png")
        here.live(at(first))
        here.live(at(second))
        while not here.live():
            pytest.fail("nobody kills any more")
        assert here.errors() == {f"{number}.png": {None} for number in range(3)}, (first, second)


def test_whoever_leaves_in_good_order_leaves_no_suspicion(lives: Callable[..., Lives]) -> None:
    here = lives()
    one = here.new()
    one.producers[Lane.BULK].silent = True
    one.submit(picture(10), "a.png")
    one.drain_timeout_s = 0.1
    one.start()
    until(lambda: one.producers[Lane.BULK].waiting)
    assert Note.parse(here.topics[Lane.BULK].notes[0]) == Note(1, 1)
    one.end()
    assert one.finished is False
    assert here.topics[Lane.BULK].committed == {0: 0}
    assert here.topics[Lane.BULK].notes == {0: ""}


def test_a_model_that_breaks_while_an_image_is_alone_counts_no_death_against_it(lives: Callable[..., Lives]) -> None:
    here = lives()
    here.topics[Lane.BULK].committed[0] = 0
    here.topics[Lane.BULK].notes[0] = Note(2, 1, 0, 1).text()
    one = here.new()
    one.submit(picture(10), "a.png")

    def breaks(_shades: list[int]) -> None:
        one.predictor.broken = True
        raise ModelError("broken")

    one.predictor.on_predict = breaks
    one.start()
    one.wait_for_end()
    assert Note.parse(here.topics[Lane.BULK].notes[0]) == Note(2, 1, 0, 1)
    assert here.live()
    assert here.errors() == {"a.png": {None}}


def test_once_an_image_is_worked_on_a_death_is_not_its_fault_though_kafka_does_not_have_its_result(lives: Callable[..., Lives]) -> None:
    here = lives()
    bulk = here.topics[Lane.BULK]
    bulk.committed[0], bulk.notes[0] = 0, Note(2, 1, 0, 1).text()
    one = here.new()
    one.submit(picture(10), "a.png")
    one.producers[Lane.BULK].silent = True
    one.start()
    until(lambda: Note.parse(bulk.notes[0]) == Note(3, 1))
    one.die()
    one.producers[Lane.BULK].silent = False
    one.end()
    assert bulk.committed == {0: 0}
    assert here.live()
    assert here.errors() == {"a.png": {None}}


def test_a_process_that_has_only_just_begun_does_not_try_an_image_for_the_last_time(
    lives: Callable[..., Lives], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever dies soon after each start dies of something else."""
    monkeypatch.setattr(onebyone, "LAST_TRY_AFTER_S", 0.3)
    here = lives()
    bulk = here.topics[Lane.BULK]
    bulk.committed[0], bulk.notes[0] = 0, Note(2, 1, 0, 1).text()
    one = here.new()
    one.submit(picture(10), "a.png")
    one.submit(picture(20), "fast.png", Lane.FAST)
    one.start()
    one.wait_for_commit(1, Lane.FAST)  # the other lane goes on meanwhile
    begun = one.lanes[Lane.BULK]._one_by_one._began_at
    assert one.predictor.batches == [1]
    until(here.done)
    assert time.monotonic() >= begun + 0.3
    assert here.errors() == {"a.png": {None}, "fast.png": {None}}


def test_what_could_not_be_noted_is_not_begun_and_not_skipped(rig: MakeRig) -> None:
    one = rig()
    one.on_consumer = lambda consumer: setattr(consumer, "refuses", True)
    for number in range(20):
        one.submit(picture(number), f"{number}.png")
    one.start()
    until(lambda: Lane.BULK in one.consumers and one.consumers[Lane.BULK].rewinds >= 3)
    assert one.predictor.batches == []
    for consumer in one.consumers.values():
        consumer.refuses = False
    one.wait_for_commit(20)
    assert Counter(label.name for label in one.labels) == Counter(f"{number}.png" for number in range(20))


def test_while_an_image_is_alone_the_loop_begins_nothing_else(lives: Callable[..., Lives]) -> None:
    here = lives()
    bulk = here.topics[Lane.BULK]
    bulk.committed[0], bulk.notes[0] = 0, Note(1, 2).text()
    one = here.new()
    for name in ("a.png", "b.png"):
        one.submit(picture(10), name)
    begun: list[tuple[str, str | None]] = []

    def predicting(shades: list[int]) -> None:
        note = Note.parse(bulk.notes[0])
        begun.append(("fast" if 90 in shades else "bulk", str(note.alone) if note is not None and note.alone is not None else None))
        if len(begun) == 1:
            one.submit(picture(90), "person.png", Lane.FAST)  # waits in its slot while bulk has the loop to itself

    one.predictor.on_predict = predicting
    one.start()
    until(here.done)
    assert [alone for lane, alone in begun if lane == "bulk"] == ["0", "1"]
    assert [alone for lane, alone in begun if lane == "fast"] == [None]
    assert {label.name for label in one.labels} == {"a.png", "b.png", "person.png"}
    assert one.metrics.registry.get_sample_value("convnet_classifier_images_alone_total", {"lane": "bulk"}) == 2


def test_the_normal_path_notes_nothing(rig: MakeRig) -> None:
    one = rig()
    one.start()
    until(lambda: Lane.BULK in one.consumers and one.consumers[Lane.BULK].assigned)
    for number in range(50):
        one.submit(picture(number), f"{number}.png")
    one.wait_for_commit(50)
    assert one.consumers[Lane.BULK].noted == 0
