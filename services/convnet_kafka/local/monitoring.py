"""Files with which a Prometheus scrapes the stack on this machine, its series labelled as the charts label them in a cluster.

Owns the folder it is given. Runs no Prometheus. The targets' ports change from start to start, so they stand in a file of their own, which
Prometheus reads again by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import orjson

CONFIG_FILE = "prometheus.yml"
_TARGETS_FILE = "targets.json"
# What dashboards and rules select by; a cluster has its namespaces and releases here.
NAMESPACE = "local"
RELEASE = "convnet"

_CONFIG = f"""# Written at each start of `convnet-kafka up --monitoring`.
global:
  scrape_interval: 5s
  evaluation_interval: 5s
rule_files: ["rules/*.yaml"]
scrape_configs:
  - job_name: convnet-kafka
    file_sd_configs:
      - files: ["{_TARGETS_FILE}"]
"""


@dataclass(frozen=True, slots=True)
class Target:
    """One process to scrape.

    Attributes:
        pod: its name in the stack, as `pod` on its series.
        component: `server`, `classifier` or `kafka`.
        address: `host:port`, answering at `/metrics`.
    """

    pod: str
    component: str
    address: str


def write_scrape_files(folder: Path, targets: Iterable[Target]) -> Path:
    """Write the configuration and its targets; returns the configuration's path.

    Args:
        folder: made when missing; rules that a user puts into `rules/` there are loaded.
        targets: what to scrape.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = [
        {
            "targets": [target.address],
            "labels": {"namespace": NAMESPACE, "release": RELEASE, "pod": target.pod, "component": target.component},
        }
        for target in targets
    ]
    aside = folder / f".{_TARGETS_FILE}"
    aside.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    os.replace(aside, folder / _TARGETS_FILE)  # noqa: PTH105 - a Prometheus that runs never sees half a file
    config = folder / CONFIG_FILE
    config.write_text(_CONFIG, encoding="utf-8")
    return config
