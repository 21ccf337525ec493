"""checkov finds nothing in what both charts render, nor in k8s/: helm/.checkov.yaml says what it is not asked, and why."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from support import kafka_chart
from support.charts import ROOT
from support.convnet_chart import CHART, EVERYTHING, EXTERNAL, TRIAL, over
from support.tools import required

CONVNET = {"everything": over(EVERYTHING, tools__enabled=True), "trial": TRIAL, "external": EXTERNAL}


# Check and file -> why it stays. What stands nowhere else than in one manifest is explained here, the rest in helm/.checkov.yaml.
EXPLAINED = {
    ("CKV_K8S_21", "/k8s-client-job.yaml"): "kubectl's --namespace says where it runs",
    ("CKV2_K8S_6", "/k8s-client-job.yaml"): "it goes to an ingress, which the release's own policies would not let it reach",
    ("CKV2_K8S_6", "/dev-kafka-kafka.yaml"): "for development: several releases, and what runs on one's own machine, are to reach it",
}


def found_in(folder: Path) -> dict[str, Any]:
    """checkov's report on the manifests in a folder."""
    program = required("checkov", "requirements/chart-tools.sh .venv all")
    command = [program, "--config-file", ROOT / "helm" / ".checkov.yaml", "--output", "json", "--directory", folder]
    # Without a key it talks to nobody.
    environment = {**os.environ, "BC_API_KEY": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def failures(report: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Check and file -> what it says."""
    return {
        (each["check_id"], each["file_path"]): f"{each['check_name']}: {each['resource']}" for each in report["results"]["failed_checks"]
    }


def test_it_finds_nothing(tmp_path: Path) -> None:
    for name, values in CONVNET.items():
        (tmp_path / f"{name}.yaml").write_text(CHART.render(values).text)
    (tmp_path / "kafka.yaml").write_text(kafka_chart.CHART.render(kafka_chart.EVERYTHING).text)
    for path in (ROOT / "k8s").rglob("*.yaml"):
        if path.parent.name not in {"values", "rendered"} and path.name != "kustomization.yaml":
            (tmp_path / f"{path.parent.name}-{path.name}").write_text(path.read_text())
    report = found_in(tmp_path)
    assert report["summary"]["passed"] > 800
    found = failures(report)
    assert {key: said for key, said in found.items() if key not in EXPLAINED} == {}
    assert EXPLAINED.keys() <= found.keys(), "an exception that nothing needs any more"


def test_it_would_find_something(tmp_path: Path) -> None:
    (tmp_path / "trial.yaml").write_text(CHART.render(TRIAL).text.replace("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"))
    assert any("read-only filesystem" in each for each in failures(found_in(tmp_path)).values())
