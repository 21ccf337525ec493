"""JSON schema of a chart's values, as Helm reads it: draft 7, no references, nothing but what checks or explains."""

from __future__ import annotations

import json
from typing import Any

from convnet_charts.values.base import Values

_NOISE = ("title", "default")


def schema_text(root: type[Values]) -> str:
    """The text of values.schema.json for a chart."""
    found = root.model_json_schema(by_alias=True)
    definitions = found.pop("$defs", {})
    schema = _plain(found, definitions)
    return json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", **schema}, indent=2, ensure_ascii=False) + "\n"


def _plain(part: Any, definitions: dict[str, Any]) -> Any:
    """A part of the schema with references replaced by what they mean, and without noise."""
    if isinstance(part, list):
        return [_plain(each, definitions) for each in part]
    if not isinstance(part, dict):
        return part
    part = dict(part)
    if reference := part.pop("$ref", None):
        # What stands beside a reference (the field's own description) wins over the class's.
        part = {**definitions[reference.rpartition("/")[2]], **part}
    if "properties" in part:
        part["properties"] = {name: _plain(each, definitions) for name, each in part["properties"].items()}
    plain = {key: value if key == "properties" else _plain(value, definitions) for key, value in part.items() if key not in _NOISE}
    return _one_type_or_null(plain)


def _one_type_or_null(part: dict[str, Any]) -> dict[str, Any]:
    """`anyOf` of one type and null as a list of types: Helm's message is then one sentence and not two."""
    choices = part.get("anyOf", [])
    if len(choices) == 2 and choices[1] == {"type": "null"} and isinstance(choices[0].get("type"), str):
        rest = {key: value for key, value in part.items() if key != "anyOf"}
        only = dict(choices[0])
        if "enum" in only:
            only["enum"] = [*only["enum"], None]
        return {**only, **rest, "type": [only["type"], "null"]}
    return part
