"""The first hour with the chart: installed from nothing, tried, used by a Job in the cluster."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from pathlib import Path
from typing import Any

import yaml

from support.kubernetes import Namespace, is_ready, pod
from support.release import INSTALL_S, Release
from support.ways_in import ingress

Pictures = list[tuple[str, bytes]]

CLIENT_JOB = Path(__file__).parents[2] / "k8s" / "client-job.yaml"


def test_from_nothing_to_ready_and_helms_own_test_passes(release: Release, figures: dict[str, Any]) -> None:
    """`helm install --wait` has returned, in a namespace that enforces the `restricted` standard."""
    assert figures["install, from nothing to all ready"] < INSTALL_S
    assert {component: len(release.pods(component)) for component in ("server", "classifier", "kafka")} == {
        "server": 1,
        "classifier": 1,
        "kafka": 1,
    }
    release.test()
    assert release.namespace.restarts() == {}


def test_a_client_job_pointed_at_the_ingress_labels_a_thousand_pictures(
    release: Release, pictures: Pictures, figures: dict[str, Any]
) -> None:
    way, namespace = ingress(), release.namespace
    release.upgrade(way.values)
    url = way.address(release)
    namespace.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "pictures"},
            "binaryData": {"pictures.zip": base64.b64encode(zipped(pictures, 1000)).decode()},
        }
    )
    source = {"source": "configMap", "name": "pictures", "folder": "pictures.zip"}
    release.upgrade({"client": {"enabled": True, "pictures": source, "serverUrl": url}})
    try:
        printed = report_of_the_client(release)
    finally:
        release.upgrade({"client": {"enabled": False}, **way.closed()})
    assert "1,000 images in" in printed
    figures["client Job, 1,000 pictures"] = re.findall(r"1,000 images in .*", printed)[0]


def test_the_plain_client_job_labels_the_pictures_of_a_volume_after_two_lines_were_edited(release: Release, pictures: Pictures) -> None:
    way, namespace = ingress(), release.namespace
    release.upgrade(way.values)
    text = (
        CLIENT_JOB.read_text().replace("https://vision.example.org", way.address(release)).replace("claimName: pictures", "claimName: mine")
    )
    job: dict[str, Any] = yaml.safe_load(text.replace("convnet-kafka-client:0.1.0", release.image("client")))
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}}
    namespace.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "mine"}, "spec": claim})
    namespace.apply(pod("fill", release.image("client"), ["sleep", "600"], claims={"/pictures": "mine"}))
    namespace.until(lambda: is_ready(namespace.get("pod", "fill")), 60, "a pod on the volume")
    unpack = "import base64, io, sys, zipfile as z; z.ZipFile(io.BytesIO(base64.b64decode(sys.stdin.read()))).extractall('/pictures')"
    packed = base64.b64encode(zipped(pictures, 200)).decode()
    namespace.kubectl("exec", "fill", "--stdin", "--", "python", "-c", unpack, stdin=packed)
    namespace.kubectl("delete", "pod", "fill", "--wait=true")
    try:
        namespace.apply(job)
        printed = report_of(namespace, job["metadata"]["name"])
    finally:
        namespace.kubectl("delete", "job", job["metadata"]["name"], "--ignore-not-found")
        release.upgrade(way.closed())
    assert "200 images in" in printed


def report_of_the_client(release: Release) -> str:
    """What the Job that the chart makes prints."""
    (job,) = release.namespace.all("jobs", release.labels("client"))
    return report_of(release.namespace, job["metadata"]["name"])


def report_of(namespace: Namespace, name: str) -> str:
    """What a client's Job prints, once it has ended; fails when it did not end well."""

    def ended() -> dict[str, Any] | None:
        job = namespace.get("job", name)
        return job if any(each["type"] in {"Complete", "Failed"} for each in job["status"].get("conditions", [])) else None

    namespace.until(ended, 180, "the end of the client's Job")
    job = ended()
    assert job is not None
    pods = namespace.all("pods", {"batch.kubernetes.io/job-name": name})
    printed = {each["status"]["phase"]: namespace.kubectl("logs", each["metadata"]["name"]) for each in pods}
    assert job["status"].get("succeeded") == 1, printed
    # A policy may be some seconds behind a pod that is as new as itself: then the Job has tried twice.
    return printed["Succeeded"]


def zipped(pictures: Pictures, count: int) -> bytes:
    """So many different pictures as a zip: a PNG may be followed by anything."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(count):
            kind, picture = pictures[number % len(pictures)]
            archive.writestr(f"{kind}/{number:04d}.png", picture + b"%d" % number)
    assert len(content.getvalue()) < 1_000_000, "a ConfigMap holds 1 MiB"
    return content.getvalue()
