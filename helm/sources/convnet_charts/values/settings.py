"""Settings of the services as values of the chart: made from `convnet_kafka.settings`, so that they cannot differ.

A template turns `maxUploads` under `server.settings` into `CONVNET_SERVER_MAX_UPLOADS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from pydantic import Field, create_model
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from convnet_charts.values.base import SettingValues
from convnet_kafka.settings import ClassifierSettings, ServerSettings

# The chart sets these itself: addresses of containers, mounted files and folders.
SERVER_OWNED = frozenset({"host", "port", "signing_key_files", "keys_file", "insecure", "spool_folder"})
CLASSIFIER_OWNED = frozenset({"host", "port", "models"})


def setting_values(name: str, settings: type[BaseSettings], *, without: frozenset[str]) -> type[SettingValues]:
    """A model with the fields of a settings class, each of them optional.

    Args:
        name: of the model.
        settings: the service's class.
        without: fields that the chart sets itself.
    """
    fields: dict[str, Any] = {
        field: (_annotation(info) | None, Field(default=None, description=_description(info)))
        for field, info in settings.model_fields.items()
        if field not in without
    }
    model: type[SettingValues] = create_model(name, __base__=SettingValues, **fields)
    return model


def _annotation(info: FieldInfo) -> Any:
    """The field's type with its limits."""
    if info.metadata:
        return Annotated[info.annotation, *info.metadata]
    if get_origin(info.annotation) is None or get_args(info.annotation):
        return info.annotation
    raise TypeError(f"a setting of type {info.annotation} cannot be a value of the chart")


def _description(info: FieldInfo) -> str:
    """What it says of itself, and the service's default."""
    default = info.get_default(call_default_factory=True) if info.default is not PydanticUndefined or info.default_factory else None
    text = " ".join((info.description or "").split())
    if default is None or default in ({}, [], ""):
        return text
    shown = str(default).lower() if isinstance(default, bool) else f"{default:g}" if isinstance(default, float) else default
    return f"{text} Default of the service: {shown}."


if TYPE_CHECKING:
    # A type checker cannot see what is made below.
    class ServerSettingValues(SettingValues):
        """Settings of the server."""

    class ClassifierSettingValues(SettingValues):
        """Settings of the classifier."""

else:
    ServerSettingValues = setting_values("ServerSettingValues", ServerSettings, without=SERVER_OWNED)
    ClassifierSettingValues = setting_values("ClassifierSettingValues", ClassifierSettings, without=CLASSIFIER_OWNED)
