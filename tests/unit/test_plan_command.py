"""`convnet-kafka plan` as it is typed: what it prints, keeps and refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from convnet.images import ImageSpec
from convnet.model_card import ModelCard
from convnet_kafka.cli import plancosts
from convnet_kafka.cli.plan import command
from convnet_kafka.errors import SettingsError
from convnet_kafka.settings import KafkaSettings

CARD = ModelCard(
    version=3,
    classes=("a", "b"),
    height=28,
    width=28,
    channels=1,
    network="original",
    accuracy={},
    training_images=1,
    validation_images=1,
    data_fingerprint="x",
    checksums={},
    created_at=datetime.now(UTC),
)


class Instant:
    """A predictor that costs nothing."""

    card = CARD
    spec = ImageSpec(28, 28, 1)
    max_batch = 64

    def predict(self, images: np.ndarray) -> np.ndarray:
        return np.full((len(images), 2), 0.5, np.float32)

    def warm_up(self) -> None:
        return None


def run(*arguments: str) -> str:
    done = CliRunner().invoke(command, list(arguments), catch_exceptions=False, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


def test_a_table_gives_a_reason_for_each_figure_and_says_where_costs_come_from() -> None:
    output = run("--rate", "500", "--network", "efficientnet-lite0")
    for what in ("classifiers", "servers", "partitions of each lane", "disk of a broker", "network of a broker", "broker, request"):
        assert what in output
    assert "built-in figures" in output


def test_values_are_yaml_with_the_parts_of_the_charts() -> None:
    values = yaml.safe_load(run("--rate", "500", "--peak", "900", "--network", "efficientnet-lite0", "--helm-values"))
    assert set(values) == {"classifier", "server", "topics"}
    least, most = (values["classifier"]["autoscaling"][name] for name in ("minReplicas", "maxReplicas"))
    assert 2 <= least < most
    assert values["topics"]["imagesPartitions"] % most == 0
    assert values["classifier"]["resources"]["requests"]["cpu"] == "1"


def test_json_holds_the_plan_its_reasons_and_the_same_values() -> None:
    found = json.loads(run("--rate", "50", "--json"))
    values = {chart: yaml.safe_load(run("--rate", "50", "--helm-values", chart)) for chart in ("convnet-kafka", "kafka")}
    assert found["helm_values"] == values
    assert found["wishes"]["peak"] == 100
    assert all(line["why"] for line in found["lines"])


def test_measured_costs_are_kept_and_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plancosts, "load_predictor", lambda *_arguments, **_options: Instant())
    kept = tmp_path / "costs.json"
    output = run("--measure", "--models", str(tmp_path), "--seconds", "0.2", "--size", "100x80", "--save-costs", str(kept))
    assert "8,000 pixels" in output
    assert "version 3" in output
    costs = plancosts.read(kept)
    assert costs.decode_us > costs.predict_us
    assert costs.overhead_us > plancosts.KAFKA_US
    assert json.loads(run("--rate", "50", "--costs", str(kept), "--json"))["costs"]["source"] == costs.source


def test_pictures_of_ones_own_are_measured_and_what_is_none_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plancosts, "load_predictor", lambda *_arguments, **_options: Instant())
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "notes.txt").write_text("no picture")
    with pytest.raises(SettingsError, match="holds no picture that can be decoded"):
        plancosts.measure(tmp_path, pictures, None, 0.1)
    Image.new("L", (50, 40)).save(pictures / "a.png")
    costs = plancosts.measure(tmp_path, pictures, None, 0.1)
    assert costs.pixels == 2000
    assert costs.image_bytes == (pictures / "a.png").stat().st_size


def test_the_memory_of_a_classifier_holds_the_pixels_of_its_largest_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Large(Instant):
        spec = ImageSpec(256, 256, 3)  # 192 KiB of pixels

    monkeypatch.setattr(plancosts, "load_predictor", lambda *_arguments, **_options: Large())
    monkeypatch.setattr(plancosts.resource, "getrusage", lambda _who: SimpleNamespace(ru_maxrss=0))

    def beside_the_process(cost_us: float) -> float:
        monkeypatch.setattr(plancosts, "_cost_us", lambda *_arguments: cost_us)
        budget = KafkaSettings.model_fields["memory_budget_mib"].default
        return plancosts.measure(tmp_path, None, (8, 8), 0.1).classifier_mib - budget

    assert beside_the_process(10.0) == 256 * 192 / 1024  # as many as the setting allows
    assert beside_the_process(10_000.0) == 4 * 192 / 1024  # 30 ms each: more would take longer than 100 ms


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--rate"),
        (("--rate", "5", "--helm-values", "--json"), "choose one"),
        (("--rate", "5", "--measure", "--costs", "x"), "choose one"),
        (("--rate", "5", "--pictures", "."), "--measure"),
        (("--rate", "5", "--costs", "no-such-file"), "cannot read no-such-file"),
        (("--rate", "5", "--latency", "0.01", "--network", "efficientnet-lite0"), "one image takes"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(arguments: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(command, list(arguments))
    assert isinstance(done.exception, SettingsError)
    assert said in str(done.exception)


@pytest.mark.parametrize("content", ["{}", "nonsense", '{"source": "x"}', "[1]"])
def test_a_file_that_holds_no_costs_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "costs.json").write_text(content)
    with pytest.raises(SettingsError, match="holds no costs"):
        plancosts.read(tmp_path / "costs.json")


def test_a_size_is_two_numbers() -> None:
    done = CliRunner().invoke(command, ["--rate", "5", "--size", "640"])
    assert done.exit_code == 2
    assert "write it as 640x427" in done.output


@pytest.mark.parametrize("name", list(plancosts.built_in()))
def test_built_in_costs_are_complete(name: str) -> None:
    costs = plancosts.built_in()[name]
    assert min(costs.decode_us, costs.predict_us, costs.overhead_us, costs.alone_us, costs.server_us, costs.broker_us) > 0
    assert costs.pixels > 0
