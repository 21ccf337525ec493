"""Secrets: made once, as the services read them, and never touched again."""

from __future__ import annotations

from pathlib import Path

from convnet_kafka import apikeys
from convnet_kafka.apikeys import KeyState, Permission
from convnet_kafka.server.config import signing_keys
from convnet_kafka.settings import ServerSettings
from support.charts import Chart
from support.convnet_chart import CHART, TRIAL, container, env, over, pod


def test_the_first_key_is_one_that_the_server_takes() -> None:
    data = CHART.render(TRIAL).one("Secret", "convnet-api-keys")["stringData"]
    (name, key), *others = apikeys.parse(data["keys.json"].encode(), Path("keys.json")).keys.items()
    assert (name, others) == ("first", [])
    assert apikeys.is_key(data["api-key"])
    assert [secret.sha256 for secret in key.secrets] == [apikeys.digest(data["api-key"])]
    assert key.allow == frozenset(Permission)
    assert key.state(apikeys.now()) is KeyState.ACTIVE


def test_the_signing_key_is_one_that_the_server_takes(tmp_path: Path) -> None:
    data = CHART.render(TRIAL).one("Secret", "convnet-job-signing")["stringData"]
    (tmp_path / "key").write_text(data["job-signing"])
    assert len(signing_keys(ServerSettings(signing_key_files=[tmp_path / "key"]))[0]) >= 48


def test_each_release_has_secrets_of_its_own() -> None:
    # Another namespace, because what was rendered once is not rendered again.
    first, second = (Chart("convnet-kafka", namespace=namespace).render(TRIAL) for namespace in ("vision", "other"))
    for name in ("convnet-api-keys", "convnet-job-signing"):
        assert first.one("Secret", name)["stringData"] != second.one("Secret", name)["stringData"]


def test_helm_neither_keeps_track_of_them_nor_deletes_them() -> None:
    """Hooks are no parts of a release: no upgrade patches them, no rollback brings revoked keys back, an uninstall leaves them."""
    for secret in CHART.render(TRIAL).all("Secret"):
        annotations = secret["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert "helm.sh/hook-delete-policy" not in annotations


def test_secrets_that_are_there_are_used_and_none_is_made() -> None:
    rendered = CHART.render(
        over(
            TRIAL,
            server={
                "apiKeys": {"existingSecret": "my-keys", "key": "k.json"},
                "jobSigning": {"existingSecret": "my-signing", "keys": ["new", "old"]},
            },
        )
    )
    assert "Secret" not in rendered.kinds()
    server = rendered.one("Deployment", "convnet-server")
    volumes = {each["name"]: each.get("secret") for each in pod(server)["volumes"]}
    assert volumes["api-keys"]["secretName"] == "my-keys"
    assert volumes["job-signing"]["secretName"] == "my-signing"
    told = env(container(server))
    assert told["CONVNET_SERVER_KEYS_FILE"] == "/etc/convnet-kafka/api-keys/k.json"
    # The first signs, both are accepted.
    assert told["CONVNET_SERVER_SIGNING_KEY_FILES"] == "/etc/convnet-kafka/job-signing/new,/etc/convnet-kafka/job-signing/old"


def test_servers_do_not_see_the_text_of_a_key() -> None:
    volumes = {each["name"]: each.get("secret") for each in pod(CHART.render(TRIAL).one("Deployment", "convnet-server"))["volumes"]}
    assert volumes["api-keys"]["items"] == [{"key": "keys.json", "path": "keys.json"}]


def test_a_change_of_the_signing_keys_starts_new_servers() -> None:
    """They read them at their start; API keys they read again by themselves."""
    first = CHART.render(TRIAL).one("Deployment", "convnet-server")["spec"]["template"]
    second = CHART.render(over(TRIAL, server__jobSigning={"keys": ["job-signing", "next"], "existingSecret": "convnet-job-signing"}))
    assert first != second.one("Deployment", "convnet-server")["spec"]["template"]


def test_without_keys_nobody_is_asked_and_no_keys_are_made() -> None:
    rendered = CHART.render(over(TRIAL, server__apiKeys={"enabled": False}))
    assert "Secret/convnet-api-keys" not in rendered.names()
    told = env(container(rendered.one("Deployment", "convnet-server")))
    assert told["CONVNET_SERVER_INSECURE"] == "true"
    assert "CONVNET_SERVER_KEYS_FILE" not in told
    assert "CONVNET_API_KEY_FILE" not in env(container(rendered.one("Pod", "convnet-test")))


def test_no_secret_stands_in_an_environment_or_an_argument() -> None:
    rendered = CHART.render(TRIAL)
    texts = [value for secret in rendered.all("Secret") for value in secret["stringData"].values()]
    for kind in ("Deployment", "StatefulSet", "Job", "Pod", "ConfigMap"):
        for each in rendered.all(kind):
            assert not [text for text in texts if text in str(each)]
