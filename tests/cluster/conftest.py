"""The product on a real Kubernetes, the one that KUBECONFIG names: `make cluster-test`, and `make cluster-test-long` for what takes longer.

Run only when asked for by those (CONVNET_CLUSTER_TESTS): no other run of the tests may touch a cluster that somebody happens to be logged
in to. Everything is made in namespaces of its own, which go at the end (CONVNET_CLUSTER_KEEP=1 leaves them there to be looked at).

CONVNET_CLUSTER_IMAGES is the command that builds an image and brings it to the cluster's nodes; it is called with
TAG DOCKERFILE --target TARGET CONTEXT. Without it the images must be there, tagged as CONVNET_CLUSTER_TAG says.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from convnet.digits import DigitsFolders
from support.kubernetes import RESTRICTED, Namespace, run
from support.release import Release

ROOT = Path(__file__).parents[2]
# What images are made of (.dockerignore).
SOURCES = ("model", "services", "requirements", "pyproject.toml", "README.md", "LICENSE", ".dockerignore")
IMAGES = {"server": "server", "client": "server", "broker": "server", "classifier": "classifier", "trainer": "classifier"}
# TensorFlow is downloaded and unpacked the first time.
BUILD_S = 1500.0
# Of one test; the first one has all images built.
TIMEOUT_S = 2400.0
FIGURES = ROOT / "build" / "cluster.json"

MakeNamespace = Callable[[str], Namespace]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here are marked, and skipped unless they were asked for."""
    asked = os.environ.get("CONVNET_CLUSTER_TESTS")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("cluster")
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))
            if not asked:
                item.add_marker(pytest.mark.skip(reason="needs a Kubernetes cluster: make cluster-test"))


@pytest.fixture(scope="session")
def make_namespace() -> Iterator[MakeNamespace]:
    """Makes namespaces that enforce the `restricted` standard, and removes them at the end."""
    made: list[Namespace] = []

    def make(name: str) -> Namespace:
        namespace = Namespace(f"convnet-{name}-{uuid.uuid4().hex[:5]}")
        namespace.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace.name, "labels": RESTRICTED}})
        made.append(namespace)
        return namespace

    yield make
    if not os.environ.get("CONVNET_CLUSTER_KEEP"):
        for each in made:
            each.kubectl("delete", "namespace", each.name, "--wait=false", "--ignore-not-found")
        for each in made:
            each.kubectl("wait", "--for=delete", f"namespace/{each.name}", "--timeout=120s", timeout_s=130, check=False)


@pytest.fixture
def namespace(request: pytest.FixtureRequest, make_namespace: MakeNamespace) -> Iterator[Namespace]:
    """A namespace for one test, gone after it: the node is small."""
    made = make_namespace(request.node.name.removeprefix("test_").split("[")[0].replace("_", "-")[:30].strip("-"))
    yield made
    if not os.environ.get("CONVNET_CLUSTER_KEEP"):
        made.kubectl("delete", "namespace", made.name, "--wait=true", "--timeout=120s", timeout_s=130)


@pytest.fixture(scope="session")
def images() -> str:
    """The tag of our images, built from the Dockerfiles of this working tree."""
    tag, command = os.environ.get("CONVNET_CLUSTER_TAG", "test"), os.environ.get("CONVNET_CLUSTER_IMAGES")
    for target, file in IMAGES.items() if command else ():
        _build(shlex.split(command or ""), f"convnet-kafka-{target}:{tag}", file, target, ROOT)
    return tag


@pytest.fixture(scope="session")
def next_images(images: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A second tag of what serves, of images with code of another version in them: what an upgrade rolls out.

    Other labels alone will not do: there are builders whose cache gives them the same image.
    """
    tag, command = f"{images}-next", os.environ.get("CONVNET_CLUSTER_IMAGES")
    if command:
        context = tmp_path_factory.mktemp("next")
        for name in SOURCES:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
            copy(ROOT / name, context / name)
        with (context / "services" / "convnet_kafka" / "__init__.py").open("a") as file:
            file.write('__version__ += "+next"\n')
        for target in ("server", "classifier"):
            _build(shlex.split(command), f"convnet-kafka-{target}:{tag}", IMAGES[target], target, context)
    return tag


def _build(command: list[str], tag: str, file: str, target: str, context: Path) -> None:
    run(*command, tag, str(ROOT / f"Dockerfile.{file}"), "--target", target, str(context), timeout_s=BUILD_S)


@pytest.fixture(scope="session")
def release(make_namespace: MakeNamespace, images: str, figures: dict[str, object]) -> Release:
    """One release that many tests use, with the trial broker and a model of digits; whoever changes it puts it back."""
    found = Release("convnet", make_namespace("shared"), images)
    figures["install, from nothing to all ready"] = round(found.install(), 1)
    return found


@pytest.fixture(scope="session")
def pictures(digits: DigitsFolders) -> list[tuple[str, bytes]]:
    """Pictures that no model has seen, with their classes."""
    return [(file.parent.name, file.read_bytes()) for file in sorted(digits.test.rglob("*.png"))]


@pytest.fixture(scope="session")
def figures() -> Iterator[dict[str, object]]:
    """What was measured, by what it says; written to build/cluster.json."""
    measured: dict[str, object] = {}
    yield measured
    FIGURES.parent.mkdir(exist_ok=True)
    before = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    FIGURES.write_text(json.dumps({**before, **measured, "date": time.strftime("%Y-%m-%d")}, indent=2) + "\n")
    for name, value in measured.items():
        print(f"\n{name}: {value}", end="")
