"""What all dashboards share: variables, links, annotations, and panels in one style. The only module that knows Grafana's SDK.

A panel is width, title, what it means with what to do about it, unit, and queries. Colours come from thresholds, never from taste.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import QueryEditorMode

from convnet_charts.dashboards.queries import RELEASE, Query
from convnet_charts.promql import RUNBOOKS

# Every dashboard carries it, and links to all that do.
TAG = "convnet-kafka"
_SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
# An annotation stands where something is that was not there so long ago.
_NEW_WITHIN = "2m"
_HEIGHT = 8
_STAT_HEIGHT = 4

Panel = Any  # one of the SDK's panel builders, which have no common type that says more


@dataclass(frozen=True, slots=True)
class Levels:
    """Where a value becomes yellow and red. With `falling`, below; else, above."""

    yellow: float
    red: float
    falling: bool = False

    def steps(self) -> list[models.Threshold]:
        """As Grafana wants them: ascending, the first without a value."""
        colors = ("red", "yellow", "green") if self.falling else ("green", "yellow", "red")
        values = (None, self.red, self.yellow) if self.falling else (None, self.yellow, self.red)
        return [models.Threshold(value=value, color=color) for value, color in zip(values, colors, strict=True)]


def graph(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 8,
    height: int = _HEIGHT,
    stacked: bool = False,
    most: float | None = None,
    levels: Levels | None = None,
    runbook: str = "",
) -> Panel:
    """Lines over time.

    Args:
        title: what is seen.
        description: what it means, and what to do about it.
        unit: as Grafana names it.
        queries: the lines.
        width: of 24 columns.
        height: in rows.
        stacked: areas one on the other, for parts of a whole.
        most: top of the axis.
        levels: lines that show where it becomes bad.
        runbook: the alert whose page the panel links to.
    """
    panel = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(40 if stacked else 8)
        .show_points(options.VisibilityMode.NEVER)
        .span_nulls(False)
        .tooltip(common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI).sort(options.SortOrder.DESCENDING))
        .legend(
            common.VizLegendOptions()
            .display_mode(options.LegendDisplayMode.LIST)
            .placement(options.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .min(0)
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL))
    if most is not None:
        panel.max(most)
    if levels is not None:
        panel.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(levels.steps()))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(options.GraphThresholdsStyleMode.DASHED))
    return _finished(panel, title, description, unit, queries, width, height, runbook)


def number(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 4,
    levels: Levels | None = None,
    none: str = "",
    decimals: int | None = None,
    runbook: str = "",
) -> Panel:
    """The newest value, large, coloured by its levels. `none` stands where there is no series."""
    panel = (
        stat.Panel()
        .graph_mode(options.BigValueGraphMode.AREA)
        .color_mode(options.BigValueColorMode.VALUE if levels is None else options.BigValueColorMode.BACKGROUND)
        .text_mode(options.BigValueTextMode.VALUE if len(queries) == 1 and not queries[0].legend else options.BigValueTextMode.AUTO)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    if levels is not None:
        panel.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(levels.steps()))
    else:
        neutral = [models.Threshold(value=None, color="text")]
        panel.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(neutral))
    if none:
        panel.no_value(none)
    if decimals is not None:
        panel.decimals(decimals)
    return _finished(panel, title, description, unit, queries, width, _STAT_HEIGHT, runbook)


def bars(
    title: str, description: str, unit: str, *queries: Query, width: int = 8, height: int = _HEIGHT, none: str = "", runbook: str = ""
) -> Panel:
    """The newest value of each series, as a bar."""
    panel = (
        bargauge.Panel()
        .orientation(options.VizOrientation.HORIZONTAL)
        .display_mode(options.BarGaugeDisplayMode.BASIC)
        .value_mode(options.BarGaugeValueMode.TEXT)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .min(0)
        .thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps([models.Threshold(value=None, color="blue")]))
    )
    if none:
        panel.no_value(none)
    return _finished(panel, title, description, unit, queries, width, height, runbook)


def _finished(
    panel: Panel, title: str, description: str, unit: str, queries: Sequence[Query], width: int, height: int, runbook: str
) -> Panel:
    panel.title(title).description(description).unit(unit).datasource(_SOURCE).span(width).height(height)
    for index, query in enumerate(queries):
        target = prometheus.Dataquery().expr(query.expr).ref_id(chr(ord("A") + index)).editor_mode(QueryEditorMode.CODE).range()
        panel.with_target(target.legend_format(query.legend or "__auto").datasource(_SOURCE))
    if runbook:
        link = dashboard.DashboardLink(f"Runbook {runbook}").type(models.DashboardLinkType.LINK)
        panel.links([link.url(f"{RUNBOOKS}/{runbook}.md").target_blank(True)])
    return panel


def row(title: str, *panels: Panel) -> tuple[str, tuple[Panel, ...]]:
    """Panels under a title."""
    return title, panels


def board(
    uid: str,
    title: str,
    description: str,
    rows: Sequence[tuple[str, tuple[Panel, ...]]],
    *,
    refresh: str = "30s",
    period: str = "now-6h",
    brokers: bool = False,
) -> str:
    """A whole dashboard, as the JSON that Grafana imports.

    Args:
        uid: its address, `/d/<uid>`.
        title: as listed.
        description: what question it answers.
        rows: of panels; one without a title needs none.
        refresh: how often it is drawn again.
        period: what it shows when opened.
        brokers: whether it also asks which Kafka cluster.
    """
    built = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .refresh(refresh)
        .time(period, "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .editable()
        .link(
            dashboard.DashboardLink("convnet-kafka")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .keep_time(True)
            .include_vars(True)
        )
        .link(
            dashboard.DashboardLink("Runbooks")
            .type(models.DashboardLinkType.LINK)
            .url(f"{RUNBOOKS}/README.md")
            .icon("doc")
            .target_blank(True)
        )
    )
    for variable in _variables(brokers=brokers):
        built.with_variable(variable)
    for name, panels in rows:
        if name:
            built.with_row(dashboard.Row(name))
        for panel in panels:
            built.with_panel(panel)
    content = built.build()
    for number_, panel in enumerate(content.panels or [], start=1):
        panel.id_val = number_
    content.annotations = {"list": _annotations()}  # type: ignore[assignment]
    return json.dumps(content, cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _variables(*, brokers: bool) -> list[Any]:
    def asked(name: str, label: str, query: str, *, several: bool = False) -> Any:
        variable = dashboard.QueryVariable(name).label(label).datasource(_SOURCE).query(query)
        variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)
        if several:
            everything = models.VariableOption(selected=True, text=["All"], value=["$__all"])
            variable.multi(True).include_all(True).all_value(".*").current(everything)
        return variable

    found = [
        dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"),
        asked("namespace", "Namespace", "label_values(convnet_build_info, namespace)"),
        asked("release", "Release", 'label_values(convnet_build_info{namespace=~"$namespace"}, release)'),
        asked("pod", "Pod", f"label_values({RELEASE('convnet_build_info')}, pod)", several=True),
    ]
    if brokers:
        found.append(asked("kafka", "Kafka cluster", 'label_values(up{namespace=~"$namespace", component="kafka"}, release)'))
    return found


def _annotations() -> list[dict[str, object]]:
    """Marks on every graph. As plain data: the SDK's model of them has no field for the text of a mark."""

    def new(metric: str, labels: str, **matchers: str) -> str:
        series = RELEASE(metric, **matchers)
        return f"group by ({labels}) ({series}) unless group by ({labels}) ({series} offset {_NEW_WITHIN})"

    moved = f"sum by (lane) (increase({RELEASE('convnet_classifier_rebalances_total', event__re='revoked|lost')}[1m])) > 0"
    wanted = (
        ("Deployed", "blue", new("convnet_build_info", "component, version"), "{{component}} {{version}}"),
        (
            "Promoted",
            "purple",
            new("convnet_classifier_model_info", "role, version", role__not="shadow"),
            "{{role}} is version {{version}}",
        ),
        ("Rebalanced", "orange", moved, "partitions of the lane {{lane}} changed hands"),
    )
    return [
        {"name": name, "datasource": _SOURCE, "enable": True, "iconColor": color, "expr": expr, "titleFormat": text, "step": "30s"}
        for name, color, expr, text in wanted
    ]
