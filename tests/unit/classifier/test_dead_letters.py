"""How much of what senders made unreadable is kept, and what a dead letter says when its file is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from convnet_kafka.classifier.batching import BatchSizer
from convnet_kafka.classifier.deadletters import KeptBytes
from convnet_kafka.deadletters import DeadLetter, Selection, dead_letter_headers, replay_headers
from convnet_kafka.errors import WireError
from convnet_kafka.messages import FailureCode, image_base_headers, image_headers
from support.classifier_rig import POISON, Rig, picture


class Letter:
    """What is read of a message."""

    def __init__(self, headers: list[tuple[str, bytes]], value: bytes = b"") -> None:
        self._headers = headers
        self._value = value

    def headers(self) -> list[tuple[str, bytes]]:
        return self._headers

    def value(self) -> bytes:
        return self._value

    def partition(self) -> int:
        return 2

    def offset(self) -> int:
        return 9

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_700_000_000_000


def headers(**other: int | None) -> list[tuple[str, bytes]]:
    base = image_base_headers(job="ab" * 16, reply_partition=1, tenant="acme", traceparent=None, submitted_at_ms=5)
    image = image_headers(base, image="cd" * 16, name="cats/1.png", content_type="image/png", revision=3)
    return dead_letter_headers(
        image, reason=FailureCode.MODEL_ERROR, detail="why", attempts=2, topic="t", partition=4, offset=5, model=7, **other
    )


def test_a_letter_is_read_as_it_was_written() -> None:
    letter = DeadLetter.parse(Letter(headers(), b"file"))  # type: ignore[arg-type]
    assert (letter.reason, letter.detail, letter.attempts, letter.model, letter.dropped) == ("model-error", "why", 2, 7, None)
    assert (letter.source, letter.place, letter.size, letter.at_ms) == ("t[4] at 5", "2/9", 4, 1_700_000_000_000)
    assert (letter.image.name, letter.image.revision, letter.image.content) == ("cats/1.png", 3, b"file")
    without = DeadLetter.parse(Letter(headers(dropped=99)))  # type: ignore[arg-type]
    assert (without.dropped, without.size, without.image.content) == (99, 99, b"")


def test_a_record_without_a_reason_is_no_letter() -> None:
    with pytest.raises(WireError, match="'reason'"):
        DeadLetter.parse(Letter([pair for pair in headers() if pair[0] != "reason"]))  # type: ignore[arg-type]


def test_a_replay_takes_off_what_the_letter_added_and_keeps_what_it_does_not_know() -> None:
    found = dict(replay_headers([*headers(dropped=1), ("added-later", b"x")], 4))
    assert found["revision"] == b"4"
    assert found["added-later"] == b"x"
    assert not {"reason", "detail", "attempts", "source-topic", "model", "dropped-bytes"} & set(found)


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        (Selection(), True),
        (Selection(reasons=frozenset({"model-error", "quarantined"})), True),
        (Selection(reasons=frozenset({"quarantined"})), False),
        (Selection(job="ab" * 16, name="cats/*"), True),
        (Selection(name="dogs/*"), False),
        (Selection(image="cdcd"), True),
        (Selection(image="2/9"), True),
        (Selection(image="2/8"), False),
        (Selection(since_ms=1_700_000_000_000, until_ms=1_700_000_000_001), True),
        (Selection(until_ms=1_700_000_000_000), False),
    ],
)
def test_a_selection_takes_what_meets_all_of_it(selection: Selection, taken: bool) -> None:
    assert selection.takes(DeadLetter.parse(Letter(headers()))) is taken  # type: ignore[arg-type]
    assert selection.everything is (selection == Selection())


def test_rubbish_is_kept_up_to_a_share_of_what_is_read() -> None:
    kept = KeptBytes(0.1, free=100)
    assert kept.take(100)
    assert not kept.take(1)
    kept.read(500)
    assert kept.take(50)
    assert not kept.take(1)
    kept.read(1_000_000)
    assert not kept.take(101)  # no more than so much is saved up
    assert kept.take(100)


def test_beyond_the_share_only_headers_are_kept_but_what_is_no_senders_fault_is_kept_whole(rig: Callable[..., Rig]) -> None:
    one = rig(kept=KeptBytes(0.0, free=12))
    one.submit(b"no picture 1", "1.png")
    one.submit(b"no picture 22", "2.png")
    one.submit(picture(POISON), "3.png")
    one.start()
    one.wait_for_commit(3)
    letters = {letter.headers["name"]: letter for letter in one.dead_letters}
    assert (letters[b"1.png"].value, "dropped-bytes" in letters[b"1.png"].headers) == (b"no picture 1", False)
    assert (letters[b"2.png"].value, letters[b"2.png"].headers["dropped-bytes"]) == (b"", b"13")
    assert (letters[b"3.png"].value, letters[b"3.png"].headers["reason"]) == (picture(POISON), b"model-error")
    assert {label.name for label in one.labels} == {"1.png", "2.png", "3.png"}


def test_what_cannot_be_decoded_says_nothing_of_what_an_image_costs(rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    learnt, broken = list[tuple[int, int]](), picture(10)[:30]
    monkeypatch.setattr(BatchSizer, "measured", lambda _sizer, images, _seconds, size: learnt.append((images, size)))
    one = rig()
    for number in range(6):
        one.submit(broken, f"{number}.png")
    one.submit(picture(10), "good.png")
    one.start()
    one.wait_for_commit(7)
    assert learnt == [(1, len(picture(10)))]
