"""Training: reaches an accuracy, survives kill -9, is reused, and never lowers what is served."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from convnet import machine
from convnet.checkpoints import Checkpoints
from convnet.choice import AUTO
from convnet.dataset import load
from convnet.digits import DigitsFolders
from convnet.errors import ClassesDiffer, ModelError, RegistryError, TooLargeForMemory, TrainerBusy
from convnet.export import check_same
from convnet.folders import scan
from convnet.images import ImageSpec
from convnet.network import NETWORKS
from convnet.predictor import load_predictor
from convnet.progress import Silent
from convnet.registry import FLOAT32, KERAS, Registry
from convnet.run import Outcome, train
from convnet.steps import class_weights
from convnet.trainerlock import only_trainer
from convnet.training import TrainingSettings, fit, keras_answers
from convnet_kafka.cli.train import command

Write = Callable[..., Path]
Listening = Any


def test_digits_are_learned_and_the_model_is_stable(trained: tuple[Registry, Outcome]) -> None:
    registry, outcome = trained
    assert outcome.accuracy >= 0.85
    assert outcome.promoted
    assert registry.resolve("stable") == outcome.card.version == 1
    card = registry.card(1)
    assert card.classes == tuple("0123456789")
    assert (card.height, card.width, card.channels) == (32, 32, 1)
    assert card.accuracy[card.served] == outcome.accuracy
    assert abs(card.accuracy[KERAS] - card.accuracy[FLOAT32]) < 0.01
    assert card.training_images + card.validation_images == 1433
    assert len(card.history) == card.settings["epochs"] == 5
    assert {"tensorflow", "keras", "numpy", "pillow", "ai-edge-litert"} <= set(card.library_versions)
    assert not any((registry.folder / ".training").iterdir())


def test_the_same_training_again_ends_at_once(trained_copy: Registry, digits: DigitsFolders, settings: TrainingSettings) -> None:
    started = time.monotonic()
    again = train(digits.train, trained_copy, settings, Silent())
    assert time.monotonic() - started < 3
    assert again.reused
    assert not again.promoted
    assert "nothing was trained" in again.reason
    assert trained_copy.versions() == (1,)


def test_a_crash_between_register_and_promote_is_healed_without_training(
    trained_copy: Registry, digits: DigitsFolders, settings: TrainingSettings
) -> None:
    (trained_copy.folder / "aliases.json").unlink()
    again = train(digits.train, trained_copy, settings, Silent())
    assert (again.reused, again.promoted) == (True, True)
    assert trained_copy.versions() == (1,)
    assert trained_copy.resolve("stable") == 1


def test_a_worse_model_of_another_size_is_kept_but_not_promoted(
    trained_copy: Registry, digits: DigitsFolders, settings: TrainingSettings
) -> None:
    stable = trained_copy.card(1)
    worse = train(digits.train, trained_copy, replace(settings, height=8, width=8, epochs=1), Silent())
    assert not worse.promoted
    assert worse.card.version == 2
    assert trained_copy.resolve("stable") == worse.stable_version == 1
    assert worse.previous_accuracy == stable.accuracy[stable.served]
    assert worse.accuracy < worse.previous_accuracy
    again = train(digits.train, trained_copy, replace(settings, height=8, width=8, epochs=1), Silent())
    assert (again.reused, again.promoted, again.card.version) == (True, False, 2)


def test_other_classes_are_refused_unless_asked_for(
    trained_copy: Registry, digits: DigitsFolders, settings: TrainingSettings, tmp_path: Path
) -> None:
    for name in ("0", "1", "2"):
        shutil.copytree(digits.train / name, tmp_path / "some" / name)
    with pytest.raises(ClassesDiffer, match=r"class folders are 0, 1, 2; the stable model \(version 1\) knows 0, 1, .*--new-classes"):
        train(tmp_path / "some", trained_copy, replace(settings, epochs=1), Silent())
    outcome = train(tmp_path / "some", trained_copy, replace(settings, epochs=1), Silent(), new_classes=True)
    assert outcome.promoted
    assert trained_copy.card(outcome.card.version).classes == ("0", "1", "2")


def test_the_same_seed_trains_the_same_network(digits: DigitsFolders, settings: TrainingSettings, tmp_path: Path) -> None:
    small = replace(settings, height=8, width=8, epochs=1)
    registries = [Registry(tmp_path / name) for name in ("a", "b")]
    first, second = (train(digits.train, registry, small, Silent()).card for registry in registries)
    assert first.history[0].loss == second.history[0].loss
    assert np.array_equal(*map(answers_of, registries))


def answers_of(registry: Registry) -> np.ndarray[Any, Any]:
    """What version 1 says of some noise, to the last bit: its file also holds names that Keras numbers on."""
    predictor = load_predictor(registry, 1, artefact="float32")
    return predictor.predict(np.random.default_rng(1).integers(0, 256, (32, *predictor.spec.shape), np.uint8))


def cli(*arguments: object) -> list[str]:
    return [sys.executable, "-c", "from convnet_kafka.cli.main import main; main()", "train", *map(str, arguments)]


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[bytes], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.01)
            pytest.fail("the training ended before it could be killed")


def test_after_kill_9_the_same_command_goes_on(digits: DigitsFolders, tmp_path: Path) -> None:
    arguments = (digits.train, "--height", 16, "--width", 16, "--colors", "grey", "--epochs", 9, "--models", tmp_path / "models")
    process = subprocess.Popen(cli(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: list(tmp_path.glob("models/.training/*/epoch-*.npz")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert Registry(tmp_path / "models").versions() == ()
    done = CliRunner().invoke(command, list(map(str, arguments)))
    assert done.exit_code == 0
    assert "going on after epoch" in done.stderr
    assert "epoch 1 of 9: accuracy" not in done.stderr
    assert "epoch 9 of 9: accuracy" in done.stderr
    registry = Registry(tmp_path / "models")
    assert registry.resolve("stable") == 1
    assert len(registry.card(1).history) == 9


class Interrupted(Silent):
    """Ends the training at the first sign of work within some epoch, as a kill would."""

    def __init__(self, epoch: int) -> None:
        self._stage, self._now = f"epoch {epoch} of ", False

    def stage(self, what: str, total: int) -> None:
        self._now = what.startswith(self._stage)

    def done(self, units: int) -> None:
        if self._now:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("network", "epochs"), [("original", 6), pytest.param("cnn", 2, marks=pytest.mark.long)])
def test_a_training_that_was_interrupted_in_every_epoch_ends_as_if_it_had_not_been(
    digits: DigitsFolders, tmp_path: Path, network: str, epochs: int
) -> None:
    for name in ("0", "1"):
        shutil.copytree(digits.train / name, tmp_path / "some" / name)
    settings = TrainingSettings(8, 8, 1, epochs=epochs, network=network)
    whole, broken = Registry(tmp_path / "whole"), Registry(tmp_path / "broken")
    undisturbed = train(tmp_path / "some", whole, settings, Silent()).card
    for epoch in range(2, epochs + 1):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "some", broken, settings, Interrupted(epoch))
    card = train(tmp_path / "some", broken, settings, Silent()).card
    assert [epoch.loss for epoch in card.history] == [epoch.loss for epoch in undisturbed.history]
    assert [epoch.validation_loss for epoch in card.history] == [epoch.validation_loss for epoch in undisturbed.history]
    assert np.array_equal(answers_of(whole), answers_of(broken))


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_training_killed_five_times_ends_as_accurate(digits: DigitsFolders, tmp_path: Path) -> None:
    def arguments(models: str) -> list[str]:
        return cli(digits.train, "--network", "cnn", "--epochs", 12, "--models", tmp_path / models)

    subprocess.run(arguments("whole"), check=True, capture_output=True)
    random = np.random.default_rng(1)
    for kill in range(5):
        process = subprocess.Popen(arguments("broken"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda least=2 * kill + 1: list(tmp_path.glob(f"broken/.training/*/epoch-{least:04d}.npz")), process, timeout_s=300)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=float(random.uniform(0, 0.5)))  # into the middle of an epoch
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(arguments("broken"), check=True, capture_output=True, text=True)
    assert "going on after epoch" in done.stderr
    whole, broken = (Registry(tmp_path / name).card(1) for name in ("whole", "broken"))
    assert len(whole.history) == len(broken.history) == 12
    assert abs(whole.accuracy[FLOAT32] - broken.accuracy[FLOAT32]) <= 0.003


def test_training_ends_early_with_the_best_weights(
    digits: DigitsFolders, settings: TrainingSettings, tmp_path: Path, listening: Listening
) -> None:
    dataset = load(scan(digits.train, Silent()), ImageSpec(8, 8, 1), Silent())
    impatient = replace(settings.recipe, rate=0.5, patience=2)
    long = replace(settings, height=8, width=8, epochs=30)
    checkpoints = Checkpoints(tmp_path, "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingSettings, "recipe", property(lambda _: impatient))
        network, history = fit(dataset, long, checkpoints, listening)
    best = max(epoch.validation_accuracy for epoch in history)
    assert len(history) < 30
    assert "the training ends early" in listening.notes[-1]
    assert np.mean(keras_answers(network, dataset.held_out).argmax(1) == dataset.held_out.labels) == pytest.approx(best)


def test_a_full_disk_is_one_clear_line_and_the_old_model_is_untouched(trained_copy: Registry, digits: DigitsFolders) -> None:
    before = (trained_copy.folder / "1" / "model.json").read_bytes()
    # A file may hold 200 kB: the kernel then refuses as a full disk does.
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); "
    arguments = cli(digits.train, "--height", 16, "--epochs", 1, "--models", trained_copy.folder)
    arguments[2] = limited + arguments[2]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "convnet-kafka: cannot write a checkpoint into" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert (trained_copy.resolve("stable"), trained_copy.versions()) == (1, (1,))
    assert (trained_copy.folder / "1" / "model.json").read_bytes() == before


def test_too_little_space_is_said_before_training(
    trained_copy: Registry, digits: DigitsFolders, settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5 * 2**20))
    with pytest.raises(RegistryError, match="only 5 MiB are free"):
        train(digits.train, trained_copy, replace(settings, epochs=1), Silent())


def test_a_batch_that_does_not_fit_into_memory_is_said_before_training(
    trained_copy: Registry, digits: DigitsFolders, settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "memory_bytes", lambda: 2**30)
    with pytest.raises(TooLargeForMemory, match=r"100000 images of 32 x 32 x 1 does not fit .* 1\.0 GiB are left.*--batch-size 50000"):
        train(digits.train, trained_copy, replace(settings, batch_size=100_000), Silent())
    assert trained_copy.versions() == (1,)


def test_a_step_that_runs_out_of_memory_is_a_clear_error(
    digits: DigitsFolders, settings: TrainingSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("convnet.steps.augment", exhausted)
    with pytest.raises(TooLargeForMemory, match="--batch-size 32"):
        train(digits.train, Registry(tmp_path), replace(settings, height=8, width=8), Silent())


def test_small_classes_count_more(write_classes: Write, tmp_path: Path, listening: Listening) -> None:
    assert class_weights(np.array([0] * 10 + [1] * 8, np.int32), 2) is None
    assert class_weights(np.array([0] * 30 + [1] * 10, np.int32), 2) == pytest.approx([2 / 3, 2.0])
    assert class_weights(np.array([0] * 999 + [1], np.int32), 2) == pytest.approx([0.5, 10.0], rel=0.01)
    folder = write_classes(cat=60, dog=20)
    train(folder, Registry(tmp_path / "models"), TrainingSettings(8, 8, 1, epochs=1), listening)
    assert any("classes differ in size" in note for note in listening.notes)


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "run")
    checkpoints.folder.mkdir(parents=True)
    (checkpoints.folder / "epoch-0001.npz").write_bytes(b"damaged")
    assert checkpoints.load() is None


def test_a_second_training_in_the_same_folder_is_refused(tmp_path: Path, write_classes: Write) -> None:
    folder = write_classes(cat=9, dog=9)
    with only_trainer(tmp_path), pytest.raises(TrainerBusy, match=r"another training is running in .*: process \d+ on "):
        train(folder, Registry(tmp_path), TrainingSettings(8, 8, 1), Silent())


@pytest.mark.parametrize("exported", [np.array([[0.1, 0.9]] * 5), np.array([[np.nan, np.nan]] * 5), np.array([[0.6, 0.4]] * 5)])
def test_an_export_that_answers_otherwise_is_refused(exported: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ModelError, match="does not answer as the trained network does"):
        check_same(np.array([[0.8, 0.2]] * 5), exported, FLOAT32)


def test_folder_errors_are_one_line_instant_and_need_no_tensorflow(tmp_path: Path) -> None:
    script = (
        "import sys; from convnet_kafka.cli.main import main\n"
        "try: main()\nfinally: assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script, "train", str(tmp_path / "nowhere")], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("convnet-kafka: the training folder")
    assert done.stderr.count("\n") == 1


def test_environment_variables_of_the_original_still_work(write_classes: Write, tmp_path: Path) -> None:
    folder = write_classes(cat=9, dog=9)
    environment = {"TRAINING_DATA_DIR": str(folder), "CLASS_NAMES": "cat, horse"}
    done = CliRunner().invoke(command, ["--models", str(tmp_path / "models")], env=environment)
    assert "given are cat, horse" in str(done.exception)


def test_json_is_all_that_stands_on_stdout(trained_copy: Registry, digits: DigitsFolders) -> None:
    arguments = [str(digits.train), "--colors", "grey", "--epochs", "5", "--models", str(trained_copy.folder), "--json"]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0
    answer = json.loads(done.stdout)
    assert (answer["version"], answer["reused"], answer["stable_version"]) == (1, True, 1)
    assert answer["accuracy"] >= 0.85


def test_json_progress_is_an_object_a_line(digits: DigitsFolders, tmp_path: Path) -> None:
    arguments = [str(digits.train), "--height", "8", "--width", "8", "--epochs", "2", "--models", str(tmp_path / "models"), "--json"]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0
    events = [json.loads(line) for line in done.stderr.splitlines()]
    epochs = [event for event in events if event["event"] == "epoch"]
    assert [event["epoch"] for event in epochs] == [1, 2]
    assert {"loss", "validation_accuracy", "seconds", "seconds_left"} <= set(epochs[0])
    assert any("fewer than 2000 small pictures" in event.get("text", "") for event in events)
    assert json.loads(done.stdout)["network"] == "original"


def test_the_command_offers_every_network() -> None:
    offered = next(option for option in command.params if option.name == "network").type
    assert tuple(offered.choices) == (AUTO, *NETWORKS)
