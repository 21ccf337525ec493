"""The values: strict, documented, and the same as what the services take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic_settings import BaseSettings

from convnet_charts.values.settings import CLASSIFIER_OWNED, SERVER_OWNED, ClassifierSettingValues, ServerSettingValues
from convnet_kafka.settings import ClassifierSettings, ServerSettings
from support.convnet_chart import CHART, TRIAL, Values, container, env, over

REFUSED: list[tuple[Values, str]] = [
    ({"classifer": {}}, "classifer"),
    ({"server": {"replica": 3}}, "replica"),
    ({"server": {"replicas": "3"}}, "/server/replicas"),
    ({"server": {"settings": {"maxUpload": 3}}}, "maxUpload"),
    ({"server": {"settings": {"maxUploads": 0}}}, "/server/settings/maxUploads"),
    ({"server": {"settings": {"keysFile": "/etc/passwd"}}}, "keysFile"),
    ({"classifier": {"settings": {"bulkShare": 1}}}, "/classifier/settings/bulkShare"),
    ({"classifier": {"autoscaling": {"mode": "both"}}}, "/classifier/autoscaling/mode"),
    ({"model": {"persistence": {"size": "large"}}}, "/model/persistence/size"),
    ({"topics": {"prefix": "a b"}}, "/topics/prefix"),
    ({"images": {"pullPolicy": "Sometimes"}}, "/images/pullPolicy"),
    ({"trainer": {"data": {"archive": {"url": "ftp://example.org"}}}}, "/trainer/data/archive/url"),
    ({"kafka": {"maxImageBytes": 10}}, "/kafka/maxImageBytes"),
]


@pytest.mark.parametrize(("values", "where"), REFUSED, ids=[where for _, where in REFUSED])
def test_values_that_are_not_known_or_cannot_be_are_refused_by_name(values: Values, where: str) -> None:
    assert where in CHART.refusal({**TRIAL, **values})


def test_global_is_let_through_for_a_chart_that_this_one_is_a_part_of() -> None:
    CHART.render(over(TRIAL, **{"global": {"imageRegistry": "registry.example.org", "deep": {"er": [1]}}}))


def test_every_setting_of_the_services_is_a_value_or_the_charts_own() -> None:
    for settings, values, owned in (
        (ServerSettings, ServerSettingValues, SERVER_OWNED),
        (ClassifierSettings, ClassifierSettingValues, CLASSIFIER_OWNED),
    ):
        assert set(values.model_fields) == set(settings.model_fields) - owned
        assert owned < set(settings.model_fields)


def _sample(settings: type[BaseSettings], name: str) -> Any:
    """A value that a setting takes and that is not its default."""
    default = settings.model_fields[name].get_default(call_default_factory=True)
    if isinstance(default, bool):
        return not default
    if isinstance(default, int | float):
        return next(value for value in (default * 2, default / 2, default / 4, 1) if _taken(settings, name, value))
    return {"thresholds": {"cat": 0.8, "*": 0.5}, "backend": "tensorflow"}[name]


def _taken(settings: type[BaseSettings], name: str, value: float) -> bool:
    try:
        settings(**{name: value})
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("part", "settings", "owned"), [("server", ServerSettings, SERVER_OWNED), ("classifier", ClassifierSettings, CLASSIFIER_OWNED)]
)
def test_a_setting_reaches_the_service_as_it_was_written(
    part: str, settings: type[BaseSettings], owned: frozenset[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every one of them: through values, template and environment into the service's own class."""
    wanted = {name: _sample(settings, name) for name in settings.model_fields if name not in owned}
    values = {settings_alias(name): value for name, value in wanted.items()}
    rendered = CHART.render(over(TRIAL, **{f"{part}__settings": values}))
    prefix = settings.model_config["env_prefix"]
    for name, value in env(container(rendered.one("Deployment", f"convnet-{part}"))).items():
        if name.startswith(prefix) and isinstance(value, str):
            monkeypatch.setenv(name, value)
    read = settings()
    assert {name: getattr(read, name) for name in wanted} == wanted


def settings_alias(name: str) -> str:
    found = {**ServerSettingValues.model_fields, **ClassifierSettingValues.model_fields}[name].alias
    assert found
    return found


def test_an_empty_setting_is_left_to_the_service() -> None:
    rendered = CHART.render(TRIAL)
    names = env(container(rendered.one("Deployment", "convnet-classifier")))
    assert [name for name in names if name.startswith("CONVNET_CLASSIFIER_")] == [
        "CONVNET_CLASSIFIER_MODELS", "CONVNET_CLASSIFIER_HOST", "CONVNET_CLASSIFIER_PORT",
    ]  # fmt: skip


def test_every_value_stands_in_the_readme_with_its_default() -> None:
    rows = [line.split("|") for line in (CHART.folder / "README.md").read_text("utf-8").splitlines() if line.startswith("| `")]
    documented = {row[1].strip().strip("`"): row[3].strip() for row in rows}
    leaves = set(_leaves(yaml.safe_load((CHART.folder / "values.yaml").read_text("utf-8"))))
    assert leaves - set(documented) <= {"server.settings", "classifier.settings"}
    assert [path for path, text in documented.items() if not text] == []


def _leaves(part: Any, path: str = "") -> list[str]:
    schema = json.loads((CHART.folder / "values.schema.json").read_text("utf-8"))
    for key in filter(None, path.split(".")):
        schema = schema["properties"][key]
    if isinstance(part, dict) and schema.get("properties") and part:
        return [leaf for key, each in part.items() for leaf in _leaves(each, f"{path}.{key}".lstrip("."))]
    return [path]


def test_the_models_describe_every_field() -> None:
    def undescribed(model: BaseModel, path: str) -> list[str]:
        found = [f"{path}.{name}" for name, info in type(model).model_fields.items() if not info.description]
        for name in type(model).model_fields:
            value = getattr(model, name)
            if isinstance(value, BaseModel):
                found += undescribed(value, f"{path}.{name}")
        return found

    from convnet_charts.values.chart import ConvnetKafka

    assert undescribed(ConvnetKafka(), "") == []


def test_no_file_of_the_chart_is_larger_than_helm_takes() -> None:
    """A release is kept in a Secret of at most 1 MiB, compressed; the chart's files are the most of it."""
    assert sum(path.stat().st_size for path in Path(CHART.folder).rglob("*") if path.is_file()) < 1_500_000
