"""What is known of one version of a model: the contents of its `model.json`."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from convnet.images import ImageSpec


class EpochResult(BaseModel):
    """How one pass over the training images ended.

    Attributes:
        loss: cross-entropy on the training images.
        accuracy: share of training images classified rightly, 0-1, while dropout is on.
        validation_loss: cross-entropy on the held-out images.
        validation_accuracy: share of held-out images classified rightly, 0-1.
        seconds: wall time.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float


class ModelCard(BaseModel):
    """One version's card. Fields are only ever added, and readers ignore those they do not know.

    Attributes:
        version: 1 or more; the folder's name.
        classes: class names; the position is the network's output.
        height: pixels the network takes.
        width: pixels the network takes.
        channels: 1 grey, 3 RGB.
        network: which architecture, for example `original`.
        accuracy: by artefact (`model.keras`, `float32.tflite`, `int8.tflite`), on the held-out images, 0-1.
        served: the artefact that is served unless another is asked for.
        refused: artefacts that must not be served, and why; their files are not kept.
        temperature: what logits are divided by, so that probabilities mean what they say; it is in every artefact already.
        training_images: images the weights were fitted to.
        validation_images: held-out images behind `accuracy`.
        validation_class_images: of these how many are of each class, in the order of `classes`; empty in cards of before.
        data_fingerprint: BLAKE2b over every image's class and content; equal data, equal fingerprint.
        settings: what was asked of the training, as JSON.
        history: one entry an epoch.
        library_versions: of the libraries that made the model.
        checksums: SHA-256 in hex of each artefact, verified whenever it is loaded.
        created_at: UTC.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    version: int = Field(ge=1)
    classes: tuple[str, ...] = Field(min_length=2)
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    channels: int
    network: str
    accuracy: dict[str, float]
    served: str = "float32.tflite"
    refused: dict[str, str] = Field(default_factory=dict)
    temperature: float = 1.0
    training_images: int = Field(ge=0)
    validation_images: int = Field(ge=0)
    validation_class_images: tuple[int, ...] = ()
    data_fingerprint: str
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    history: tuple[EpochResult, ...] = ()
    library_versions: dict[str, str] = Field(default_factory=dict)
    checksums: dict[str, str]
    created_at: datetime

    @property
    def spec(self) -> ImageSpec:
        """What the network takes."""
        return ImageSpec(self.height, self.width, self.channels)
