"""requirements/install.sh chooses a Python that works, and says in one clear sentence what to install when there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "requirements" / "install.sh"


@pytest.fixture
def choose(tmp_path: Path):
    """Runs the script with stand-ins for Python, name -> shell body, tried in this order; none of them can really make an environment."""

    def run(**pythons: str) -> str:
        for name, body in pythons.items():
            program = tmp_path / name
            program.write_text(f"#!/bin/sh\n{body}\n")
            program.chmod(0o755)
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": " ".join(pythons)}
        done = subprocess.run(
            ["sh", str(SCRIPT), str(tmp_path / "venv"), "local"], env=environment, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode != 0
        return done.stdout + done.stderr

    return run


WORKS = 'case "$1" in -c) echo ok ;; --version) echo Python 3.12.9 ;; *) exit 3 ;; esac'
BROKEN_SHIM = "echo 'command not found: this version is not active' >&2; exit 127"
TOO_NEW = "echo is CPython 3.14.0"
# The second question is for the version, to name the package.
NO_VENV = 'case "$2" in *"%d.%d"*) echo 3.11 ;; *) echo has no venv module ;; esac'


def test_a_version_managers_dead_command_and_an_unfit_python_are_passed_over(choose) -> None:
    said = choose(shim=BROKEN_SHIM, new=TOO_NEW, good=WORKS)
    assert "with Python 3.12.9" in said
    assert "not active" not in said


def test_no_fit_python_says_what_is_needed_what_was_found_and_what_to_install(choose) -> None:
    said = choose(shim=BROKEN_SHIM, new=TOO_NEW)
    assert "needs 3.11, 3.12 or 3.13" in said
    assert "new is CPython 3.14.0" in said
    assert "apt-get install python3 python3-venv" in said


def test_a_python_without_its_venv_module_says_which_package_brings_it(choose) -> None:
    said = choose(bare=NO_VENV)
    assert "without its venv module" in said
    assert "apt-get install python3.11-venv" in said


def test_a_python_without_venv_is_passed_over_for_one_that_has_it(choose) -> None:
    assert "with Python 3.12.9" in choose(bare=NO_VENV, good=WORKS)


def test_the_check_itself_accepts_the_python_that_runs_this_test() -> None:
    text = SCRIPT.read_text()
    check = text.split("CHECK='")[1].split("\n'")[0]
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=30, check=True).stdout == "ok\n"
