"""Two releases with models of their own in one namespace, on one Kafka: each answers with its own classes."""

from __future__ import annotations

import pytest

from support.camera import Camera
from support.forwarding import forwarded
from support.kubernetes import Namespace, finished, pod
from support.release import Release

pytestmark = pytest.mark.long
Pictures = list[tuple[str, bytes]]

# The digits again, by another question: on a volume, as a user's own pictures would be.
_SMALL_AND_LARGE = """
import pathlib, shutil, tempfile
from convnet.digits import write_digits
with tempfile.TemporaryDirectory() as folder:
    for file in write_digits(pathlib.Path(folder)).train.rglob("*.png"):
        kind = pathlib.Path("/data") / ("small" if int(file.parent.name) < 5 else "large")
        kind.mkdir(exist_ok=True)
        shutil.copyfile(file, kind / file.name)
"""


def test_each_of_two_releases_on_one_kafka_answers_with_its_own_classes(namespace: Namespace, images: str, pictures: Pictures) -> None:
    digits = Release(
        "digits",
        namespace,
        images,
        {"networkPolicy": {"kafkaFrom": [{"podSelector": {"matchLabels": {"app.kubernetes.io/instance": "sizes"}}}]}},
    )
    digits.install()
    namespace.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "pictures"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}},
        }
    )
    finished(namespace, pod("fill", digits.image("trainer"), ["python", "-c", _SMALL_AND_LARGE], claims={"/data": "pictures"}))
    kafka = {"embedded": {"enabled": False}, "bootstrapServers": f"digits-kafka.{namespace.name}.svc:9092"}
    one = {"create": "application", "replicationFactor": 1, "minInsyncReplicas": 1}
    source = {"source": "claim", "claim": {"name": "pictures"}}
    model = {"persistence": {"accessMode": "ReadWriteOnce", "singleNode": True}}
    sizes = Release("sizes", namespace, images, {"kafka": kafka, "topics": one, "model": model, "trainer": {"data": source}})
    sizes.install()
    answers: dict[str, set[str | None]] = {}
    for release in (digits, sizes):
        with forwarded(release) as url, Camera(url, release.api_key(), pictures, pace=200, least=len(pictures)) as camera:
            pass
        camera.books.balance()
        answers[release.name] = {label.label for label in camera.books.told.values()}
    assert answers == {"digits": set("0123456789"), "sizes": {"small", "large"}}
