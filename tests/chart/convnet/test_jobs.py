"""The trainer's Job and CronJob, the client's Job, and `helm test`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from convnet_kafka.cli.main import group
from support.convnet_chart import CHART, EVERYTHING, STRIMZI, TRIAL, Values, container, env, over, pod

CLAIM = {"source": "claim", "claim": {"name": "pictures", "folder": "/train/"}}
ARCHIVE = {"source": "archive", "archive": {"url": "https://example.org/a.tar.gz", "sha256": "a" * 64}}


def trainer(values: Values) -> dict[str, Any]:
    return CHART.render(values).one("Job", component="trainer")


def test_the_trainer_is_a_plain_job_and_no_hook() -> None:
    """A hook would run after `--wait`, which waits for classifiers, which wait for a model."""
    assert "annotations" not in trainer(TRIAL)["metadata"]
    assert "Job" not in CHART.render(over(TRIAL, trainer={"enabled": False})).kinds()


def test_its_name_changes_with_its_spec_and_with_nothing_else() -> None:
    """A Job cannot be changed; the same one is not run again."""
    first = trainer(TRIAL)["metadata"]["name"]
    assert re.fullmatch(r"convnet-trainer-[0-9a-f]{8}", first)
    assert trainer(over(TRIAL, server={"replicas": 3}))["metadata"]["name"] == first
    others = [
        {"trainer__args": ["--epochs", "7"]},
        {"trainer__data": CLAIM},
        {"images__tag": "8"},
        {"trainer__resources": {"requests": {"cpu": "2"}}},
    ]
    names = [trainer(over(TRIAL, **change))["metadata"]["name"] for change in others]
    assert len({first, *names}) == 1 + len(others)


@pytest.mark.parametrize(
    ("data", "args"),
    [
        ({}, ["train", "--digits", "--models", "/models"]),
        (CLAIM, ["train", "/data/train", "--models", "/models"]),
        ({"source": "claim", "claim": {"name": "pictures"}}, ["train", "/data", "--models", "/models"]),
        (ARCHIVE, ["train", "/tmp/pictures", "--models", "/models"]),
    ],
)
def test_it_trains_on_the_data_that_are_named(data: dict[str, Any], args: list[str]) -> None:
    assert container(trainer(over(TRIAL, trainer__data=data)))["args"] == args
    assert container(trainer(over(TRIAL, trainer={"data": data, "args": ["--epochs", "3"]})))["args"] == [*args, "--epochs", "3"]


def test_data_of_a_volume_are_only_read() -> None:
    job = trainer(over(TRIAL, trainer__data=CLAIM))
    assert {"name": "data", "mountPath": "/data", "readOnly": True} in container(job)["volumeMounts"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "pictures", "readOnly": True}} in pod(job)["volumes"]


def test_an_archive_is_fetched_before() -> None:
    (fetch,) = pod(trainer(over(TRIAL, trainer__data=ARCHIVE)))["initContainers"]
    assert fetch["args"] == ["data", "fetch", "https://example.org/a.tar.gz", "/tmp/pictures", "--sha256", "a" * 64]
    assert "initContainers" not in pod(trainer(TRIAL))


def test_a_drain_is_no_failure_and_what_cannot_help_is_not_tried_again() -> None:
    rules = {each["action"]: each for each in trainer(TRIAL)["spec"]["podFailurePolicy"]["rules"]}
    assert rules["Ignore"]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert rules["FailJob"]["onExitCodes"]["values"] == [2, 3, 6, 8]
    assert pod(trainer(TRIAL))["restartPolicy"] == "Never"


def test_a_schedule_trains_the_same_again_one_at_a_time() -> None:
    values = over(TRIAL, trainer={"schedule": "0 3 * * 0", "timeZone": "Europe/Vienna"})
    cron = CHART.render(values).one("CronJob", "convnet-retrain")["spec"]
    assert (cron["schedule"], cron["timeZone"], cron["concurrencyPolicy"]) == ("0 3 * * 0", "Europe/Vienna", "Forbid")
    assert cron["jobTemplate"]["spec"] == trainer(values)["spec"]
    only = CHART.render(over(TRIAL, trainer={"enabled": False, "schedule": "0 3 * * 0"}))
    assert "ServiceAccount/convnet-trainer" in only.names()
    assert "CronJob" not in CHART.render(TRIAL).kinds()


def test_every_command_and_option_that_pods_are_given_is_known() -> None:
    """The command line of the version that is tested here takes them, up to where it would begin."""
    rendered = [CHART.render(values) for values in (TRIAL, EVERYTHING, over(TRIAL, trainer__data=ARCHIVE))]
    seen = set()
    for each in (each for one in rendered for each in one.objects if each["kind"] in {"Deployment", "StatefulSet", "Job"}):
        for part in [*pod(each)["containers"], *pod(each).get("initContainers", [])]:
            if "command" in part:
                continue  # the pod with tools runs none of ours
            args = part["args"]
            seen.add(args[0])
            done = CliRunner().invoke(group, [*args, "--help"])
            assert done.exit_code == 0, done.output
            options = [arg for arg in args if arg.startswith("--")]
            assert [option for option in options if option not in done.output] == []
    assert seen == {"server", "classifier", "broker", "train", "data", "classify"}


PICTURES = [
    ({"source": "claim", "name": "p"}, "/pictures", {"persistentVolumeClaim": {"claimName": "p", "readOnly": True}}),
    ({"source": "claim", "name": "p", "folder": "a/b/"}, "/pictures/a/b", {"persistentVolumeClaim": {"claimName": "p", "readOnly": True}}),
    ({"source": "configMap", "name": "p"}, "/pictures", {"configMap": {"name": "p"}}),
    ({"source": "image", "folder": "/mine"}, "/mine", None),
]


@pytest.mark.parametrize(("pictures", "folder", "volume"), PICTURES)
def test_the_client_sends_the_pictures_that_are_named(pictures: dict[str, Any], folder: str, volume: dict[str, Any] | None) -> None:
    job = CHART.render(over(TRIAL, client={"enabled": True, "pictures": pictures, "args": ["--json"]})).one("Job", component="client")
    assert container(job)["args"] == ["classify", folder, "--json"]
    assert [each for each in pod(job)["volumes"] if each["name"] == "pictures"] == ([{"name": "pictures", **volume}] if volume else [])
    assert env(container(job)) == {
        "SERVER_URL": "http://convnet-server.vision.svc:80",
        "CONVNET_API_KEY_FILE": "/etc/convnet-kafka/client/api-key",
    }
    assert job["spec"]["ttlSecondsAfterFinished"] == 86400


def test_the_client_can_be_pointed_at_an_ingress_with_a_key_of_its_own() -> None:
    client = {
        "enabled": True,
        "pictures": {"name": "p"},
        "serverUrl": "https://vision.example.org",
        "apiKeySecret": "mine",
        "ttlS": 60,
    }
    job = CHART.render(over(TRIAL, client=client)).one("Job", component="client")
    assert env(container(job))["SERVER_URL"] == "https://vision.example.org"
    assert next(each for each in pod(job)["volumes"] if each["name"] == "api-key")["secret"]["secretName"] == "mine"
    assert job["spec"]["ttlSecondsAfterFinished"] == 60
    assert "client" not in {each["metadata"]["labels"]["app.kubernetes.io/component"] for each in CHART.render(TRIAL).all("Job")}


@pytest.mark.parametrize(
    ("values", "expect"),
    [
        (TRIAL, "digits"),
        (STRIMZI, "digits"),
        (over(TRIAL, trainer__data=CLAIM), "any"),
        (over(TRIAL, trainer={"enabled": False}), "any"),
        (over(TRIAL, trainer={"enabled": False}, test={"expect": "digits"}), "digits"),
    ],
)
def test_helm_test_expects_right_digits_where_digits_were_learnt(values: Values, expect: str) -> None:
    assert env(container(CHART.render(values).one("Pod", "convnet-test")))["EXPECT"] == expect


def test_helm_test_is_a_hook_that_reaches_the_service_as_a_client() -> None:
    rendered = CHART.render(TRIAL)
    for kind in ("Pod", "ConfigMap"):
        found = rendered.one(kind, "convnet-test")
        assert found["metadata"]["annotations"]["helm.sh/hook"] == "test"
        assert found["metadata"]["labels"]["app.kubernetes.io/component"] == "client"
    items = next(each for each in pod(rendered.one("Pod", "convnet-test"))["volumes"] if each["name"] == "test")["configMap"]["items"]
    data = rendered.one("ConfigMap", "convnet-test")
    assert {each["key"] for each in items} == {*data["data"], *data["binaryData"]}
    assert len(data["binaryData"]) == 20
    assert "Pod" not in CHART.render(over(TRIAL, test={"enabled": False})).kinds()


def test_helm_tests_program_starts_in_the_clients_environment() -> None:
    """It is no module of ours that others would notice to be broken."""
    program = Path(CHART.folder / "files" / "helm_test.py")
    done = subprocess.run(
        [sys.executable, program],
        env={"EXPECT": "any", "DEADLINE_S": "1", "SERVER_URL": "http://127.0.0.1:9", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "ModuleNotFoundError" not in done.stderr
    assert "SourceError" in done.stderr, done.stderr
