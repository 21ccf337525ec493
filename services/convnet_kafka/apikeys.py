"""API keys and the file that holds them: what a key may do, and the SHA-256 of its text. The text itself is shown once and kept nowhere.

Owns the format, and reading and writing it. Knows nothing of HTTP; never logs and never shows a digest.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_serializer, model_validator

from convnet_kafka.errors import SettingsError

# 160 bits are 32 letters of base32 without padding. The prefix lets scanners of repositories find keys that were committed.
PREFIX = "ck_"
_RANDOM_BYTES = 20
_FORM = re.compile(r"ck_[a-z2-7]{32}")
# Names stand in logs, tenants in Kafka's headers (messages.py bounds them to 64 bytes).
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
VERSION: Literal[1] = 1
DEFAULT_TENANT = "default"
_MODE = 0o600


ModelT = TypeVar("ModelT", bound=BaseModel)


class Permission(StrEnum):
    """What a key may be allowed. Stable: they stand in files."""

    UPLOAD = "upload"
    READ = "read"
    CLASSIFY = "classify"
    MODELS = "models"


class KeyState(StrEnum):
    """Whether a key gives access."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class _Strict(BaseModel):
    # A misspelt limit must not mean "no limit".
    model_config = ConfigDict(extra="forbid", frozen=True)


class Secret(_Strict):
    """One text that is accepted for a key.

    Attributes:
        sha256: of the text, 64 hex digits.
        expires: when it is no longer accepted; None for as long as the key lives. The old one of a rotation has a time here.
    """

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    expires: AwareDatetime | None = None


class Rates(_Strict):
    """How fast a key may be used, in each server process. None means as fast as the server can.

    Attributes:
        requests_per_s: requests of any kind.
        images_per_s: images of uploads and of `classify` together.
        fast_images_per_s: images on the fast lane; 0 keeps the key off it.
        burst_s: seconds of each rate that may be saved up while the key is not used.
    """

    requests_per_s: Annotated[float, Field(gt=0, le=1e6)] | None = None
    images_per_s: Annotated[float, Field(gt=0, le=1e9)] | None = None
    fast_images_per_s: Annotated[float, Field(ge=0, le=1e9)] | None = None
    burst_s: Annotated[float, Field(gt=0, le=3600)] = 10.0


class Key(_Strict):
    """A named key.

    Attributes:
        secrets: the texts that are accepted for it, the newest first.
        tenant: whose jobs it opens and sees.
        allow: what it may do.
        rates: how fast.
        created: when it was made.
        expires: when it ends by itself, if ever.
        revoked: when it was revoked; kept, so that its name still explains old logs.
    """

    secrets: Annotated[tuple[Secret, ...], Field(min_length=1, max_length=2)]
    tenant: Annotated[str, Field(pattern=NAME_PATTERN)] = DEFAULT_TENANT
    allow: frozenset[Permission] = frozenset(Permission)
    rates: Rates = Rates()
    created: AwareDatetime
    expires: AwareDatetime | None = None
    revoked: AwareDatetime | None = None

    @field_serializer("allow")
    def _in_order(self, allow: frozenset[Permission]) -> list[Permission]:
        return sorted(allow)

    def state(self, at: datetime) -> KeyState:
        """Whether it gives access at a time."""
        if self.revoked is not None:
            return KeyState.REVOKED
        return KeyState.EXPIRED if self.expires is not None and at >= self.expires else KeyState.ACTIVE


class KeyFile(_Strict):
    """All keys, by name.

    Attributes:
        version: of the format.
        keys: name -> key.
    """

    version: Literal[1] = VERSION
    keys: dict[Annotated[str, Field(pattern=NAME_PATTERN)], Key] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_name_each(self) -> Self:
        names: dict[str, str] = {}
        for name, key in self.keys.items():
            for secret in key.secrets:
                if names.setdefault(secret.sha256, name) != name:
                    raise ValueError(f"keys {names[secret.sha256]!r} and {name!r} have the same text")
        return self


def new_secret() -> tuple[str, Secret]:
    """A new random text, to be shown once, and what is kept of it."""
    text = PREFIX + base64.b32encode(secrets.token_bytes(_RANDOM_BYTES)).decode().lower()
    return text, Secret(sha256=digest(text))


def digest(text: str) -> str:
    """What is kept of a key's text. 160 random bits need neither salt nor a slow hash: nobody can try them all."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def is_key(text: str) -> bool:
    """Whether a text has the form of a key."""
    return _FORM.fullmatch(text) is not None


def check_name(name: str) -> None:
    """Raise when a key cannot be called that.

    Raises:
        SettingsError: says how it may be called.
    """
    if re.fullmatch(NAME_PATTERN, name) is None:
        raise SettingsError(
            f"a key cannot be called {name!r}: 1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first"
        )


def now() -> datetime:
    """The time, to the second: nobody wants to read more in a file."""
    return datetime.now(UTC).replace(microsecond=0)


def checked(model: type[ModelT], values: Mapping[str, Any]) -> ModelT:
    """A part of a keys file, made of what somebody said.

    Raises:
        SettingsError: names everything that is wrong with it.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise SettingsError(f"no such key can be made: {_faults(error)}") from None


def parse(content: bytes, path: Path) -> KeyFile:
    """A file's content.

    Raises:
        SettingsError: it is not a keys file, or one of a newer version; says where.
    """
    try:
        return KeyFile.model_validate_json(content)
    except ValidationError as error:
        raise SettingsError(f"{path} is not a keys file of version {VERSION}: {_faults(error)}") from None


def read(path: Path) -> KeyFile:
    """The keys in a file.

    Raises:
        SettingsError: it cannot be read, or is not a keys file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"the keys file {path} cannot be read: {error.strerror}; make one with: convnet-kafka keys add NAME --file {path}"
        ) from error
    return parse(content, path)


def write(path: Path, keys: KeyFile) -> None:
    """Replace the file in one step; only its owner may read it.

    Raises:
        SettingsError: it cannot be written.
    """
    # A link that somebody made stays one.
    target = path.resolve()
    try:
        _replace(target, (keys.model_dump_json(indent=2, exclude_none=True) + "\n").encode())
    except OSError as error:
        raise SettingsError(
            f"the keys file {path} cannot be written: {error.strerror}; a mounted Secret is changed where it is made, not here"
        ) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other writers of the file waiting: two that add keys at once both succeed. The folder is locked, no file is left behind.

    Raises:
        SettingsError: the folder is not there.
    """
    folder = path.resolve().parent
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise SettingsError(f"the folder {folder} of the keys file cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _faults(error: ValidationError) -> str:
    """Places and rules, never what stands there: it may be a key that somebody put into the wrong file."""
    return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'the whole'}: {item['msg']}" for item in error.errors(include_input=False)[:5])


def _replace(target: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), _MODE)
            with suppress(FileNotFoundError, PermissionError):
                # Changed by root, it must stay readable for the server that it belongs to.
                owner = target.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
