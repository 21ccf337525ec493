"""One running stack for all tests that only use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from convnet_kafka.local.stack import Stack, StackOptions


@pytest.fixture(scope="session")
def stack(digits_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, a server of two processes and two classifiers that know the digits."""
    data = tmp_path_factory.mktemp("stack")
    options = StackOptions(
        models=digits_models,
        data=data,
        classifiers=2,
        server_processes=2,
        # A test that looks at the metrics of the connections need not wait 15 s for them.
        environment={"KAFKA_CLIENT_OPTIONS": '{"statistics.interval.ms": 1000}'},
        broker_jvm_flags=("-XX:TieredStopAtLevel=1",),
    )
    with Stack(options) as running:
        yield running
