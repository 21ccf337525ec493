"""What is wrong with settings, secrets, disks and models where a service runs, and the line that the doctor has for it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from convnet.registry import Registry
from convnet_kafka import apikeys
from convnet_kafka.apikeys import Key, KeyFile
from convnet_kafka.cli.doctor import command
from convnet_kafka.diagnosis.doctor import checks, machine
from convnet_kafka.diagnosis.doctor.checks import CHECKS, Check
from convnet_kafka.diagnosis.doctor.findings import Status
from convnet_kafka.diagnosis.doctor.installation import Installation
from convnet_kafka.errors import SettingsError
from convnet_kafka.settings import ClassifierSettings, ServerSettings, TopicSettings
from support.examining import examined, failures, lines, place, warnings

SECRET = "s" * 40


def server(tmp_path: Path, **other: object) -> Installation:
    key = tmp_path / "signing-key"
    key.write_text(SECRET)
    key.chmod(0o600)
    return place(server=ServerSettings(**({"signing_key_files": [key]} | other)))  # type: ignore[arg-type]


def test_a_misspelt_variable() -> None:
    environment = {
        "CONVNET_SERVER_PROT": "8080",
        "KAFKA_BOOTSTRAP_SERVER": "kafka:9092",
        "KAFKA_HEAP_OPTS": "-Xmx1g",
        "CONVNET_TOPICS_X": "1",
    }
    said = warnings(place(environment=environment), "settings")
    assert "CONVNET_SERVER_PROT is set and is no setting: nobody reads it -> did you mean CONVNET_SERVER_PORT?" in said
    assert "did you mean KAFKA_BOOTSTRAP_SERVERS?" in said
    assert "CONVNET_TOPICS_X is set and is no setting: nobody reads it -> take it away" in said
    assert "HEAP" not in said


def test_more_copies_wanted_in_sync_than_there_are() -> None:
    said = failures(place(topics=TopicSettings(min_insync_replicas=2)), "settings")
    assert "CONVNET_TOPICS_MIN_INSYNC_REPLICAS is 2 and CONVNET_TOPICS_REPLICATION_FACTOR 1: no image could ever be stored" in said


def test_a_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = SimpleNamespace(total=10_000 * machine.MIB, used=9_900 * machine.MIB, free=100 * machine.MIB)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: full)
    said = failures(server(tmp_path, spool_folder=tmp_path), "disk")
    assert f"{tmp_path} has 100 MiB free, for zip archives in progress; 1,024 MiB may be needed" in said
    assert "CONVNET_SERVER_SPOOL_MIB lower" in said
    monkeypatch.undo()
    assert "cannot be used: No such file" in failures(server(tmp_path, spool_folder=tmp_path / "absent"), "disk")


def test_signing_keys_that_are_missing_short_the_same_or_everybodys(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_text("short")
    where = server(tmp_path)
    key = where.server.signing_key_files[0] if where.server else tmp_path
    assert "no key to sign job ids with" in failures(place(server=ServerSettings()), "signing-keys")
    assert "has 5 bytes, 32 or more are needed" in failures(server(tmp_path, signing_key_files=[short]), "signing-keys")
    assert "both signing keys are the same" in warnings(server(tmp_path, signing_key_files=[key, key]), "signing-keys")
    key.chmod(0o644)
    assert "can be read by every user of this machine" in warnings(where, "signing-keys")


def test_api_keys_that_let_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    _, secret = apikeys.new_secret()
    now = apikeys.now()

    def keys(**ends: timedelta) -> Installation:
        apikeys.write(path, KeyFile(keys={name: Key(secrets=(secret,), created=now, expires=now + end) for name, end in ends.items()}))
        return server(tmp_path, keys_file=path)

    assert "none of the 1 keys" in failures(keys(old=timedelta(days=-1)), "api-keys")
    assert "the key 'soon' ends on" in warnings(keys(soon=timedelta(days=3)), "api-keys")
    path.write_text("{}}")
    assert "is not a keys file" in failures(server(tmp_path, keys_file=path), "api-keys")
    assert "without asking for keys, and so does not start" in failures(server(tmp_path, host="0.0.0.0"), "api-keys")
    assert "needs no key" in warnings(server(tmp_path, host="0.0.0.0", insecure=True), "api-keys")


def test_models_that_are_missing_not_promoted_or_damaged(tmp_path: Path, digits_models: Path, copied: Path) -> None:
    def models(folder: Path, **other: object) -> Installation:
        return place(classifier=ClassifierSettings(models=folder, **other))  # type: ignore[arg-type]

    assert f"the models folder {tmp_path / 'absent'} is not there" in failures(models(tmp_path / "absent"), "model")
    assert "no model is stable" in failures(models(tmp_path), "model")
    sound = examined(models(digits_models), "model")
    assert [finding.status for finding in sound] == [Status.PASS]
    assert "name classes that version 1 (stable) does not have: horse" in failures(
        models(digits_models, thresholds={"horse": 0.5}), "model"
    )
    card = Registry(copied).card(1)
    (copied / "1" / card.served).write_bytes(b"cut off")
    assert f"{card.served} is damaged: its SHA-256 is" in failures(models(copied), "model")
    Registry(copied).set_alias("stable", None)
    assert "it holds versions 1 -> 'convnet-kafka models promote VERSION' makes one stable" in failures(models(copied), "model")


@pytest.fixture
def copied(tmp_path: Path, digits_models: Path) -> Path:
    import shutil

    return Path(shutil.copytree(digits_models, tmp_path / "models"))


def test_a_check_that_fails_itself_ends_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_place: Installation):
        yield machine.well("so far")
        raise KeyError("oh")

    monkeypatch.setattr(
        checks, "CHECKS", (Check("first", broken, needs_kafka=False), Check("versions", machine.versions, needs_kafka=False))
    )
    found = examined(place())
    assert [finding.check for finding in found] == ["first", "first", "versions"]
    assert "the check itself failed: KeyError: 'oh'" in lines(found, Status.FAIL)


def test_the_command_says_it_to_scripts_by_exit_code_and_json_and_shows_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key"
    key.write_text(SECRET)
    monkeypatch.setenv("CONVNET_SERVER_SIGNING_KEY_FILES", str(key))
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hunter2-hunter2")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    quick = ["--patience", "1"]
    everything = CliRunner().invoke(command, [*quick, "--json"])
    report = json.loads(everything.stdout)
    assert everything.exit_code == 1
    assert report["counts"]["fail"] == sum(finding["status"] == "fail" for finding in report["findings"]) > 0
    assert {finding["check"] for finding in report["findings"]} >= {"ports", "kafka", "topics", "kafka-password"}
    text = CliRunner().invoke(command, quick)
    assert "fail ports          127.0.0.1:1 refuses: Connection refused" in text.stdout
    assert "->" in text.stdout
    for said in (everything.output, text.output):
        assert SECRET not in said
        assert "hunter2" not in said
    warned = CliRunner().invoke(command, [*quick, "--only", "kafka-password"])
    assert warned.exit_code == 0
    assert CliRunner().invoke(command, [*quick, "--only", "kafka-password", "--strict"]).exit_code == 1
    with pytest.raises(SettingsError, match="no check kafak"):
        CliRunner().invoke(command, ["--only", "kafak"], catch_exceptions=False)


def test_every_check_says_what_it_looks_at_and_is_listed() -> None:
    listed = CliRunner().invoke(command, ["--list"]).stdout.splitlines()
    assert [line.split()[0] for line in listed] == [check.name for check in CHECKS]
    assert all(check.says.endswith(".") for check in CHECKS)
    assert len({check.name for check in CHECKS}) == len(CHECKS)
