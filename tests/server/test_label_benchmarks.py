"""The benchmarks of label readers run, on little: what they check (every label at every follower, in order, once) holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from convnet_kafka.local.broker import LocalBroker

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("script", "options", "expected"),
    [
        ("followers.py", ["--followers", "25", "--labels", "500", "--rate", "500"], "reconnect of all to a process that was just started"),
        ("paging.py", ["--labels", "15000"], "pages of 1000"),
    ],
)
def test_it_runs(broker: LocalBroker, script: str, options: list[str], expected: str) -> None:
    command = [sys.executable, str(BENCHMARKS / script), *options, "--bootstrap-servers", broker.bootstrap_servers]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, env={"COLUMNS": "200", "PATH": ""})
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert expected in ended.stdout
