"""k8s/: every manifest is one that an API server takes, and what was rendered is what the charts render now, with Helm 4 and 3."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from convnet_charts.rendered import FILES, Rendering, render
from support.charts import HOW_HELM, ROOT, conforming, yaml_objects
from support.convnet_chart import CHART, TRIAL, container, over, pod
from support.tools import required

K8S = ROOT / "k8s"
MANIFESTS = sorted(path for path in K8S.rglob("*.yaml") if path.name != "kustomization.yaml" and path.parent.name != "values")
JOB = yaml_objects((K8S / "client-job.yaml").read_text())[0]


def name_of(path: Path) -> str:
    return path.relative_to(K8S).as_posix()


@pytest.mark.parametrize("path", FILES)
def test_what_was_rendered_is_what_the_charts_render_now(path: str) -> None:
    required("helm", HOW_HELM)
    assert (ROOT / path).read_text() == render(FILES[path]), "run `make generate`"


@pytest.mark.parametrize("path", FILES)
def test_helm_3_renders_the_same(path: str) -> None:
    program = required("helm3", "requirements/chart-tools.sh .venv all")
    done = subprocess.run([program, *FILES[path].arguments()], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert by_name(done.stdout) == by_name((ROOT / path).read_text())


def by_name(text: str) -> dict[str, Any]:
    """Objects by kind and name: the two Helms print them in different orders."""
    found = {f"{each['kind']}/{each['metadata']['name']}": each for each in yaml_objects(text)}
    assert found
    return found


def test_all_manifests_conform() -> None:
    assert len(MANIFESTS) > 10
    conforming(*(path.read_text() for path in MANIFESTS))


@pytest.mark.parametrize("folder", sorted(path.parent for path in K8S.rglob("kustomization.yaml")), ids=lambda path: path.name)
def test_kustomize_takes_what_is_meant_for_it(folder: Path) -> None:
    done = subprocess.run([required("kubectl", HOW_HELM), "kustomize", folder], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert yaml_objects(done.stdout)
    assert "helm.sh/hook" not in done.stdout, "nobody runs hooks here"


def test_values_that_are_rendered_are_all_there_are() -> None:
    assert {rendering.values for rendering in FILES.values()} - {None} == {path.stem for path in (K8S / "values").glob("*.yaml")}


def test_the_clients_job_has_two_lines_to_edit() -> None:
    text = (K8S / "client-job.yaml").read_text()
    marked = re.findall(r"^\s+(\w+|- \w+|): .*# \((\d)\)", text.split("apiVersion", 1)[1], re.MULTILINE)
    assert [number for _, number in marked] == ["1", "2"]


def test_the_clients_job_runs_as_the_charts_own() -> None:
    """Same image and security; but no policy of the release is meant for it, which would keep it from an ingress that is somewhere else."""
    values = over(TRIAL, client__enabled=True, client__pictures={"source": "claim", "name": "pictures"})
    own = CHART.render(values).one("Job", component="client")
    assert container(JOB)["image"] == container(own)["image"]
    labels = JOB["spec"]["template"]["metadata"]["labels"].items()
    policies = CHART.render(values).all("NetworkPolicy")
    assert policies
    assert not [each for each in policies if each["spec"]["podSelector"]["matchLabels"].items() <= labels]
    assert pod(JOB)["securityContext"] == pod(own)["securityContext"]
    assert container(JOB)["securityContext"].items() <= container(own)["securityContext"].items()
    assert container(JOB)["args"][0] == container(own)["args"][0] == "classify"


def test_namespaces_enforce_the_restricted_standard() -> None:
    namespaces = yaml_objects((K8S / "namespaces.yaml").read_text())
    assert [each["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] for each in namespaces] == ["restricted"] * len(namespaces)
    assert {"vision", "strimzi"} == {each["metadata"]["name"] for each in namespaces}


def test_gitops_examples_name_charts_and_values_that_are_there() -> None:
    applications = yaml_objects((K8S / "gitops" / "argocd.yaml").read_text())
    releases = [each for each in yaml_objects((K8S / "gitops" / "flux.yaml").read_text()) if each["kind"] == "HelmRelease"]
    assert len(applications) == len(releases) == 2
    for each in applications:
        chart = ROOT / each["spec"]["source"]["path"]
        assert (chart / "Chart.yaml").is_file()
        assert all((chart / path).is_file() for path in each["spec"]["source"]["helm"]["valueFiles"])
    for each in releases:
        spec = each["spec"]["chart"]["spec"]
        assert (ROOT / spec["chart"] / "Chart.yaml").is_file()
        assert all((ROOT / path).is_file() for path in spec["valuesFiles"])


def test_gitops_examples_make_no_secrets() -> None:
    """What is generated would change at each rendering."""
    required("helm", HOW_HELM)
    values = yaml.safe_load((K8S / "values" / "production.yaml").read_text())
    again = [yaml_objects(render(Rendering("convnet-kafka", "convnet", "", "production"))) for _ in range(2)]
    assert again[0] == again[1]
    assert values["server"]["apiKeys"]["existingSecret"]
    assert "Secret" not in {each["kind"] for each in again[0]}
