"""Fixtures shared by all tests: a real Kafka, brokers of its own for a test that ends them, and a small model of real digits."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from convnet.digits import DigitsFolders, write_digits
from convnet.progress import Silent
from convnet.registry import Registry
from convnet.run import Outcome, train
from convnet.training import TrainingSettings
from convnet_kafka.local.broker import LocalBroker

# A shell that runs the tests in the background lets its children ignore Ctrl-C; so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Brokers of tests live for seconds: compiling little starts them sooner and leaves the cores to the tests.
SHORT_LIVED = ("-XX:TieredStopAtLevel=1",)

# Reaches about 90 % on the held-out digits; unit/model/test_training.py states what it must reach.
SETTINGS = TrainingSettings(height=32, width=32, channels=1, epochs=5)


@pytest.fixture(scope="session")
def broker() -> Iterator[LocalBroker]:
    """A running Kafka with a fresh folder and a free port, shared by all tests: name topics and groups uniquely, and never end it."""
    with LocalBroker(jvm_flags=SHORT_LIVED) as running:
        yield running


@pytest.fixture
def make_broker() -> Iterator[Callable[..., LocalBroker]]:
    """Makes brokers (arguments as LocalBroker's) that a test starts and ends as it likes; whatever is left is stopped afterwards."""
    made: list[LocalBroker] = []

    def make(*args: Any, **kwargs: Any) -> LocalBroker:
        made.append(LocalBroker(*args, **{"jvm_flags": SHORT_LIVED, **kwargs}))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands keep decoded pictures: those of tests go with the tests, and no earlier run's are found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVNET_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> DigitsFolders:
    """Real digits as class folders of PNG files; read only."""
    return write_digits(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="session")
def settings() -> TrainingSettings:
    """What `trained` was trained with."""
    return SETTINGS


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, digits: DigitsFolders) -> tuple[Registry, Outcome]:
    """A registry with a stable model of the digits; read only: copy its folder to change it."""
    registry = Registry(tmp_path_factory.mktemp("models"))
    return registry, train(digits.train, registry, SETTINGS, Silent())


@pytest.fixture(scope="session")
def digits_models(trained: tuple[Registry, Outcome]) -> Path:
    """The folder of that registry."""
    return trained[0].folder
