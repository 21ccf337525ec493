"""A release of the chart on a real cluster: installed, upgraded and removed as its users do it, with helm.

Owns the release, not its namespace. What a release leaves behind by design stays for the test to look at.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from support.kubernetes import Namespace, Object, is_ready, run
from support.tools import required

CHART = Path(__file__).parents[2] / "helm" / "convnet-kafka"
HOW_HELM = "make .venv/.installed-charts, or https://helm.sh/docs/intro/install"

# What the issue of an install may take, images being there.
INSTALL_S = 240.0

# Small enough that four classifiers, two of everything else and a training fit into less than two cores; limits of memory are the chart's
# own. Without one of CPU a kubelet does not tell how often a pod is slowed down; this one slows nothing down.
SMALL: Mapping[str, Any] = {
    "kafka": {"embedded": {"enabled": True, "resources": {"requests": {"cpu": "100m"}}, "storage": {"size": "1Gi"}}},
    "server": {"resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "2"}}},
    "classifier": {"resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "2"}}},
    "trainer": {"resources": {"requests": {"cpu": "100m"}}},
    "client": {"resources": {"requests": {"cpu": "50m"}}},
    "model": {"persistence": {"size": "1Gi"}},
}


def merged(*values: Mapping[str, Any]) -> dict[str, Any]:
    """Values over values, as helm merges them."""
    result: dict[str, Any] = {}
    for each in values:
        for key, value in each.items():
            both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
            result[key] = merged(result[key], value) if both else value
    return result


@dataclass(slots=True)
class Release:
    """One release.

    Attributes:
        name: its name, which all its objects begin with.
        namespace: where it lies.
        tag: of its images.
        values: over `SMALL`.
    """

    name: str
    namespace: Namespace
    tag: str
    values: dict[str, Any] = field(default_factory=dict)

    def install(self, *, wait: bool = True, timeout_s: float = INSTALL_S) -> float:
        """`helm install --wait` from nothing; the seconds it took."""
        return self._apply("install", wait=wait, timeout_s=timeout_s)

    def upgrade(self, values: Mapping[str, Any] | None = None, *, wait: bool = True, timeout_s: float = INSTALL_S) -> float:
        """`helm upgrade --wait` with further values, which stay for later upgrades."""
        self.values = merged(self.values, values or {})
        return self._apply("upgrade", wait=wait, timeout_s=timeout_s)

    def render(self) -> list[Object]:
        """What an install would make, without making it."""
        text = self.helm("template", self.name, str(CHART), "--values", "-", stdin=self._all_values())
        return [each for each in yaml.safe_load_all(text) if each]

    def test(self, timeout_s: float = 180.0) -> str:
        """`helm test --logs`; fails when it does."""
        return self.helm("test", self.name, "--logs", "--timeout", f"{timeout_s:.0f}s", timeout_s=timeout_s + 30)

    def notes(self) -> str:
        """What `helm install` told its user."""
        return self.helm("get", "notes", self.name)

    def uninstall(self) -> None:
        """`helm uninstall --wait`."""
        self.helm("uninstall", self.name, "--wait", "--timeout", "120s", timeout_s=150)

    def helm(self, *arguments: str, stdin: str | None = None, timeout_s: float = 60.0) -> str:
        """What helm prints, in the release's namespace."""
        program = str(required("helm", HOW_HELM))
        return run(program, "--namespace", self.namespace.name, *arguments, stdin=stdin, timeout_s=timeout_s)

    def labels(self, component: str) -> dict[str, str]:
        """Labels of a part's pods."""
        return {"app.kubernetes.io/instance": self.name, "app.kubernetes.io/component": component}

    def pods(self, component: str) -> list[str]:
        """Names of a part's pods that are ready."""
        return self.namespace.ready(self.labels(component))

    def images_by_pod(self, component: str) -> dict[str, str]:
        """Ready pods of a part, and the digest of the image that each runs: two tags may name one image."""
        found = [each for each in self.namespace.all("pods", self.labels(component)) if is_ready(each)]
        return {each["metadata"]["name"]: each["status"]["containerStatuses"][0]["imageID"] for each in found}

    def scale(self, component: str, replicas: int, *, wait: bool = True) -> None:
        """`kubectl scale`."""
        self.namespace.kubectl("scale", f"deployment/{self.name}-{component}", f"--replicas={replicas}")
        if wait:
            self.namespace.until(lambda: len(self.pods(component)) == replicas, 180, f"{replicas} ready {component} pods")

    def replicas(self, component: str) -> int:
        """What the Deployment asks for."""
        return int(self.namespace.get("deployment", f"{self.name}-{component}")["spec"]["replicas"])

    def delete_by_force(self, component: str) -> str:
        """Take one of a part's ready pods out of the cluster at once; the kubelet asks its processes to end all the same."""
        victim = self.pods(component)[0]
        self.namespace.kubectl("delete", "pod", victim, "--grace-period=0", "--force")
        return victim

    def api_key(self) -> str:
        """The text of the first key, as NOTES say how to get it."""
        data = self.namespace.get("secret", f"{self.name}-api-keys")["data"]
        return base64.b64decode(data["api-key"]).decode()

    def image(self, part: str) -> str:
        """An image of ours with the release's tag."""
        return f"convnet-kafka-{part}:{self.tag}"

    def _all_values(self) -> str:
        return json.dumps(merged(SMALL, {"images": {"tag": self.tag}}, self.values))

    def _apply(self, how: str, *, wait: bool, timeout_s: float) -> float:
        begun = time.monotonic()
        waiting = ["--wait", "--timeout", f"{timeout_s:.0f}s"] if wait else []
        try:
            self.helm(how, self.name, str(CHART), "--values", "-", *waiting, stdin=self._all_values(), timeout_s=timeout_s + 30)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.namespace.state()}") from None
        return time.monotonic() - begun
