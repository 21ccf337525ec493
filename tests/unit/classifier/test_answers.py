"""Who answers which image: cancelled jobs cost nothing, a canary has its share and no image pays for its faults, a shadow is not heard."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from convnet.images import DecodeLimits
from convnet_kafka.classifier import answers
from convnet_kafka.classifier.answers import CANCELLED, Answers, Shadow, in_share
from convnet_kafka.classifier.quality import Quality
from convnet_kafka.classifier.results import Failed, ModelBroken, Result, ResultMaker
from convnet_kafka.messages import FailureCode, ImageRecord
from convnet_kafka.metrics import ClassifierMetrics
from support.classifier_rig import POISON, FakePredictor, picture

JOBS = [f"{number:032x}" for number in range(200)]
CANARY_JOB = next(job for job in JOBS if in_share(job, 10))
STABLE_JOB = next(job for job in JOBS if not in_share(job, 10))


def image(job: str, shade: int = 70) -> ImageRecord:
    return ImageRecord(job, "0" * 32, "a.png", "", 0, "default", 1, 0, None, picture(shade))


def maker(version: int) -> ResultMaker:
    return ResultMaker(FakePredictor(version), DecodeLimits())


def broken(one: ResultMaker) -> ResultMaker:
    one.predictor.broken = True  # type: ignore[attr-defined]
    return one


@pytest.fixture
def metrics() -> ClassifierMetrics:
    return ClassifierMetrics(CollectorRegistry())


@pytest.fixture
def out_of_use() -> list[int]:
    return []


Make = Callable[..., Answers]


@pytest.fixture
def make(metrics: ClassifierMetrics, out_of_use: list[int]) -> Make:
    def made(stable: ResultMaker | None = None, cancelled: set[str] | None = None, **other: object) -> Answers:
        return Answers(
            stable or maker(1),
            cancelled if cancelled is not None else set(),
            quality=Quality(metrics, 20),
            on_broken=lambda one, _why: out_of_use.append(one.version),
            **other,  # type: ignore[arg-type]
        )

    return made


def versions(results: list[Result]) -> list[int | None]:
    return [result.model if isinstance(result, Failed) else result[2] for result in results]


def test_images_of_a_cancelled_job_get_that_result_and_no_model_sees_them(make: Make) -> None:
    stable, cancelled = maker(1), {JOBS[0]}
    one = make(stable, cancelled)
    results = one.results([image(JOBS[0]), image(JOBS[1]), image(JOBS[0]), image(JOBS[2])])
    assert [result is CANCELLED for result in results] == [True, False, True, False]
    assert (CANCELLED.code, CANCELLED.model) == (FailureCode.CANCELLED, None)
    assert one.unasked == 2
    assert stable.predictor.batches == [2]  # type: ignore[attr-defined]
    assert one.results([image(JOBS[0])]) == [CANCELLED]
    cancelled.clear()
    assert versions(one.results([image(JOBS[0])])) == [1]
    assert one.unasked == 0


def test_an_image_that_is_no_picture_of_a_cancelled_job_is_not_even_looked_at(make: Make) -> None:
    record = image(JOBS[0])
    record.content = b"not a picture"
    assert make(None, {JOBS[0]}).results([record]) == [CANCELLED]


def test_the_canary_answers_its_share_of_the_jobs_the_same_in_every_classifier(make: Make) -> None:
    assert 10 < sum(in_share(job, 10) for job in JOBS) < 30
    assert all(in_share(job, 20) for job in JOBS if in_share(job, 10))
    assert not any(in_share(job, 0) for job in JOBS)
    assert all(in_share(job, 100) for job in JOBS)
    one = make(canary=maker(2), canary_percent=10)
    results = one.results([image(CANARY_JOB), image(STABLE_JOB, 80), image(CANARY_JOB, 90)])
    assert results == [("class-7", 0.75, 2, None, None), ("class-8", 0.75, 1, None, None), ("class-9", 0.75, 2, None, None)]


def test_what_the_canary_fails_on_stable_answers_and_the_label_says_so(
    make: Make, metrics: ClassifierMetrics, out_of_use: list[int]
) -> None:
    canary = maker(2)
    canary.predictor.predict = _fails_on(canary, 70)  # type: ignore[method-assign]
    one = make(canary=canary, canary_percent=100)
    results = one.results([image(CANARY_JOB, 80), image(CANARY_JOB, 70)])
    assert results == [("class-8", 0.75, 2, None, None), ("class-7", 0.75, 1, 2, None)]
    assert metrics.registry.get_sample_value("convnet_classifier_canary_failures_total") == 1
    assert out_of_use == []


def test_a_canary_that_stable_must_replace_again_and_again_is_out_of_use(
    make: Make, monkeypatch: pytest.MonkeyPatch, out_of_use: list[int]
) -> None:
    monkeypatch.setattr(answers, "CANARY_FAILURES", 3)
    canary = maker(2)
    canary.predictor.predict = _fails_on(canary, 70)  # type: ignore[method-assign]
    one = make(canary=canary, canary_percent=100)
    one.results([image(CANARY_JOB, 70), image(CANARY_JOB, 70)])
    one.results([image(CANARY_JOB, 80)])
    one.results([image(CANARY_JOB, 70), image(CANARY_JOB, 70)])
    assert out_of_use == []
    one.results([image(CANARY_JOB, 70)])
    assert out_of_use == [2]


def test_a_canary_that_fails_on_its_warm_up_is_out_of_use_and_stable_answers_all(make: Make, out_of_use: list[int]) -> None:
    one = make(canary=broken(maker(2)), canary_percent=100)
    assert one.results([image(CANARY_JOB)]) == [("class-7", 0.75, 1, 2, None)]
    assert out_of_use == [2]


def test_an_image_that_no_model_can_answer_fails_with_the_stable_version(make: Make) -> None:
    (result,) = make(canary=maker(2), canary_percent=100).results([image(CANARY_JOB, POISON)])
    assert isinstance(result, Failed)
    assert (result.code, result.model) == (FailureCode.MODEL_ERROR, 1)


def test_a_broken_stable_model_is_told_also_when_there_is_a_canary(make: Make) -> None:
    one = make(broken(maker(1)), canary=maker(2), canary_percent=10)
    with pytest.raises(ModelBroken):
        one.results([image(CANARY_JOB), image(STABLE_JOB)])


def test_a_shadow_is_compared_after_the_results_and_changes_none(make: Make, metrics: ClassifierMetrics) -> None:
    shadow = maker(3)
    shadow._classes = ("other",) * 8 + shadow._classes[8:]  # it differs below class 8
    one = make(shadow=Shadow(shadow, lambda *_: None, Quality(metrics, 20)))
    results = one.results([image(STABLE_JOB, 70), image(STABLE_JOB, 80), image(STABLE_JOB, 90), image(STABLE_JOB, POISON)])
    assert versions(results) == [1, 1, 1, 1]
    assert shadow.predictor.batches == []  # type: ignore[attr-defined]
    assert one.compare() > 0
    assert shadow.predictor.batches == [3]  # type: ignore[attr-defined]
    assert one.compare() == 0.0
    counted = {
        name: metrics.registry.get_sample_value("convnet_classifier_compared_images_total", {"role": "shadow", "agreement": name})
        for name in AGREEMENTS
    }
    assert counted == {"same": 2, "other": 1, "failed": 0}


AGREEMENTS = ("same", "other", "failed")


def test_a_broken_shadow_is_out_of_use_and_harms_nothing(make: Make, metrics: ClassifierMetrics) -> None:
    told: list[str] = []
    one = make(shadow=Shadow(broken(maker(3)), lambda _maker, why: told.append(why), Quality(metrics, 20)))
    assert versions(one.results([image(STABLE_JOB)])) == [1]
    one.compare()
    assert told == ["model 3 fails on its own warm-up batch: broken"]


def _fails_on(one: ResultMaker, shade: int) -> Callable[..., object]:
    """Its predict, which fails on a batch that holds this shade, while its warm-up passes."""
    predict = one.predictor.predict

    def failing(images):
        if (images[:, 0, 0, 0] == shade).any():
            raise ArithmeticError("it cannot")
        return predict(images)

    return failing


def test_some_of_the_canarys_images_are_asked_of_stable_too_once_their_labels_are_on_their_way(
    make: Make, metrics: ClassifierMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "CANARY_COMPARED", 2)
    stable, canary = maker(1), maker(2)
    canary._classes = ("other",) * 8 + canary._classes[8:]  # it differs below class 8
    one = make(stable, canary=canary, canary_percent=100)
    results = one.results([image(CANARY_JOB, shade) for shade in (70, 71, 80, 81)])
    assert versions(results) == [2, 2, 2, 2]
    assert stable.predictor.batches == []  # type: ignore[attr-defined]
    assert one.compare() > 0
    assert stable.predictor.batches == [2]  # type: ignore[attr-defined]
    value = metrics.registry.get_sample_value
    counted = {name: value("convnet_classifier_compared_images_total", {"role": "canary", "agreement": name}) for name in AGREEMENTS}
    assert counted == {"same": 1, "other": 1, "failed": 0}
    assert value("convnet_classifier_confidence_count", {"role": "stable"}) == 0  # asked for nobody
    assert one.compare() == 0.0
