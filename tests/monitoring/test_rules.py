"""The rules as promtool sees them: they parse, each alert fires and keeps quiet when it should, and each has its page for who is woken."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from convnet_charts.promql import KAFKA, NAMESPACE, RELEASE, RUNBOOKS
from convnet_charts.rules.files import write_rules
from monitoring.rule_cases import CASES, Case, Input
from support.tools import required

RUNBOOK_FOLDER = Path(__file__).parents[2] / "docs" / "runbooks"
VALUES = {NAMESPACE: "ns", RELEASE: "one", KAFKA: "kafka", RUNBOOKS: "https://runbooks.example"}


@pytest.fixture(scope="module")
def promtool() -> Path:
    return required("promtool", "prometheus")


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_rules(tmp_path_factory.mktemp("rules"), values=VALUES)


def alerts(rules: list[Path]) -> list[dict[str, Any]]:
    found = [rule for path in rules for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
    return [rule for rule in found if "alert" in rule]


def run(promtool: Path, *arguments: str | Path, folder: Path) -> str:
    done = subprocess.run([promtool, *arguments], capture_output=True, text=True, cwd=folder, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules(promtool: Path, rules: list[Path]) -> None:
    assert "SUCCESS" in run(promtool, "check", "rules", *rules, folder=rules[0].parent)


def test_no_placeholder_is_left_and_rules_of_two_releases_never_meet(rules: list[Path]) -> None:
    """Whatever reads a series, recorded ones too, says of which namespace."""
    text = "".join(path.read_text() for path in rules)
    assert re.findall(r"__\w+?__", text) == []
    for path in rules:
        for group in yaml.safe_load(path.read_text())["groups"]:
            assert group["name"].startswith("convnet-ns-one-")
            for rule in group["rules"]:
                metrics = re.findall(r"\b((?:convnet|kafka|kube|kubelet|process)_\w+|convnet:[\w:]+|up)(\{[^}]*\})?", rule["expr"])
                assert metrics, rule["expr"]
                assert [name for name, selector in metrics if 'namespace="ns"' not in selector] == []


def test_every_alert_has_its_cases_and_its_page_and_no_page_is_left_over(rules: list[Path]) -> None:
    names = {rule["alert"] for rule in alerts(rules)}
    assert set(CASES) == names
    assert {path.stem for path in RUNBOOK_FOLDER.glob("*.md")} - {"README"} == names
    for rule in alerts(rules):
        assert rule["annotations"]["runbook_url"] == f"https://runbooks.example/{rule['alert']}.md"
        assert rule["labels"]["severity"] in {"page", "ticket"}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_page_says_what_it_means_where_to_look_and_what_to_do(name: str) -> None:
    text = (RUNBOOK_FOLDER / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["What it means", "Look here", "Do this"]


def one_test(alert: str, how: str, given: Input, added: list[dict[str, str]]) -> dict[str, Any]:
    """One entry of promtool's test file. What the rule itself adds to each alert comes with `added`, by window where it has several."""
    release = 'release="kafka"' if any('component="kafka"' in series for series in given.series) else 'release="one"'
    outside = all(re.match(r"kube(let)?_", series) for series in given.series)
    own = 'namespace="ns"' if outside else f'namespace="ns",{release}'
    common = {"namespace": "ns"} | ({} if outside else {"release": release.split('"')[1]})
    expected = []
    for labels in given.alerts:
        rule = next(each for each in added if labels.get("window") in {None, each.get("window")})
        expected.append({"exp_labels": common | rule | dict(labels)})
    return {
        "name": f"{alert} {how}",
        "interval": given.interval,
        "input_series": [
            {"series": re.sub(r"\{", f"{{{own},", series, count=1), "values": values} for series, values in given.series.items()
        ],
        "alert_rule_test": [{"eval_time": given.at, "alertname": alert, "exp_alerts": expected}],
    }


def recorded(expr: str) -> set[str]:
    """The recorded series that a query reads."""
    return set(re.findall(r"\bconvnet:[\w:]+", expr))


def with_one_alert(rules: list[Path], alert: str, folder: Path) -> str:
    """A rule file with one alert and what it is made of, without annotations: promtool would want every word of them repeated."""
    every = [rule for path in rules for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
    wanted = [{k: v for k, v in rule.items() if k != "annotations"} for rule in every if rule.get("alert") == alert]
    # Each recording stands before those that read it.
    for rule in reversed([rule for rule in every if "record" in rule]):
        if any(rule["record"] in recorded(each["expr"]) for each in wanted):
            wanted.insert(0, rule)
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": alert, "rules": wanted}]}))
    return "rules.yaml"


@pytest.mark.parametrize("name", sorted(CASES))
def test_an_alert_fires_when_it_should_and_only_then(promtool: Path, rules: list[Path], tmp_path: Path, name: str) -> None:
    case: Case = CASES[name]
    assert case.fires.alerts, f"{name}: the case that fires expects nothing"
    assert not case.quiet.alerts
    added = [dict(rule["labels"]) for rule in alerts(rules) if rule["alert"] == name]
    content = {
        "rule_files": [with_one_alert(rules, name, tmp_path)],
        "evaluation_interval": case.fires.interval,
        "tests": [one_test(name, "fires", case.fires, added), one_test(name, "keeps quiet", case.quiet, added)],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(content))
    run(promtool, "test", "rules", "test.yaml", folder=tmp_path)
