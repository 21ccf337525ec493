"""Write tests/chart/schemas from what the projects publish: `make chart-schemas`, with Go and a network.

Kubernetes' own kinds come from its OpenAPI document, all others from the definitions (CRDs) that a user would install. The result is
JSON Schema in kubeconform's layout, strict: a key that the API server would drop is refused. Descriptions and what only the API server
can judge (CEL rules, immutability) are left out; tests/admission asks a real API server.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jgo.maven import MavenContext

from convnet_kafka.local.java import find_java

OUTPUT = Path(__file__).parent / "schemas"
SHARED = "kubernetes.json"

KUBERNETES = "k8s.io/kubernetes@v1.34.4"
KUBERNETES_KINDS = (
    "ConfigMap",
    "CronJob",
    "Deployment",
    "HorizontalPodAutoscaler",
    "Ingress",
    "Job",
    "LimitRange",
    "Namespace",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "Pod",
    "PodDisruptionBudget",
    "PriorityClass",
    "Secret",
    "Service",
    "ServiceAccount",
    "StatefulSet",
)
# Module -> the files in it that define kinds, and the kinds that we write.
MODULES = {
    "github.com/kedacore/keda/v2@v2.21.0": ("config/crd/bases/keda.sh_*.yaml", {"ScaledObject", "TriggerAuthentication"}),
    "sigs.k8s.io/gateway-api@v1.3.0": ("config/crd/standard/*.yaml", {"Gateway", "GatewayClass", "HTTPRoute", "ReferenceGrant"}),
    "github.com/traefik/traefik/v3@v3.5.4": (
        "docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml",
        {"Middleware", "ServersTransport"},
    ),
    "github.com/argoproj/argo-cd/v3@v3.2.0": ("manifests/crds/application-crd.yaml", {"Application"}),
    "github.com/fluxcd/source-controller@v1.7.0": ("config/crd/bases/*.yaml", {"GitRepository", "OCIRepository"}),
}
# These publish Go types only; their own generator makes the definitions of them.
CONTROLLER_GEN = "sigs.k8s.io/controller-tools/cmd/controller-gen@v0.19.0"
TYPES = {
    "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1@v0.86.2": {"PodMonitor", "PrometheusRule"},
    "github.com/fluxcd/helm-controller/api/v2@v1.4.0": {"HelmRelease"},
}
STRIMZI = "1.2.0"
STRIMZI_KINDS = {
    "kafka.Kafka": "Kafka",
    "nodepool.KafkaNodePool": "KafkaNodePool",
    "topic.KafkaTopic": "KafkaTopic",
    "user.KafkaUser": "KafkaUser",
    "rebalance.KafkaRebalance": "KafkaRebalance",
}

Schema = dict[str, Any]
_REFERENCE = "#/definitions/"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
# Said of values, and no part of their form.
_UNUSED = {"description", "default", "format", "title", "nullable", "example", "externalDocs"}


def main() -> None:
    """Write all schemas anew."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()
    kubernetes()
    for definition in definitions():
        version = next(each for each in definition["spec"]["versions"] if each["storage"])
        group, kind = definition["spec"]["group"], definition["spec"]["names"]["kind"]
        schema = strict(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"$ref": f"../{SHARED}#/$defs/{_META}"}
        write(f"{group}/{kind.lower()}_{version['name']}.json", schema)
    sys.stdout.write(
        f"{sum(1 for _ in OUTPUT.rglob('*.json'))} files, {sum(path.stat().st_size for path in OUTPUT.rglob('*.json'))} bytes\n"
    )


def write(name: str, schema: Schema) -> None:
    """Write one file, small, and the same for the same content."""
    path = OUTPUT / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(schema, sort_keys=True, separators=(",", ":")) + "\n", encoding="utf-8")


def strict(schema: Any) -> Any:
    """A schema of Kubernetes' OpenAPI dialect as JSON Schema that refuses unknown keys."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
        return {"type": ["integer", "string"]}
    kept = {key: value for key, value in schema.items() if key not in _UNUSED and not key.startswith("x-kubernetes-")}
    found = {key: strict(value) for key, value in kept.items() if key not in {"properties", "$ref"}}
    if "properties" in schema:
        found["properties"] = {name: strict(each) for name, each in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            found.setdefault("additionalProperties", False)
    if "$ref" in schema:
        found["$ref"] = f"#/$defs/{schema['$ref'].removeprefix(_REFERENCE)}"
    return found


def kubernetes() -> None:
    """Kubernetes' own kinds: what they share in one file, and one small file each."""
    document = json.loads((module(KUBERNETES) / "api/openapi-spec/swagger.json").read_text(encoding="utf-8"))["definitions"]
    roots = {}
    for name, schema in document.items():
        for each in schema.get("x-kubernetes-group-version-kind", []):
            if each["kind"] in KUBERNETES_KINDS and len(schema["x-kubernetes-group-version-kind"]) == 1:
                roots[each["kind"], each["group"], each["version"]] = name
    needed: dict[str, Schema] = {}
    waiting = [*roots.values(), _META]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed[name] = strict(document[name])
            waiting += re.findall(rf'"{_REFERENCE}([^"]+)"', json.dumps(document[name]))
    # A number is fine where the document says string: `cpu: 1`.
    needed["io.k8s.apimachinery.pkg.api.resource.Quantity"] = {"type": ["string", "number"]}
    write(SHARED, {"$defs": needed})
    for (kind, group, version), name in roots.items():
        write(f"{group or version}/{kind.lower()}_{version}.json", {"$ref": f"../{SHARED}#/$defs/{name}"})


def definitions() -> Iterator[Schema]:
    """The definitions of all other kinds that we write."""
    for name, (pattern, kinds) in MODULES.items():
        yield from chosen(module(name).glob(pattern), kinds)
    with tempfile.TemporaryDirectory() as folder:
        for package, kinds in TYPES.items():
            yield from chosen(generated(package, Path(folder) / package.replace("/", "-")), kinds)
        yield from chosen(strimzi(Path(folder)), set(STRIMZI_KINDS.values()))


def chosen(paths: Iterator[Path], kinds: set[str]) -> Iterator[Schema]:
    """Those of the definitions in these files that define these kinds; every kind must be among them."""
    missing = set(kinds)
    for path in sorted(paths):
        for each in yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader):
            if each and each["kind"] == "CustomResourceDefinition" and each["spec"]["names"]["kind"] in missing:
                missing.remove(each["spec"]["names"]["kind"])
                yield each
    assert not missing, f"no definition of {missing}"


def module(name: str) -> Path:
    """The folder of a Go module, downloaded and checked by Go."""
    done = subprocess.run(["go", "mod", "download", "-json", name], stdout=subprocess.PIPE, check=True, cwd="/")
    return Path(json.loads(done.stdout)["Dir"])


def generated(package: str, folder: Path) -> Iterator[Path]:
    """Definitions that controller-gen makes of a package of Go types, `path@version`."""
    path, version = package.split("@")
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module definitions\n\ngo 1.24.0\n")
    (folder / "types.go").write_text(f'package definitions\n\nimport _ "{path}"\n')
    for command in (
        ["get", f"{path}@{version}", CONTROLLER_GEN],
        ["run", CONTROLLER_GEN.split("@", maxsplit=1)[0], "crd", f"paths={path}", "output:crd:dir=out"],
    ):
        subprocess.run(["go", *command], cwd=folder, check=True)
    return (folder / "out").glob("*.yaml")


def strimzi(folder: Path) -> Iterator[Path]:
    """Strimzi's definitions, v1, as its own generator prints them; both jars hold all that they need."""
    context = MavenContext()
    jars = [context.project("io.strimzi", name).at_version(STRIMZI).artifact().resolve() for name in ("api", "crd-generator")]
    kinds = [f"io.strimzi.api.kafka.model.{model}={folder / kind}.crd.yaml" for model, kind in STRIMZI_KINDS.items()]
    generator = ["io.strimzi.crdgenerator.CrdGenerator", "--yaml", "--crd-api-version", "v1", "--target-kube", "1.34+"]
    subprocess.run([find_java().executable, "-cp", ":".join(map(str, jars)), *generator, *kinds], check=True)
    return folder.glob("*.crd.yaml")


if __name__ == "__main__":
    main()
