"""What `top` makes of two readings: figures, hints, and a screen that fits."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rich.console import Console

from convnet_kafka.diagnosis.endpoints import Endpoint
from convnet_kafka.diagnosis.groups import Group, Member
from convnet_kafka.diagnosis.top.figures import Figures, figures
from convnet_kafka.diagnosis.top.hints import hints
from convnet_kafka.diagnosis.top.plain import as_json, line
from convnet_kafka.diagnosis.top.reading import KafkaReading, LaneReading, Reading, ReplicaReading
from convnet_kafka.diagnosis.top.samples import Samples
from convnet_kafka.diagnosis.top.view import View
from convnet_kafka.diagnosis.words import amount, ranges, rate, span
from convnet_kafka.kafka.positions import Position
from convnet_kafka.messages import Lane

NAMES = ("convnet_", "process_")


def classifier(number: int, labelled: int, **other: float) -> ReplicaReading:
    values = {
        'convnet_classifier_images_total{lane="bulk",result="labelled"}': labelled,
        'convnet_classifier_images_total{lane="bulk",result="quarantined"}': other.get("quarantined", 0),
        'convnet_classifier_stage_seconds_sum{lane="bulk",stage="predict"}': labelled * 0.01,
        'convnet_classifier_batch_images_sum{lane="bulk"}': labelled,
        'convnet_classifier_batch_images_count{lane="bulk"}': labelled / 8,
        'convnet_classifier_end_to_end_seconds_bucket{lane="bulk",le="1.0"}': labelled,
        'convnet_classifier_end_to_end_seconds_bucket{lane="bulk",le="+Inf"}': labelled,
        'convnet_classifier_model_version{role="stable"}': other.get("model", 7),
        'convnet_classifier_alias_version{role="stable"}': 7,
        'convnet_classifier_alias_version{role="canary"}': other.get("canary", 0),
        "process_resident_memory_bytes": 1e8,
        "process_cpu_seconds_total": labelled * 0.01,
    }
    return _replica("classifier", number, values)


def server(accepted: int, **other: float) -> ReplicaReading:
    values = {
        'convnet_server_images_total{lane="bulk",outcome="accepted"}': accepted,
        'convnet_server_images_total{lane="bulk",outcome="unknown"}': other.get("unknown", 0),
        'convnet_server_requests_total{lane="bulk",route="/v1/jobs",status="503"}': other.get("refused", 0),
        "convnet_server_kafka_silent_seconds": other.get("silent", 0.5),
        'convnet_server_backlog_oldest_seconds{lane="bulk"}': 14,
        "process_cpu_seconds_total": 1,
    }
    return _replica("server", 1, values)


def _replica(role: str, number: int, values: dict[str, float]) -> ReplicaReading:
    page = "".join(f"{name} {value}\n" for name, value in values.items()).encode()
    return ReplicaReading(
        Endpoint(f"http://{role}-{number}:80", f"{role}-{number}"),
        role,
        f"pod-{number}",
        ready=True,
        reasons=(),
        samples=Samples.parse(page, NAMES),
    )


def lane(*ends: int, done: int = 0, members: int = 1, state: str = "stable") -> LaneReading:
    """A lane whose partitions end there, with so much of each done; its members share them in turn."""
    owned = [tuple(range(number, len(ends), members)) for number in range(members)]
    group = Group(
        state, "consumer", tuple(Member(f"c-classifier-bulk-pod-{number + 1}", "10.0.0.1", held) for number, held in enumerate(owned))
    )
    return LaneReading({number: Position(0, end, done) for number, end in enumerate(ends)}, group)


def reading(at: float, bulk: LaneReading, *replicas: ReplicaReading, letters: int = 0) -> Reading:
    return Reading(
        at,
        replicas,
        KafkaReading(
            3, {Lane.BULK: bulk, Lane.FAST: LaneReading({0: Position(0, 0, 0)}, Group("stable", "consumer", ()))}, letters, letters
        ),
    )


def seen(before: Reading, after: Reading) -> tuple[Figures, str]:
    found = figures(before, after)
    return found, "\n".join(f"{hint.what} -> {hint.do}" for hint in hints(found))


def test_rates_waits_and_owners_come_out_of_two_readings() -> None:
    before = reading(100.0, lane(1000, 1000, done=900), server(1000), classifier(1, 500), classifier(2, 500))
    after = reading(110.0, lane(2000, 1500, done=1400, members=2), server(2500), classifier(1, 1000), classifier(2, 1000), letters=20)
    found, said = seen(before, after)
    bulk = found.lanes[0]
    assert (found.seconds, found.brokers) == (10, 3)
    assert (found.accepted_per_s, found.labelled_per_s) == (150, 100)
    assert (bulk.in_per_s, bulk.done_per_s, bulk.waiting, bulk.oldest_s) == (150, 100, 700, 14)
    assert bulk.drain_s == 7
    assert bulk.latency_s["p50"] == pytest.approx(0.5)
    assert bulk.batch_images == 8
    assert [(each.partition, each.waiting, each.owner[-5:]) for each in bulk.partitions] == [(0, 600, "pod-1"), (1, 100, "pod-2")]
    assert [each.holds[Lane.BULK] for each in found.classifiers] == [(0,), (1,)]
    assert [each.busy for each in found.classifiers] == [pytest.approx(0.5)] * 2
    assert found.strangers == ()
    assert (found.dead_letters, found.dead_letters_per_s) == (20, 2)
    assert (
        said == "the bulk lane gets 150/s and 100/s are done -> about 3 classifiers keep up (2 run); the lane has 2 partitions: "
        "'convnet-kafka topics grow --images-partitions 3' first"
    )


def test_without_addresses_kafka_alone_tells_the_rates_and_who_works() -> None:
    found, said = seen(reading(0.0, lane(0)), reading(10.0, lane(500, done=500)))
    assert found.accepted_per_s is None
    assert found.lanes[0].in_per_s == found.lanes[0].done_per_s == 50
    assert [(each.name, each.holds[Lane.BULK]) for each in found.strangers] == [("pod-1", (0,))]
    assert said == ""


def test_a_first_reading_has_no_rates() -> None:
    found = figures(None, reading(5.0, lane(100), server(10), classifier(1, 5)))
    assert found.accepted_per_s is None
    assert found.lanes[0].in_per_s is None
    assert (found.lanes[0].waiting, found.lanes[0].drain_s) == (100, None)
    assert hints(replace(found, problems=())) == []


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            reading(0, lane(9, members=0)),
            reading(10, lane(9, members=0)),
            "9 images wait in the bulk lane, and no classifier is a member of its group",
        ),
        (reading(0, lane(9)), reading(10, lane(9)), "9 images wait in the bulk lane, and none is done"),
        (reading(0, lane(9, done=9)), reading(10, replace(lane(9, 0), group=lane(9).group)), "partitions 1 of the bulk lane have no owner"),
        (
            reading(0, lane(10_000)),
            reading(10, lane(10_000, done=100)),
            "9,900 images wait in the bulk lane, for another 16 min at this rate",
        ),
        (reading(0, lane(0)), reading(10, lane(0, members=3)), "2 classifiers hold nothing of the bulk lane: it has 1 partitions"),
        (
            reading(0, lane(0)),
            reading(10, LaneReading({0: Position(50, 60, 30)}, lane(0).group)),
            "20 images of the bulk lane expired unclassified",
        ),
        (reading(0, lane(0), server(0)), reading(10, lane(0), server(0, unknown=50)), "5.0 images/s are answered 'unknown'"),
        (reading(0, lane(0), server(0)), reading(10, lane(0), server(0, refused=30)), "server-1 refuses 3.0 requests/s (429, 503)"),
        (reading(0, lane(0), server(0)), reading(10, lane(0), server(0, silent=1e9)), "server-1 has not heard from Kafka for 86,400 s"),
        (
            reading(0, lane(0), classifier(1, 0)),
            reading(10, lane(0), classifier(1, 0, quarantined=5)),
            "images fail for a reason that is ours: 0.5/s quarantined",
        ),
        (
            reading(0, lane(0)),
            reading(10, lane(0), classifier(1, 0, model=6), classifier(2, 0)),
            "classifiers serve several stable versions: 1 with 6, 1 with 7",
        ),
        (reading(0, lane(0)), reading(10, lane(0), classifier(1, 0, canary=8)), "the canary version is out of use in classifier-1"),
        (
            reading(0, lane(5000), classifier(1, 0)),
            reading(10, lane(5000, done=900), classifier(1, 950)),
            "every classifier works all the time",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_somebody_should_act_on_is_told(before: Reading, after: Reading, expected: str) -> None:
    found, said = seen(before, after)
    assert expected in said
    assert expected in Console(width=200).render_str(said).plain
    assert json.loads(as_json(found, hints(found)))["hints"]


def test_replicas_and_a_kafka_that_do_not_answer_are_told_first() -> None:
    gone = ReplicaReading(Endpoint("http://10.0.0.9:80"), "", "", ready=False, reasons=("does not answer: timed out",), samples=Samples())
    unready = replace(classifier(1, 0), ready=False, reasons=("no stable model yet",))
    found, said = seen(Reading(0.0), Reading(10.0, (gone, unready), None, ("Kafka: it does not answer",)))
    assert said.splitlines()[0] == "Kafka: it does not answer -> 'convnet-kafka doctor' looks closer"
    assert "10.0.0.9:80 does not answer: timed out" in said
    assert "classifier-1 is not ready: no stable model yet" in said
    assert "Kafka does not answer" in line(found, hints(found))
    assert "0 of 1 classifiers ready" in line(found, hints(found))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (250, 60)])
def test_the_screen_fits_and_obeys_nobody_elses_control_characters(width: int, height: int) -> None:
    evil = replace(classifier(1, 0), endpoint=Endpoint("http://x:1", "evil\x1b[2J"))
    replicas = [server(0), evil, *(classifier(number, 0) for number in range(2, 60))]
    view = View("convnet on kafka:9092")
    for at in (0.0, 10.0):
        now = reading(at, lane(*range(24), members=60), *replicas)
        found = figures(reading(0.0, lane(*range(24)), *replicas), now) if at else figures(None, now)
        view.show(found, hints(found))
    console = Console(width=width, height=height, force_terminal=True, color_system=None, record=True, file=None)
    with console.capture() as captured:
        console.print(view)
    drawn = captured.get().splitlines()
    assert all(len(each) <= width for each in drawn)
    assert "\x1b[2J" not in captured.get()
    assert "evil?[2J"[: width // 12] in captured.get()
    assert any("... and" in each for each in drawn)
    assert len(drawn) <= max(height, 32)


def test_numbers_are_short() -> None:
    assert [rate(value) for value in (None, 0, 0.01, 0.5, 12.3, 12_345)] == ["-", "0", "<0.1", "0.5", "12", "12,345"]
    assert [span(value) for value in (None, 0.0123, 2.34, 45, 600, 7300, 200_000)] == [
        "-",
        "12 ms",
        "2.3 s",
        "45 s",
        "10 min",
        "2 h",
        "2 d",
    ]
    assert [amount(value) for value in (0, 9999, 12_345, 2_600_000, 3_000_000_000)] == ["0", "9999", "12k", "3M", "3G"]
    assert ranges((0, 1, 2, 5, 7, 8)) == "0-2,5,7-8"
