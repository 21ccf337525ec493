"""What the dashboards' JSON must have, whatever they show."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from convnet_charts.rules.files import write_rules
from support.dashboards import FOLDER, Panel, boards, panels

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
BOARDS = boards()
PANELS = [panel for name, content in BOARDS.items() for panel in panels(name, content)]
# Panels that stay empty without kube-state-metrics and the kubelet's metrics; docs/monitoring.md names them too.
KUBERNETES = {"CPU of what is asked for", "Slowed down", "Memory of the limit", "Replicas", "Restarts", "Kafka's disks"}


def name_of(panel: Panel) -> str:
    return f"{panel.board}: {panel.title}"


def test_there_are_six_dashboards_that_link_to_each_other_and_to_the_runbooks() -> None:
    assert set(BOARDS) == {"overview", "ingest", "classifier", "kafka", "quality", "capacity"}
    for content in BOARDS.values():
        assert content["uid"].startswith("convnet-")
        assert content["tags"] == ["convnet-kafka"]
        kinds = {link["type"]: link for link in content["links"]}
        assert kinds["dashboards"]["tags"] == ["convnet-kafka"]
        assert kinds["dashboards"]["includeVars"]
        assert kinds["dashboards"]["keepTime"]
        assert kinds["link"]["url"].endswith("/README.md")
        assert {"datasource", "namespace", "release", "pod"} <= {variable["name"] for variable in content["templating"]["list"]}
        assert [annotation["name"] for annotation in content["annotations"]["list"]] == ["Deployed", "Promoted", "Rebalanced"]


@pytest.mark.parametrize("panel", PANELS, ids=name_of)
def test_a_panel_says_what_it_means_in_which_unit(panel: Panel) -> None:
    assert len(panel.raw["description"]) > 10
    assert panel.raw["description"].endswith(".")
    assert panel.raw["fieldConfig"]["defaults"]["unit"]
    assert panel.queries
    for expr, _ in panel.queries:
        selectors = re.findall(r"\{([^}]*)\}", expr)
        assert selectors
        assert all('namespace=~"$namespace"' in selector for selector in selectors), expr
    for link in panel.raw.get("links") or []:
        assert (RUNBOOKS / link["url"].rpartition("/")[2]).is_file()


def test_panels_lie_side_by_side_and_none_over_another() -> None:
    for name, content in BOARDS.items():
        taken: dict[tuple[int, int], str] = {}
        for panel in content["panels"]:
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= 24, f"{name}: {panel['title']}"
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    assert (x, y) not in taken, f"{name}: {panel['title']} lies over {taken[x, y]}"
                    taken[x, y] = panel["title"]


def test_the_overview_fits_on_one_screen() -> None:
    """24 rows of 30 pixels and their gaps are what a screen of 1080 lines shows below Grafana's own head."""
    assert max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in BOARDS["overview"]["panels"]) <= 24


def test_the_panels_that_need_kubernetes_are_known() -> None:
    assert {panel.title for panel in PANELS if panel.needs_kubernetes} == KUBERNETES


def test_every_series_that_panels_read_as_recorded_is_recorded(tmp_path: Path) -> None:
    recorded = {
        rule["record"]
        for path in write_rules(tmp_path)
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    read = {name for panel in PANELS for expr, _ in panel.queries for name in re.findall(r"\bconvnet:[\w:]+", expr)}
    assert read
    assert read <= recorded


def test_panels_and_rules_read_only_metrics_that_are_there_and_leave_none_out(tmp_path: Path) -> None:
    known = set(re.findall(r"`(convnet_\w+)`", (RUNBOOKS.parent / "metrics.md").read_text()))
    texts = [path.read_text() for path in write_rules(tmp_path)] + [expr for panel in PANELS for expr, _ in panel.queries]
    texts += [mark["expr"] for content in BOARDS.values() for mark in content["annotations"]["list"]]
    read = {re.sub(r"_(bucket|sum|count)$", "", name) for text in texts for name in re.findall(r"\b(convnet_\w+)\{", text)}
    assert read == known


def test_the_files_are_small_enough_for_a_config_map() -> None:
    """The limit is 1 MiB for all that one holds."""
    assert sum(len(path.read_bytes()) for path in FOLDER.glob("*.json")) < 500_000
    assert all(json.loads(path.read_text()) for path in FOLDER.glob("*.json"))
