"""Render a Helm chart as an install would, and read what comes out: helm itself runs, no cluster is asked.

Owns no chart: tests/chart has one file for each part of each chart. Every object that is rendered here is meant to pass
`conforming` (kubeconform with the schemas in tests/chart/schemas), which the tests of whole charts call.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml

from support.tools import required

ROOT = Path(__file__).parents[2]
HELM_FOLDER = ROOT / "helm"
SCHEMAS = ROOT / "tests" / "chart" / "schemas"
HOW_HELM = "make .venv/.installed-charts, or https://helm.sh/docs/intro/install"
HOW_KUBECONFORM = "requirements/chart-tools.sh .venv all"
KUBERNETES = "1.34.0"
# What `helm template` takes as there; a real install asks the cluster.
ALL_APIS = (
    "kafka.strimzi.io/v1",
    "kafka.strimzi.io/v1/Kafka",
    "kafka.strimzi.io/v1/KafkaNodePool",
    "kafka.strimzi.io/v1/KafkaTopic",
    "kafka.strimzi.io/v1/KafkaUser",
    "kafka.strimzi.io/v1/KafkaRebalance",
    "keda.sh/v1alpha1",
    "keda.sh/v1alpha1/ScaledObject",
    "keda.sh/v1alpha1/TriggerAuthentication",
    "monitoring.coreos.com/v1",
    "monitoring.coreos.com/v1/PodMonitor",
    "monitoring.coreos.com/v1/PrometheusRule",
    "gateway.networking.k8s.io/v1",
    "gateway.networking.k8s.io/v1/HTTPRoute",
)

Object = dict[str, Any]
# C code where libyaml is there: the whole chart in milliseconds instead of a tenth of a second.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def yaml_objects(text: str) -> list[Object]:
    """All objects of a YAML stream; empty documents are left out."""
    return [cast("Object", each) for each in yaml.load_all(text, Loader=_LOADER) if each]


@dataclass(frozen=True, slots=True)
class Rendered:
    """What one `helm template` gave.

    Attributes:
        text: as helm printed it.
        objects: the same, parsed.
    """

    text: str
    objects: list[Object]

    def all(self, kind: str, *, component: str | None = None) -> list[Object]:
        """Objects of one kind, of one component (label app.kubernetes.io/component) where it is given."""
        return [
            each
            for each in self.objects
            if each["kind"] == kind and component in {None, each["metadata"].get("labels", {}).get("app.kubernetes.io/component")}
        ]

    def one(self, kind: str, name: str | None = None, *, component: str | None = None) -> Object:
        """The one object of that kind (and name, and component); fails when there is none, or several."""
        found = [each for each in self.all(kind, component=component) if name in {None, each["metadata"]["name"]}]
        assert len(found) == 1, f"{len(found)} x {kind} {name or component or ''}; there are {sorted(self.names())}"
        return found[0]

    def names(self) -> set[str]:
        """`Kind/name` of every object."""
        return {f"{each['kind']}/{each['metadata']['name']}" for each in self.objects}

    def kinds(self) -> set[str]:
        """Kinds that occur."""
        return {each["kind"] for each in self.objects}


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart of helm/.

    Attributes:
        name: its folder in helm/.
        program: `helm` (4) or `helm3`.
        release: name of the release.
        namespace: namespace of the release.
    """

    name: str
    program: str = "helm"
    release: str = "convnet"
    namespace: str = "vision"

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return HELM_FOLDER / self.name

    def render(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        files: Sequence[Path] = (),
        apis: Iterable[str] = ALL_APIS,
        upgrade: bool = False,
        notes: bool = False,
    ) -> Rendered:
        """Render with these values; fails with helm's words when it refuses.

        Args:
            values: over the chart's own and over `files`.
            files: values files, the last one wins.
            apis: what the cluster is taken to have (`.Capabilities.APIVersions`).
            upgrade: as `helm upgrade` would.
            notes: with NOTES.txt, in `text` alone.
        """
        done = self._template(values, files=files, apis=apis, upgrade=upgrade, notes=notes)
        assert done.returncode == 0, done.stderr
        text = done.stdout
        objects = yaml_objects(re.split(r"(?m)^NOTES:$", text)[0] if notes else text)
        return Rendered(text, objects)

    def refusal(self, values: Mapping[str, Any] | None = None, *, files: Sequence[Path] = (), apis: Iterable[str] = ALL_APIS) -> str:
        """What helm says when it refuses these values; fails when it does not."""
        done = self._template(values, files=files, apis=apis)
        assert done.returncode != 0, f"helm did not refuse {values}"
        return " ".join(done.stderr.split())

    def notes(self, values: Mapping[str, Any] | None = None, *, upgrade: bool = False) -> str:
        """NOTES.txt, rendered."""
        text = self.render(values, upgrade=upgrade, notes=True).text
        return re.split(r"(?m)^NOTES:$", text)[1]

    def lint(self, values: Mapping[str, Any] | None = None, *, files: Sequence[Path] = ()) -> str:
        """`helm lint --strict`; fails with what it found."""
        done = self._run("lint", "--strict", str(self.folder), *_files(files), "--values", "-", values=values)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ahead(self, many: Iterable[Mapping[str, Any]]) -> None:
        """Render several values side by side, refused ones too, so that asking for them afterwards takes no time."""
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda values: self._template(values, files=(), apis=ALL_APIS), many))

    def _template(
        self,
        values: Mapping[str, Any] | None,
        *,
        files: Sequence[Path],
        apis: Iterable[str],
        upgrade: bool = False,
        notes: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        if notes:
            # `helm template` leaves the notes out; an install that stays in the client has them, and asks no cluster either.
            arguments = ["install", self.release, str(self.folder), f"--dry-run{'' if self.program == 'helm3' else '=client'}"]
        else:
            arguments = ["template", self.release, str(self.folder), *(["--is-upgrade"] if upgrade else [])]
            arguments += ["--kube-version", KUBERNETES, *(part for api in apis for part in ("--api-versions", api))]
        return self._run(*arguments, "--namespace", self.namespace, *_files(files), "--values", "-", values=values)

    def _run(self, *arguments: str, values: Mapping[str, Any] | None) -> subprocess.CompletedProcess[str]:
        return _helm(self.program, arguments, yaml.safe_dump(dict(values or {})))


# A render takes a tenth of a second, and many tests look at the same one.
@cache
def _helm(program: str, arguments: tuple[str, ...], values: str) -> subprocess.CompletedProcess[str]:
    # Nothing of the user's: neither their cluster nor their plugins.
    environment = {**os.environ, "KUBECONFIG": os.devnull, "HELM_PLUGINS": os.devnull}
    command = [required(program, HOW_HELM), *arguments]
    return subprocess.run(command, input=values, env=environment, capture_output=True, text=True, timeout=60, check=False)


def _files(files: Sequence[Path]) -> list[str]:
    return [part for each in files for part in ("--values", str(each))]


def conforming(*texts: str) -> None:
    """Fail unless kubeconform, strict, with the schemas of tests/chart/schemas, knows and accepts every object."""
    program = required("kubeconform", HOW_KUBECONFORM)
    arguments = [
        "-strict",
        "-summary",
        "-schema-location",
        f"{SCHEMAS}/{{{{ .Group }}}}/{{{{ .ResourceKind }}}}_{{{{ .ResourceAPIVersion }}}}.json",
    ]
    done = subprocess.run([program, *arguments], input="\n---\n".join(texts), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
