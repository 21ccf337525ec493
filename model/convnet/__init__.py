"""convnet: from pictures to a served network. Knows nothing of Kafka or HTTP, and importing it loads neither TensorFlow nor LiteRT.

>>> import convnet
>>> model = convnet.load("models")
>>> model.predict(["photo.jpg"])[0].label
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import os

    from convnet.library import Model

__all__ = ["load"]


def load(folder: str | os.PathLike[str], version: str | int = "stable", *, backend: Literal["litert", "tensorflow"] = "litert") -> Model:
    """Load a trained model from a models folder, its files checked against their checksums.

    Args:
        folder: the models folder, as given to `convnet-kafka train --models`.
        version: `stable`, `canary`, or a version's number.
        backend: `litert`, or `tensorflow` where that is installed.

    Returns:
        a `convnet.library.Model`: `predict`, `classes`, `version`.

    Raises:
        convnet.errors.RegistryError: there is no such version, or a file of it is damaged.
        convnet.errors.ModelError: the backend cannot load it.
    """
    from convnet.library import load_model  # noqa: PLC0415 - importing convnet stays light

    return load_model(folder, version, backend=backend)
