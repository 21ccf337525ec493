"""The broker and the users of these tests: rights are read from what helm/convnet-kafka renders, never written down here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from convnet.digits import DigitsFolders
from convnet_kafka.local.broker import LocalBroker
from support.acl_parts import Scene
from support.guarded_broker import GuardedBroker


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory, digits: DigitsFolders, digits_models: Path) -> Iterator[Scene]:
    """A guarded broker for all tests here, and what parts need beside it."""
    folder = tmp_path_factory.mktemp("acl")
    brokers: list[LocalBroker] = []

    def make_broker(**options: object) -> LocalBroker:
        brokers.append(LocalBroker(jvm_flags=("-XX:TieredStopAtLevel=1",), **options))  # type: ignore[arg-type]
        return brokers[-1]

    try:
        kafka = GuardedBroker(make_broker, folder)
        yield Scene(kafka, digits_models, min(digits.test.rglob("*.png")).read_bytes(), folder)
    finally:
        for each in brokers:
            each.stop()
