"""What every model of values is: camelCase for the chart, strict, and described field by field where the field stands."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

# What Kubernetes defines and checks itself is passed through as it is.
KubernetesObject = dict[str, Any]
KubernetesObjects = list[dict[str, Any]]
Words = dict[str, str]
# Names of Kubernetes objects that the chart refers to; empty where there is none.
ObjectName = Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$")]
# Kubernetes' quantities: 500m, 1.5, 10Gi.
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class Values(BaseModel):
    """A part of a chart's values. A key that is not here is refused by the schema: a misspelt one must not be ignored."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True)


class SettingValues(Values):
    """Settings of a service under their own names in camelCase. All are empty in values.yaml, where the service's default holds."""
