"""The typed errors of training and serving. A message says what happened, to what, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class ConvnetError(Exception):
    """Base of every error this package raises on purpose. Commands print its message and exit with `exit_code`."""

    exit_code = 1


class UnreadableCode(StrEnum):
    """Why a picture could not be read; the codes are part of the results that clients see."""

    UNDECODABLE = "undecodable"
    TOO_LARGE = "too-large"
    UNSUPPORTED = "unsupported"


class UnreadableImage(ConvnetError):
    """One picture could not be read. It harms no other picture.

    Attributes:
        code: `undecodable` (damaged or empty), `too-large` (bytes or pixels past the limit) or `unsupported` (not a format we read).
    """

    def __init__(self, code: UnreadableCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code

    def __reduce__(self) -> tuple[type[UnreadableImage], tuple[UnreadableCode, str]]:
        """Rebuild from both arguments, so that the error crosses process boundaries whole."""
        return type(self), (self.code, str(self))


class DatasetError(ConvnetError):
    """The training folder cannot be trained on as it is."""

    exit_code = 3


class RegistryError(ConvnetError):
    """The models folder holds something that cannot be used, or lacks something that was asked for."""

    exit_code = 4


class TooLargeForMemory(ConvnetError):
    """A training step needs more memory than there is. Models that were there are untouched."""

    exit_code = 8

    def __init__(self, batch_size: int, shape: tuple[int, ...], needed: int | None = None, left: int | None = None) -> None:
        figures = f": it takes about {needed / 2**30:.1f} GiB, and {left / 2**30:.1f} GiB are left" if needed and left is not None else ""
        super().__init__(
            f"a step of {batch_size} images of {' x '.join(map(str, shape))} does not fit in memory{figures}. "
            f"Train with --batch-size {max(1, batch_size // 2)} or smaller images; models that were there are untouched"
        )


class ModelError(ConvnetError):
    """A model was loaded or exported but does not behave as its card says."""

    exit_code = 5


class ClassesDiffer(ConvnetError):
    """The folders' or a version's classes are not those of the stable model, whose labels clients may rely on.

    Attributes:
        found: the other classes.
        stable: those of the stable model.
    """

    exit_code = 6

    def __init__(
        self,
        found: Sequence[str],
        stable: Sequence[str],
        stable_version: int,
        *,
        what: str = "the class folders",
        way: str = "train again with --new-classes; else give the folder that holds the same classes",
    ) -> None:
        super().__init__(
            f"{what} are {', '.join(found)}; the stable model (version {stable_version}) knows {', '.join(stable)}. "
            f"Labels would change their meaning for everyone who reads them. To do so on purpose, {way}."
        )
        self.found = tuple(found)
        self.stable = tuple(stable)


class TrainerBusy(ConvnetError):
    """Another training holds the models folder."""

    exit_code = 7
