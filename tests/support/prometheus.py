"""A real Prometheus that scrapes what a test runs, and is asked by its HTTP API."""

from __future__ import annotations

import json
import math
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from convnet_kafka.local.process import free_ports
from support.ending import end
from support.tools import required
from support.waiting import until

_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Series:
    """One series of a result.

    Attributes:
        labels: its labels.
        points: (unix seconds, value), ascending; NaN and infinities left out.
    """

    labels: dict[str, str]
    points: list[tuple[float, float]]


class Prometheus:
    """Runs while entered.

    Args:
        config: its configuration file; rule and target files lie beside it.
    """

    def __init__(self, config: Path) -> None:
        self._config = config
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = required("prometheus", "prometheus")
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--config.file={self._config}",
                    f"--storage.tsdb.path={self._config.parent / 'tsdb'}",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                    "--log.level=warn",
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        until(self._is_ready, 60, f"Prometheus is ready; its log is {self.log}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process is not None
        end(self._process)

    @property
    def log(self) -> Path:
        """What it says."""
        return self._config.parent / "prometheus.log"

    def now(self, expr: str) -> list[Series]:
        """The result of a query at this moment."""
        found = self._get("query", query=expr)["result"]
        if isinstance(found, list) and found and not isinstance(found[0], dict):
            return [_series({"metric": {}, "values": [found]})]
        return [_series(each if "values" in each else each | {"values": [each["value"]]}) for each in found]

    def value(self, expr: str) -> float:
        """The one value of a query at this moment, 0 where there is no series."""
        found = self.now(expr)
        assert len(found) <= 1, f"{expr}: {found}"
        return found[0].points[-1][1] if found and found[0].points else 0.0

    def over(self, expr: str, start_s: float, end_s: float, step_s: float) -> list[Series]:
        """The result of a query over a time."""
        found = self._get("query_range", query=expr, start=f"{start_s:.3f}", end=f"{end_s:.3f}", step=f"{step_s:g}")
        return [_series(each) for each in found["result"]]

    def firing(self) -> set[str]:
        """Names of the alerts that fire now."""
        return {each["labels"]["alertname"] for each in self._get("alerts")["alerts"] if each["state"] == "firing"}

    def alerts(self) -> list[dict[str, Any]]:
        """Alerts that are pending or fire, as the API tells them."""
        return list(self._get("alerts")["alerts"])

    def rules(self) -> list[dict[str, Any]]:
        """All rules, as the API tells them."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def targets_up(self) -> int:
        """How many targets could be read at the last scrape."""
        return int(self.value("sum(up)"))

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"Prometheus ended: {self.log.read_text()[-2000:]}"
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _get(self, path: str, **parameters: str) -> Any:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=_TIMEOUT_S) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error


def _series(entry: dict[str, Any]) -> Series:
    points = [(float(at), float(value)) for at, value in entry["values"]]
    return Series(entry["metric"], [(at, value) for at, value in points if math.isfinite(value)])
