"""The trainer's lock: one holder, named; the dead recovered; losing it noticed; nothing else waits for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from convnet.errors import RegistryError, TrainerBusy
from convnet.registry import Registry
from convnet.trainerlock import Patience, only_trainer

QUICK = Patience(beat_s=0.02, late_s=0.2, stale_s=0.4)
HOLD = (
    "import sys, time; from pathlib import Path; from convnet.trainerlock import only_trainer\n"
    "with only_trainer(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
)


def held(folder: Path) -> list[Path]:
    return list(folder.glob(".trainer-*.lock"))


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds, time.time() - seconds))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def test_a_second_trainer_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    with only_trainer(tmp_path), pytest.raises(TrainerBusy, match=rf"another training is running in .*: process {os.getpid()} on "):
        only_trainer(tmp_path).__enter__()
    with only_trainer(tmp_path):
        assert len(held(tmp_path)) == 1
    assert not held(tmp_path)


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    holders, most, refused = [0], [0], []

    def train(_: int) -> None:
        try:
            with only_trainer(tmp_path, QUICK):
                holders[0] += 1
                most[0] = max(most[0], holders[0])
                time.sleep(0.002)
                holders[0] -= 1
        except TrainerBusy as error:
            refused.append(str(error))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(train, range(200)))
    assert most[0] == 1
    assert refused


def test_the_lock_of_a_process_killed_here_is_taken_at_once(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(TrainerBusy, match=rf"process {process.pid} on"):
        only_trainer(tmp_path).__enter__()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    started = time.monotonic()
    with only_trainer(tmp_path):
        assert time.monotonic() - started < 1


def elsewhere(folder: Path) -> Path:
    """A lock held on another machine."""
    owner = {"host": "far", "process": 1, "boot": "other", "born": "1", "since": "2026-01-01T00:00:00Z"}
    path = folder / ".trainer-4.lock"
    path.write_text(json.dumps(owner))
    return path


def test_a_fresh_lock_of_another_machine_is_believed(tmp_path: Path) -> None:
    elsewhere(tmp_path)
    with pytest.raises(TrainerBusy, match="process 1 on far, since 2026-01-01"):
        only_trainer(tmp_path).__enter__()


def test_a_stale_lock_of_another_machine_is_recovered(tmp_path: Path) -> None:
    age(elsewhere(tmp_path), 61)
    with only_trainer(tmp_path) as lock:
        lock.check()
        assert [path.name for path in held(tmp_path)] == [".trainer-5.lock"]


def test_a_silent_holder_is_waited_for_until_it_is_stale(tmp_path: Path) -> None:
    age(elsewhere(tmp_path), QUICK.late_s + 0.05)
    started = time.monotonic()
    with only_trainer(tmp_path, QUICK):
        assert time.monotonic() - started > 0.1


def test_the_heart_keeps_a_lock_fresh(tmp_path: Path) -> None:
    with only_trainer(tmp_path, QUICK):
        age(held(tmp_path)[0], 100)
        wait_for(lambda: time.time() - held(tmp_path)[0].stat().st_mtime < 1)


def test_a_holder_that_was_taken_for_dead_stops(tmp_path: Path) -> None:
    with only_trainer(tmp_path) as slow:
        path = held(tmp_path)[0]
        path.write_text(elsewhere(tmp_path).read_text())
        age(path, 100)
        age(tmp_path / ".trainer-4.lock", 100)
        with only_trainer(tmp_path) as new:
            new.check()
            with pytest.raises(TrainerBusy, match="another took over"):
                slow.check()
    with only_trainer(tmp_path):
        pass


def test_promoting_never_waits_for_a_trainer(trained_copy: Registry) -> None:
    with only_trainer(trained_copy.folder):
        started = time.monotonic()
        trained_copy.set_alias("canary", 1)
        assert time.monotonic() - started < 1


def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(RegistryError, match="cannot write into the models folder"):
        only_trainer(tmp_path / "models").__enter__()
