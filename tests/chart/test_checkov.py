"""checkov finds nothing in what the charts render but what helm/.checkov.yaml explains."""

from __future__ import annotations

import os
import subprocess

import pytest

from support.charts import ROOT
from support.tools import required


@pytest.mark.long
def test_checkov_finds_nothing_that_is_not_explained() -> None:
    program = required("checkov", "python3 -m venv checkov && checkov/bin/pip install checkov")
    command = [program, "--config-file", ROOT / "helm" / ".checkov.yaml", "--directory", ROOT / "k8s" / "rendered"]
    # Without a key it talks to nobody.
    environment = {**os.environ, "BC_API_KEY": "", "LOG_LEVEL": "ERROR"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=220, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
