"""Children are watched, started again with growing pauses, ended in time, and heard."""

from __future__ import annotations

import io
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from convnet_kafka.errors import LocalStackError
from convnet_kafka.local import children
from convnet_kafka.local.childlogs import ChildLogs
from convnet_kafka.local.children import Child, how_it_ended
from convnet_kafka.local.signingkey import ensure_signing_key
from support.waiting import until


class Program(Child):
    """A child that runs a line of Python instead of our command."""

    def start(self, logs: ChildLogs) -> None:
        with logs.open(self.name) as output:
            command = [sys.executable, "-c", self.arguments[0]]
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        self.started_at = children.time.monotonic()
        self.start_again_at = None


STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(60)"


@pytest.fixture
def logs(tmp_path: Path) -> ChildLogs:
    return ChildLogs(None, tmp_path / "logs")


@pytest.fixture
def make() -> Iterator[type[Program]]:
    made: list[Child] = []

    def program(name: str, code: str) -> Program:
        made.append(Program(name, [code], {}, ""))
        return made[-1]

    yield program
    children.end(made, 0, lambda child: None)


def test_one_that_dies_is_started_again_later_each_time(logs: ChildLogs, make: type[Program]) -> None:
    child = make("dies", "raise SystemExit(3)")
    child.start(logs)
    pauses = []
    for deaths in range(1, 5):
        until(lambda: not child.is_running)
        child.look_after(logs, restart=True)
        assert child.deaths == deaths
        assert child.start_again_at is not None
        pauses.append(child.pause_s)
        child.start_again_at = 0.0
        child.look_after(logs, restart=True)
    assert pauses == [1.0, 2.0, 4.0, 8.0]
    assert "ended by itself with exit code 3; it is started again in 8 s" in logs.tail("dies")


def test_one_that_lived_long_is_started_again_at_once(logs: ChildLogs, make: type[Program]) -> None:
    child = make("old", "pass")
    child.start(logs)
    until(lambda: not child.is_running)
    child.pause_s, child.started_at = 30.0, child.started_at - 60
    child.look_after(logs, restart=True)
    assert child.pause_s == 0.5


def test_without_restart_a_death_is_told_once(logs: ChildLogs, make: type[Program]) -> None:
    child = make("once", "import os; os.kill(os.getpid(), 9)")
    child.start(logs)
    until(lambda: not child.is_running)
    for _ in range(3):
        child.look_after(logs, restart=False)
    assert (child.deaths, logs.tail("once")) == (1, "ended by SIGKILL")


def test_one_that_does_not_end_in_time_is_killed_and_the_others_are_not(logs: ChildLogs, make: type[Program]) -> None:
    stubborn, polite = make("stubborn", STUBBORN), make("polite", "import time; print('here', flush=True); time.sleep(60)")
    for child in (stubborn, polite):
        child.start(logs)
        until(lambda child=child: "here" in logs.tail(child.name))
    killed: list[str] = []
    children.end([stubborn, polite], 0.3, lambda child: killed.append(child.name))
    assert killed == ["stubborn"]
    assert stubborn.process is not None
    assert polite.process is not None
    assert (stubborn.process.returncode, polite.process.returncode) == (-signal.SIGKILL, -signal.SIGTERM)


def test_exit_statuses_in_words() -> None:
    assert how_it_ended(-9) == "ended by SIGKILL"
    assert how_it_ended(2) == "ended by itself with exit code 2"


def test_a_console_shows_each_line_behind_its_speakers_name(tmp_path: Path, make: type[Program]) -> None:
    shown = io.StringIO()
    logs = ChildLogs(Console(file=shown, width=200), tmp_path)
    line = '{"event": "model loaded", "model": 7, "level": "info", "logger": "x", "timestamp": "2026-01-02T03:04:05Z"}'
    child = make("classifier-1", f"print('plain [red]text[/red]'); print({line!r}); print('{{broken')")
    child.start(logs)
    until(lambda: "{broken" in shown.getvalue())
    assert shown.getvalue().splitlines() == [
        "classifier-1 plain [red]text[/red]",
        "classifier-1 03:04:05 model loaded  model=7",
        "classifier-1 {broken",
    ]
    assert "model loaded" in logs.tail("classifier-1")


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = ensure_signing_key(tmp_path / "data" / "signing-key")
    key = path.read_bytes()
    assert len(key) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ensure_signing_key(path).read_bytes() == key
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LocalStackError, match="--data"):
        ensure_signing_key(tmp_path / "file" / "signing-key")
