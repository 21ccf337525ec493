"""Versions and aliases on a shared folder. Readers never see half a version; writers never touch one that is there.

```
models/7/              model.json, model.keras, float32.tflite, int8.tflite    written in a hidden folder, synced, renamed
models/aliases.json    {"stable": 7, "canary": 8, "canary_percent": 10, "shadow": 9, "previous": [5, 6]}
                                                                               written aside, synced, renamed
models/.deleted-4/     stays when version 4 is deleted, so that its number is never given again
```
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from convnet import files
from convnet.errors import RegistryError
from convnet.model_card import ModelCard

KERAS = "model.keras"
FLOAT32 = "float32.tflite"
INT8 = "int8.tflite"

Alias = Literal["stable", "canary", "shadow"]

Loaded = TypeVar("Loaded")

_CARD = "model.json"
_ALIASES = "aliases.json"
# Changing an alias takes milliseconds; a holder that takes longer sits on a volume that hangs.
_ALIASES_LOCK_TIMEOUT_S = 10.0
# How far back `rollback` can go.
_MAX_PREVIOUS = 20
_DELETED = ".deleted-"
# What must happen to a version with this alias before it can be deleted.
_WAYS_OUT = {"stable": "promote another one", "canary": "end it (models canary off)", "shadow": "end it (models shadow --off)"}
# A writer that was killed leaves its hidden folder; writing a version takes seconds, so a day is surely dead.
_ABANDONED_AFTER_S = 24 * 3600.0


class Aliases(BaseModel):
    """Which version answers to which name.

    Attributes:
        stable: the version that classifies; None before the first training.
        canary: the version under trial, if any.
        canary_percent: share of images that the canary classifies, 0-100.
        shadow: the version that predicts beside the stable one and is compared only, if any.
        previous: which versions were stable before, the last one last; each once.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    stable: int | None = None
    canary: int | None = None
    canary_percent: int = Field(default=0, ge=0, le=100)
    shadow: int | None = None
    previous: tuple[int, ...] = ()

    def with_stable(self, version: int | None) -> Aliases:
        """Another stable version; the one before is remembered."""
        before = [each for each in self.previous if each not in {version, self.stable}]
        if self.stable is not None and self.stable != version:
            before.append(self.stable)
        return self.model_copy(update={"stable": version, "previous": tuple(before[-_MAX_PREVIOUS:])})


class Registry:
    """The models folder. A folder that does not exist is an empty registry; it is made by the first write.

    Args:
        folder: usually on a volume that trainer and classifiers share.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def versions(self) -> tuple[int, ...]:
        """Every version there is, ascending."""
        try:
            names = [entry.name for entry in self.folder.iterdir()]
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise RegistryError(f"cannot read the models folder {self.folder}: {error.strerror}; check its path and permissions") from error
        return tuple(sorted(int(name) for name in names if name.isascii() and name.isdigit() and not name.startswith("0")))

    def aliases(self) -> Aliases:
        """The aliases now. All None when none was ever set."""
        path = self.folder / _ALIASES
        try:
            return Aliases.model_validate_json(_read(path))
        except FileNotFoundError:
            return Aliases()
        except ValidationError as error:
            raise RegistryError(
                f"{path} is not what this program writes: {error.errors()[0]['msg']}. "
                f'Repair it, for example {{"stable": {max(self.versions(), default=1)}}}, or delete it and train again'
            ) from error

    def resolve(self, alias_or_version: str | int = "stable") -> int | None:
        """The version behind `stable`, `canary`, `shadow` or a number; None when that alias is not set.

        Raises:
            RegistryError: for another name, or a version that is not there.
        """
        version = self._named(alias_or_version)
        # Between the look at the alias and the look at the folder the version may have been replaced and deleted: then look again.
        while version is not None and version not in self.versions():
            before, version = version, self._named(alias_or_version)
            if version == before:
                raise RegistryError(
                    f"version {version} ({alias_or_version}) is not in {self.folder}, which holds {self._known()}; "
                    "restore its folder or set the alias to a version that is there"
                )
        return version

    def card(self, version: int) -> ModelCard:
        """The card of a version."""
        path = self.folder / str(version) / _CARD
        try:
            return ModelCard.model_validate_json(_read(path))
        except FileNotFoundError as error:
            raise RegistryError(f"{path} is missing; {self.folder} holds {self._known()}") from error
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise RegistryError(
                f"{path} is damaged ({where or 'not JSON'}: {problem['msg']}); restore it from a backup or set the alias to another version"
            ) from error

    def artefact(self, version: int, name: str) -> bytes:
        """The bytes of an artefact, read into memory and checked against the card.

        Raises:
            RegistryError: it is missing, unknown to the card, or its checksum differs.
        """
        path = self.folder / str(version) / name
        expected = self.card(version).checksums.get(name)
        if expected is None:
            raise RegistryError(f"version {version} in {self.folder} has no {name}; train again to make one")
        try:
            data = _read(path)
        except FileNotFoundError as error:
            raise RegistryError(f"{path} is missing; restore it from a backup or set the alias to another version") from error
        found = hashlib.sha256(data).hexdigest()
        if found != expected:
            raise RegistryError(
                f"{path} is damaged: its SHA-256 is {found}, model.json says {expected}; "
                "restore it from a backup or set the alias to another version"
            )
        return data

    def add(self, make_card: Callable[[int, Mapping[str, str]], ModelCard], artefacts: Mapping[str, bytes]) -> ModelCard:
        """Add a version; no alias points to it yet.

        Args:
            make_card: gets the new version and the checksums by artefact, returns the card.
            artefacts: file name to contents.

        Returns:
            the card as stored.
        """
        self.make_folder()
        files.remove_older(self.folder.glob(".new-*"), _ABANDONED_AFTER_S)
        checksums = {name: hashlib.sha256(data).hexdigest() for name, data in artefacts.items()}
        aside = self.folder / f".new-{uuid4().hex}"
        aside.mkdir()
        try:
            for name, data in artefacts.items():
                files.write_new(aside / name, data)
            version = max((*self.versions(), *self._deleted()), default=0) + 1
            while True:
                card = make_card(version, checksums)
                files.replace(aside / _CARD, card.model_dump_json(indent=2).encode() + b"\n")
                try:
                    aside.rename(self.folder / str(version))
                except OSError as error:
                    if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                        raise
                    version += 1  # another trainer took this number between the look and the rename
                else:
                    break
            files.sync_folder(self.folder)
        except OSError as error:
            raise RegistryError(f"cannot write version into {self.folder}: {error.strerror}; check space and permissions") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return card

    def set_alias(self, alias: Alias, version: int | None, *, canary_percent: int | None = None) -> Aliases:
        """Point an alias to a version, or to none.

        Args:
            alias: `stable`, `canary` or `shadow`.
            version: one that is there, or None to clear the alias.
            canary_percent: share of images for the canary, 0-100; None leaves it as it is.
        """
        with self.changing_aliases() as change:
            if version is not None:
                self.resolve(version)  # under the lock: a version that is being deleted is gone by now, or cannot go any more
            aliases = self.aliases()
            if alias == "stable":
                aliases = aliases.with_stable(version)
            elif alias == "shadow":
                aliases = aliases.model_copy(update={"shadow": version})
            else:
                percent = 0 if version is None else aliases.canary_percent if canary_percent is None else canary_percent
                aliases = aliases.model_copy(update={"canary": version, "canary_percent": percent})
            return change(aliases)

    @contextmanager
    def changing_aliases(self) -> Iterator[Callable[[Aliases], Aliases]]:
        """Hold the aliases' lock, which no training holds for longer than a promotion; the block gets the function that writes them.

        Raises:
            RegistryError: another process holds it for ten seconds, or the volume cannot be written.
        """
        self.make_folder()
        try:
            with files.locked(self.folder / ".aliases.lock", timeout_s=_ALIASES_LOCK_TIMEOUT_S) as held:
                if not held:
                    raise RegistryError(
                        f"another process holds the aliases of {self.folder} for {_ALIASES_LOCK_TIMEOUT_S:.0f} s; try again"
                    )
                yield self._write_aliases
        except OSError as error:
            raise RegistryError(f"cannot change the aliases in {self.folder}: {error.strerror}; check space and permissions") from error

    def _write_aliases(self, aliases: Aliases) -> Aliases:
        whole = Aliases.model_validate(aliases.model_dump())
        files.replace(self.folder / _ALIASES, json.dumps(whole.model_dump(), indent=2).encode() + b"\n")
        return whole

    def remove(self, version: int) -> None:
        """Remove a version that no alias points to. Readers that are loading it see it whole or not at all; its number is never reused.

        Raises:
            RegistryError: it is not there, an alias points to it, or the volume cannot be written.
        """
        with self.changing_aliases() as change:
            self.resolve(version)
            aliases = self.aliases()
            for alias, way in _WAYS_OUT.items():
                if version == getattr(aliases, alias):
                    raise RegistryError(f"version {version} is {alias}; {way} first, then delete it")
            gone = self.folder / f"{_DELETED}{version}"
            (self.folder / str(version)).rename(gone)
            files.sync_folder(self.folder)
            if version in aliases.previous:
                change(aliases.model_copy(update={"previous": tuple(each for each in aliases.previous if each != version)}))
        for path in gone.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def newest_load(self, alias_or_version: str | int, load: Callable[[int], Loaded]) -> Loaded | None:
        """Resolve and load; begin again when the version was replaced and deleted in between. None when that alias is not set.

        Raises:
            RegistryError: what `load` raises of a version that the alias still points to.
        """
        while True:
            version = self.resolve(alias_or_version)
            if version is None:
                return None
            try:
                return load(version)
            except RegistryError:
                if self.resolve(alias_or_version) == version:
                    raise

    def make_folder(self) -> None:
        """Make the models folder unless it is there."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RegistryError(f"cannot make the models folder {self.folder}: {error.strerror}; check its path and permissions") from error

    def _named(self, alias_or_version: str | int) -> int | None:
        if alias_or_version == "stable":
            return self.aliases().stable
        if alias_or_version == "canary":
            return self.aliases().canary
        if alias_or_version == "shadow":
            return self.aliases().shadow
        if str(alias_or_version).isdecimal():
            return int(alias_or_version)
        raise RegistryError(f"no model is called {alias_or_version!r}; say stable, canary, shadow or a version: {self._known()}")

    def _deleted(self) -> list[int]:
        names = (path.name.removeprefix(_DELETED) for path in self.folder.glob(f"{_DELETED}*"))
        return [int(name) for name in names if name.isdecimal()]

    def _known(self) -> str:
        versions = self.versions()
        return f"versions {', '.join(map(str, versions))}" if versions else "no version"


def _read(path: Path) -> bytes:
    """Read a file whole. On NFS a file replaced between open and read gives ESTALE: opening it again finds the new one."""
    for _ in range(3):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise RegistryError(f"cannot read {path}: {error.strerror}; check the volume and its permissions") from error
    raise RegistryError(f"{path} was replaced each time it was read; check the volume")
