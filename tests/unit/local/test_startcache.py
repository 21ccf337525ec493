"""What an earlier start leaves for quicker ones: made once, used where it fits, done without everywhere else."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from convnet_kafka.errors import LocalStackError
from convnet_kafka.local.java import Java
from convnet_kafka.local.startcache import flags


class Runs:
    """Stands for the broker that is started and ended: writes what Java would write, or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.flags: list[str] = []
        self._fails = fails

    def __call__(self, flag: str) -> None:
        self.flags.append(flag)
        if self._fails:
            raise LocalStackError("the local Kafka ended while it started")
        Path(flag.removeprefix("-XX:AOTCacheOutput=")).write_bytes(b"classes")


@pytest.fixture
def java(tmp_path: Path) -> Java:
    (tmp_path / "java" / "bin").mkdir(parents=True)
    (tmp_path / "java" / "release").write_text('JAVA_VERSION="25.0.2"\n')
    return Java(tmp_path / "java" / "bin" / "java", 25)


@pytest.fixture
def jars(tmp_path: Path) -> list[Path]:
    (tmp_path / "jars").mkdir()
    return [tmp_path / "jars" / "kafka.jar", tmp_path / "jars" / "clients.jar"]


def test_it_is_made_once_and_used_from_then_on(java: Java, jars: list[Path]) -> None:
    runs, said = Runs(), io.StringIO()
    first = flags(java, jars, runs, Console(file=said))
    assert flags(java, jars, runs, Console(file=said)) == first
    assert len(runs.flags) == 1
    assert said.getvalue().count("Preparing Kafka") == 1
    (cache,) = jars[0].parent.iterdir()
    assert first == [f"-XX:AOTCache={cache}"]
    assert cache.read_bytes() == b"classes"


def test_another_java_has_another(java: Java, jars: list[Path]) -> None:
    first = flags(java, jars, Runs(), Console(file=io.StringIO()))
    (java.executable.parent.parent / "release").write_text('JAVA_VERSION="25.0.3"\n')
    assert flags(java, jars, Runs(), Console(file=io.StringIO())) != first


def test_where_it_cannot_be_made_kafka_starts_without_and_no_start_tries_again(java: Java, jars: list[Path]) -> None:
    runs = Runs(fails=True)
    assert flags(java, jars, runs, Console(file=io.StringIO())) == flags(java, jars, runs, Console(file=io.StringIO())) == []
    assert len(runs.flags) == 1


def test_an_older_java_and_a_folder_that_cannot_be_written_do_without(
    java: Java, jars: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs()
    assert flags(Java(java.executable, 21), jars, runs, Console(file=io.StringIO())) == []
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert flags(java, jars, runs, Console(file=io.StringIO())) == []
    assert not runs.flags


def test_a_full_disk_costs_nothing_but_the_cache(java: Java, jars: list[Path]) -> None:
    def full(_flag: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert flags(java, jars, full, Console(file=io.StringIO())) == []
    assert list(jars[0].parent.iterdir()) == []
