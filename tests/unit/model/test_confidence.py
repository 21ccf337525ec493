"""Temperature, top-k and thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from convnet.confidence import ThresholdError, cross_entropy, decide, fit_temperature, thresholds, top_k

CLASSES = ("cat", "dog", "fox")


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("too_sure", [0.3, 1.0, 4.0])
def test_the_temperature_undoes_what_made_a_network_too_sure(too_sure: float) -> None:
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (20_000, 3))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(1).astype(np.int32)  # drawn with the probabilities softmax(logits)
    fitted = fit_temperature(softmax(logits * too_sure), labels)
    assert fitted == pytest.approx(too_sure, rel=0.05)
    cooled = softmax(logits * too_sure / fitted)
    assert cross_entropy(cooled, labels) <= cross_entropy(softmax(logits * too_sure), labels) + 1e-6


def test_few_images_hardly_move_the_temperature() -> None:
    probabilities = np.array([[0.6, 0.2, 0.2], [0.2, 0.6, 0.2]], np.float32)
    labels = np.array([0, 1], np.int32)
    few, many = fit_temperature(probabilities, labels), fit_temperature(np.repeat(probabilities, 500, 0), np.repeat(labels, 500))
    assert 0.7 < few < 1
    assert 0.05 <= many < 0.3


def test_top_k_is_sorted_and_ends_at_the_number_of_classes() -> None:
    probabilities = np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]], np.float32)
    best, values = top_k(probabilities, 2)
    assert best.tolist() == [[1, 2], [0, 1]]
    assert values == pytest.approx(np.array([[0.5, 0.3], [0.4, 0.4]]))
    assert top_k(probabilities, 9)[0].shape == (2, 3)


def test_an_answer_below_its_class_threshold_is_uncertain() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.3, 0.3, 0.4]], np.float32)
    wanted = thresholds(CLASSES, {"dog": 0.8}, 0.4)
    decided = decide(probabilities, wanted)
    assert decided.best.tolist() == [0, 1, 2]
    assert decided.confidence == pytest.approx([0.7, 0.6, 0.4])
    assert decided.certain.tolist() == [True, False, True]
    assert decide(probabilities).certain.all()
    assert thresholds(CLASSES, {}) is None


def test_a_threshold_must_name_a_class_and_be_a_probability() -> None:
    with pytest.raises(ThresholdError, match=r"thresholds name wolf, .*its classes are cat, dog, fox"):
        thresholds(CLASSES, {"wolf": 0.5})
    with pytest.raises(ThresholdError, match=r"not that of dog \(1\.5\)"):
        thresholds(CLASSES, {"dog": 1.5})
