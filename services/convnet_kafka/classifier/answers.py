"""Who answers which image: nobody when its job is cancelled, the canary for its share of the jobs, the stable model for all others.

Belongs to the loop's thread and knows nothing of Kafka. What a trial version does wrong costs no image its label: stable answers in its
place. Without cancelled jobs and trials a batch is handed on as it is.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Callable, Container, Sequence

import structlog

from convnet_kafka.classifier.models import Role
from convnet_kafka.classifier.quality import Quality
from convnet_kafka.classifier.results import Failed, Labelled, ModelBroken, Result, ResultMaker
from convnet_kafka.messages import FailureCode, ImageRecord

logger = structlog.get_logger(__name__)

CANCELLED = Failed(FailureCode.CANCELLED, "its job was cancelled before its turn")
# Of the canary's images one in so many is asked of stable too: their agreement is known within some percent after a few thousand images,
# for a twentieth of what a shadow costs.
CANARY_COMPARED = 20
# Images in a row that stable can answer and the canary cannot: it is at fault, not they.
CANARY_FAILURES = 8
# Between lines in the log about a shadow.
SHADOW_TOLD_S = 60.0

# Called with the maker whose model turned out broken, and why.
OnBroken = Callable[[ResultMaker, str], None]


def in_share(job: str, percent: int) -> bool:
    """Whether a job's images are the canary's: the same answer in every classifier, for the given percentage of all jobs."""
    return zlib.crc32(job.encode()) % 100 < percent


class Shadow:
    """A version that predicts what stable has answered, and is compared and not heard.

    Args:
        maker: its results.
        on_broken: called when it cannot go on.
        quality: where agreement is counted.
    """

    def __init__(self, maker: ResultMaker, on_broken: OnBroken, quality: Quality) -> None:
        self.maker = maker
        self._on_broken = on_broken
        self._quality = quality
        self._told_at = time.monotonic()
        self._counts: Counter[str] = Counter()

    def compare(self, records: Sequence[ImageRecord], results: Sequence[Result], stable: int) -> None:
        """Predict once more what the stable version answered, and count how often both say the same."""
        answered = [
            (record, result[0])
            for record, result in zip(records, results, strict=True)
            if not isinstance(result, Failed) and result[2] == stable
        ]
        if not answered:
            return
        try:
            others = self.maker.results([record for record, _ in answered])
        except ModelBroken as error:
            self._on_broken(self.maker, str(error))
            return
        self._quality.answered(Role.SHADOW, others)
        self._counts.update(self._quality.compared(Role.SHADOW, [name for _, name in answered], others))
        if time.monotonic() >= self._told_at + SHADOW_TOLD_S:
            self._told_at = time.monotonic()
            logger.info("shadow compared", shadow=self.maker.version, stable=stable, **self._counts)


class Answers:
    """One choice of models, and the jobs that need no answer.

    Args:
        stable: answers.
        cancelled: jobs that are cancelled, by their random part; looked up in, never changed.
        canary: answers its share, or None.
        canary_percent: of the jobs, 0 to 100.
        shadow: is compared, or None.
        on_broken: called when the canary cannot go on.
        quality: counts what is answered.

    Attributes:
        version: of the stable model.
        unasked: images of the last batch that no model was asked about, because their jobs are cancelled.
    """

    def __init__(
        self,
        stable: ResultMaker,
        cancelled: Container[str] = (),
        *,
        quality: Quality,
        canary: ResultMaker | None = None,
        canary_percent: int = 0,
        shadow: Shadow | None = None,
        on_broken: OnBroken = lambda _maker, _reason: None,
    ) -> None:
        self.stable = stable
        self.version = stable.version
        self.unasked = 0
        self._cancelled = cancelled
        self._canary = canary
        self._percent = canary_percent
        self._shadow = shadow
        self._on_broken = on_broken
        self._quality = quality
        self._canary_failures = 0
        self._canary_turn = 0
        self._to_compare: tuple[Sequence[ImageRecord], Sequence[Result]] | None = None
        # Images of the canary's, and its labels for them.
        self._to_check: list[tuple[ImageRecord, Labelled]] = []

    def results(self, records: Sequence[ImageRecord]) -> list[Result]:
        """One result for each image, in their order.

        Raises:
            ModelBroken: the stable model fails on what it is known to be able to answer.
        """
        self.unasked = 0
        cancelled = self._cancelled
        if not cancelled:
            return self._answers(records)
        waiting = [record for record in records if record.job not in cancelled]
        self.unasked = len(records) - len(waiting)
        if not self.unasked:
            return self._answers(records)
        answers = iter(self._answers(waiting) if waiting else [])
        # By the list, not by another look: a job may be cancelled in between.
        asked = {id(record) for record in waiting}
        return [next(answers) if id(record) in asked else CANCELLED for record in records]

    def compare(self) -> float:
        """Compare models on trial by the last batch, once its results are on their way. Returns the seconds it took."""
        if self._to_compare is None and not self._to_check:
            return 0.0
        started = time.perf_counter()
        if self._to_compare is not None and self._shadow is not None:
            (records, results), self._to_compare = self._to_compare, None
            self._shadow.compare(records, results, self.version)
            self._shadow.maker.taken()
        if self._to_check:
            checked, self._to_check = self._to_check, []
            self._check_canary(checked)
        return time.perf_counter() - started

    def taken(self) -> tuple[float, float]:
        """Seconds of decoding and of predicting since this was asked last, without the shadow's."""
        decode_s, predict_s = self.stable.taken()
        if self._canary is not None:
            canary_decode_s, canary_predict_s = self._canary.taken()
            return decode_s + canary_decode_s, predict_s + canary_predict_s
        return decode_s, predict_s

    def _answers(self, records: Sequence[ImageRecord]) -> list[Result]:
        if self._canary is None:
            results = self.stable.results(records)
            self._quality.answered(Role.STABLE, results)
        else:
            results = self._shared(records, self._canary)
        if self._shadow is not None:
            self._to_compare = records, results
        return results

    def _shared(self, records: Sequence[ImageRecord], canary: ResultMaker) -> list[Result]:
        """The canary answers its jobs, stable all others and what the canary fails on."""
        percent = self._percent
        results: list[Result | None] = [None] * len(records)
        chosen = [index for index, record in enumerate(records) if in_share(record.job, percent)]
        failed: set[int] = set()
        for index, result in zip(chosen, self._by_canary([records[index] for index in chosen], canary), strict=True):
            if result is None:
                failed.add(index)
            else:
                results[index] = result
        left = [index for index, result in enumerate(results) if result is None]
        by_stable = self.stable.results([records[index] for index in left]) if left else []
        self._quality.answered(Role.CANARY, [result for result in results if result is not None])
        self._quality.answered(Role.STABLE, by_stable)
        self._choose_to_check(records, results)
        for index, result in zip(left, by_stable, strict=True):
            results[index] = (*result[:3], canary.version, result[4]) if index in failed and not isinstance(result, Failed) else result
        self._judge(canary, [results[index] for index in chosen])
        return [result for result in results if result is not None]

    def _choose_to_check(self, records: Sequence[ImageRecord], results: Sequence[Result | None]) -> None:
        """Note every so many of the canary's labels, to ask stable later. Whatever is left from before was of a batch that failed."""
        self._to_check = []
        for record, result in zip(records, results, strict=True):
            if result is None or isinstance(result, Failed):
                continue
            self._canary_turn += 1
            if self._canary_turn % CANARY_COMPARED == 0:
                self._to_check.append((record, result))

    def _check_canary(self, checked: Sequence[tuple[ImageRecord, Labelled]]) -> None:
        """Ask stable what it says of these images."""
        stable = self.stable.results([record for record, _ in checked])
        self.stable.taken()
        pairs = [(said[0], label) for said, (_, label) in zip(stable, checked, strict=True) if not isinstance(said, Failed)]
        self._quality.compared(Role.CANARY, [name for name, _ in pairs], [label for _, label in pairs])

    def _by_canary(self, records: Sequence[ImageRecord], canary: ResultMaker) -> list[Result | None]:
        """The canary's results; None where the model failed."""
        if not records:
            return []
        try:
            results = canary.results(records)
        except ModelBroken as error:
            self._on_broken(canary, str(error))
            return [None] * len(records)
        return [None if isinstance(result, Failed) and result.model is not None else result for result in results]

    def _judge(self, canary: ResultMaker, results: Sequence[Result | None]) -> None:
        """Count where stable answered in the canary's place; a canary that fails again and again is taken out of use."""
        failures = 0
        for result in results:
            if result is None or isinstance(result, Failed):
                continue
            if result[3] is None:
                self._canary_failures = 0
            else:
                failures += 1
                self._canary_failures += 1
        if not failures:
            return
        self._quality.stepped_in(failures)
        logger.warning("the canary failed; stable answered", canary=canary.version, stable=self.version, images=failures)
        if self._canary_failures >= CANARY_FAILURES:
            self._canary_failures = 0
            self._on_broken(canary, f"model {canary.version} failed on {CANARY_FAILURES} images in a row that {self.version} can answer")
