"""The models in use: waited for, replaced, kept when a successor fails, taken out of use when broken; and versions on trial."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from convnet.errors import ModelError, RegistryError
from convnet.registry import Aliases
from convnet_kafka.classifier import models
from convnet_kafka.classifier.models import ModelWatch, Role
from support.classifier_rig import FakePredictor
from support.waiting import until


class Models:
    """A registry that a test changes while it is watched."""

    def __init__(self) -> None:
        self.now = Aliases()
        self.error: Exception | None = None
        self.broken: set[int] = set()
        self.loads: list[int] = []
        self.failures: list[Role] = []

    def set(self, **aliases: int | None) -> None:
        self.now = self.now.model_copy(update=aliases)

    def aliases(self) -> Aliases:
        if self.error is not None:
            raise self.error
        return self.now

    def load(self, role: Role) -> FakePredictor | None:
        version = getattr(self.now, role.value)
        if version is None:
            return None
        self.loads.append(version)
        if version in self.broken:
            raise ModelError(f"version {version} is damaged")
        return FakePredictor(version)


Watched = tuple[Models, ModelWatch]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setattr(models, "LOOK_S", 0.01)
    monkeypatch.setattr(models, "RELOAD_S", 0.2)
    registry = Models()
    watch = ModelWatch(registry.aliases, registry.load, registry.failures.append)
    watch.start()
    yield registry, watch
    watch.close()


def in_use(watch: ModelWatch) -> tuple[int | None, int | None, int, int | None]:
    """Versions of stable and canary, the canary's share, the version of the shadow."""
    now = watch.selection
    stable, canary, shadow = (model.card.version if model else None for model in (now.stable, now.canary, now.shadow))
    return stable, canary, now.canary_percent, shadow


def stable_is(watch: ModelWatch, version: int) -> Callable[[], bool]:
    return lambda: in_use(watch)[0] == version


def test_it_waits_for_the_first_model_and_says_so(watched: Watched) -> None:
    registry, watch = watched
    until(lambda: watch.problem == "no stable model yet: train one")
    registry.set(stable=1)
    until(stable_is(watch, 1))
    assert watch.problem is None


def test_a_registry_that_cannot_be_read_is_said_and_survived(watched: Watched) -> None:
    registry, watch = watched
    registry.error = RegistryError("the volume is away")
    until(lambda: watch.problem == "the volume is away")
    registry.set(stable=1)
    registry.error = None
    until(stable_is(watch, 1))


def test_a_new_stable_version_takes_over_and_is_loaded_once(watched: Watched) -> None:
    registry, watch = watched
    registry.set(stable=1)
    until(stable_is(watch, 1))
    registry.set(stable=2)
    until(stable_is(watch, 2))
    assert registry.loads == [1, 2]


def test_a_version_that_fails_to_load_keeps_the_old_one_is_counted_and_tried_again_later(watched: Watched) -> None:
    registry, watch = watched
    registry.set(stable=1)
    until(stable_is(watch, 1))
    registry.broken.add(2)
    registry.set(stable=2)
    until(lambda: registry.failures == [Role.STABLE])
    assert registry.loads == [1, 2]
    assert in_use(watch)[0] == 1
    assert watch.problem is None
    registry.broken.clear()
    until(stable_is(watch, 2))


def test_a_model_that_turned_out_broken_is_out_of_use_until_another_one_or_later(watched: Watched) -> None:
    registry, watch = watched
    registry.set(stable=1)
    until(lambda: watch.current)
    assert watch.current is not None
    watch.distrust(watch.current, "it fails on its warm-up")
    assert watch.current is None
    assert watch.problem == "it fails on its warm-up"
    registry.set(stable=2)
    until(stable_is(watch, 2))


def test_a_canary_and_a_shadow_are_loaded_beside_stable_and_end_with_their_aliases(watched: Watched) -> None:
    registry, watch = watched
    registry.set(stable=1, canary=2, canary_percent=10, shadow=3)
    until(lambda: in_use(watch) == (1, 2, 10, 3))
    registry.set(canary_percent=50)
    until(lambda: in_use(watch) == (1, 2, 50, 3))
    registry.set(canary=None, canary_percent=0, shadow=None)
    until(lambda: in_use(watch) == (1, None, 0, None))
    assert sorted(registry.loads) == [1, 2, 3]


def test_a_canary_that_becomes_stable_is_taken_over_without_another_load(watched: Watched) -> None:
    registry, watch = watched
    registry.set(stable=1, canary=2, canary_percent=10)
    until(lambda: in_use(watch) == (1, 2, 10, None))
    canary = watch.selection.canary
    registry.set(stable=2, canary=None, canary_percent=0)
    until(lambda: in_use(watch) == (2, None, 0, None))
    assert watch.selection.stable is canary
    assert registry.loads == [1, 2]


def test_a_canary_that_cannot_be_loaded_or_breaks_leaves_stable_alone(watched: Watched) -> None:
    registry, watch = watched
    registry.broken.add(2)
    registry.set(stable=1, canary=2, canary_percent=10)
    until(lambda: Role.CANARY in registry.failures)
    assert in_use(watch)[:2] == (1, None)
    registry.broken.clear()
    until(lambda: in_use(watch)[1] == 2)
    assert watch.selection.canary is not None
    watch.distrust(watch.selection.canary, "it fails")
    assert in_use(watch)[:2] == (1, None)
    assert watch.problem is None
