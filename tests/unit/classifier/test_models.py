"""The model in use: waited for, replaced, kept when its successor fails, and taken out of use when it turns out broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from convnet.errors import ModelError, RegistryError
from convnet_kafka.classifier import models
from convnet_kafka.classifier.models import ModelWatch
from support.classifier_rig import FakePredictor
from support.waiting import until


class Models:
    """A registry that a test changes while it is watched."""

    def __init__(self) -> None:
        self.stable: int | None = None
        self.error: Exception | None = None
        self.broken: set[int] = set()
        self.loads: list[int] = []

    def resolve(self) -> int | None:
        if self.error is not None:
            raise self.error
        return self.stable

    def load(self, version: int) -> FakePredictor:
        self.loads.append(version)
        if version in self.broken:
            raise ModelError(f"version {version} is damaged")
        return FakePredictor(version)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Models, ModelWatch]]:
    monkeypatch.setattr(models, "LOOK_S", 0.01)
    monkeypatch.setattr(models, "RELOAD_S", 0.2)
    registry = Models()
    watch = ModelWatch(registry.resolve, registry.load)
    watch.start()
    yield registry, watch
    watch.close()


def version_in_use(watch: ModelWatch) -> Callable[[], int | None]:
    return lambda: watch.current.card.version if watch.current else None


def test_it_waits_for_the_first_model_and_says_so(watched: tuple[Models, ModelWatch]) -> None:
    registry, watch = watched
    until(lambda: watch.problem == "no stable model yet: train one")
    registry.stable = 1
    until(lambda: version_in_use(watch)() == 1)
    assert watch.problem is None


def test_a_registry_that_cannot_be_read_is_said_and_survived(watched: tuple[Models, ModelWatch]) -> None:
    registry, watch = watched
    registry.error = RegistryError("the volume is away")
    until(lambda: watch.problem == "the volume is away")
    registry.error, registry.stable = None, 1
    until(lambda: version_in_use(watch)() == 1)


def test_a_new_stable_version_takes_over_and_is_loaded_once(watched: tuple[Models, ModelWatch]) -> None:
    registry, watch = watched
    registry.stable = 1
    until(lambda: version_in_use(watch)() == 1)
    registry.stable = 2
    until(lambda: version_in_use(watch)() == 2)
    assert registry.loads == [1, 2]


def test_a_version_that_fails_to_load_keeps_the_old_one_and_is_tried_again_later(watched: tuple[Models, ModelWatch]) -> None:
    registry, watch = watched
    registry.stable = 1
    until(lambda: version_in_use(watch)() == 1)
    registry.broken.add(2)
    registry.stable = 2
    until(lambda: registry.loads == [1, 2])
    assert version_in_use(watch)() == 1
    registry.broken.clear()
    until(lambda: version_in_use(watch)() == 2)


def test_a_model_that_turned_out_broken_is_out_of_use_until_another_one_or_later(watched: tuple[Models, ModelWatch]) -> None:
    registry, watch = watched
    registry.stable = 1
    until(lambda: watch.current)
    assert watch.current is not None
    watch.distrust(watch.current, "it fails on its warm-up")
    assert watch.current is None
    assert watch.problem == "it fails on its warm-up"
    registry.stable = 2
    until(lambda: version_in_use(watch)() == 2)
