"""From the models that are loaded to the answers of the next batch: a new choice takes over between two batches, never within one.

Belongs to the loop's thread; reads one attribute of the watch's.
"""

from __future__ import annotations

from collections.abc import Container

from convnet.images import DecodeLimits
from convnet.predictor import Predictor
from convnet_kafka.classifier.answers import Answers, Shadow
from convnet_kafka.classifier.models import ModelWatch, Selection
from convnet_kafka.classifier.quality import Quality
from convnet_kafka.classifier.results import PLAIN, ResultMaker, Saying


class Choice:
    """The loop's source of answers.

    Args:
        watch: loads the models.
        cancelled: jobs that are cancelled, by their random part; looked up in, never changed.
        limits: what a picture may cost.
        quality: counts what is answered, and shows what is in use.
        saying: how answers are put; known to fit the models that the watch loads.
    """

    def __init__(
        self, watch: ModelWatch, cancelled: Container[str], limits: DecodeLimits, quality: Quality, saying: Saying = PLAIN
    ) -> None:
        self._watch = watch
        self._cancelled = cancelled
        self._limits = limits
        self._quality = quality
        self._saying = saying
        self._selection = Selection()
        self._makers: dict[Predictor, ResultMaker] = {}
        self._answers: Answers | None = None

    def current(self) -> Answers | None:
        """The models in use, asked for before each batch; None while there is no stable one."""
        selection = self._watch.selection
        if selection is not self._selection:
            self._selection = selection
            self._answers = self._make(selection)
        return self._answers

    def distrust(self, problem: str) -> None:
        """The stable model turned out to be broken: take it out of use."""
        if self._selection.stable is not None:
            self._watch.distrust(self._selection.stable, problem)

    def _make(self, selection: Selection) -> Answers | None:
        loaded = (selection.stable, selection.canary, selection.shadow)
        self._makers = {
            model: self._makers.get(model) or ResultMaker(model, self._limits, self._saying) for model in loaded if model is not None
        }
        self._quality.chosen(selection)
        if selection.stable is None:
            return None
        stable = self._makers[selection.stable]
        canary, shadow = selection.canary, selection.shadow
        return Answers(
            stable,
            self._cancelled,
            quality=self._quality,
            canary=self._makers[canary] if canary is not None else None,
            canary_percent=selection.canary_percent,
            shadow=Shadow(self._makers[shadow], self._broken, self._quality) if shadow is not None else None,
            on_broken=self._broken,
        )

    def _broken(self, maker: ResultMaker, problem: str) -> None:
        self._watch.distrust(maker.predictor, problem)
