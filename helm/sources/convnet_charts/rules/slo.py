"""Objectives, and alerts when their error budget burns too fast: several windows, several rates (Google's SRE workbook, chapter 5).

Each burn rate is looked at over a long window, so that it matters, and a short one, so that the alert ends soon after the trouble.
"""

from __future__ import annotations

from dataclasses import dataclass

from convnet_charts.promql import SERVICES, by, ratio
from convnet_charts.rules.model import Alert, Group, Recording, Severity
from convnet_charts.rules.tuning import Tuning, number

_PERIOD = "30d"
# A whole period is read every so often: it costs more than all other rules together, and changes slowly.
_PERIOD_INTERVAL = "5m"


@dataclass(frozen=True, slots=True)
class Burn:
    """One burn rate that somebody is told of.

    Attributes:
        factor: how many times faster than what would just use up the budget within the period.
        long: window in which it must have burnt so.
        short: window in which it must burn so still.
        wait: how long both must hold.
        severity: how soon somebody must look.
    """

    factor: float
    long: str
    short: str
    wait: str
    severity: Severity


# 2 % of the budget within an hour, 5 % within six; 10 % within a day, 10 % within three.
BURNS = (
    Burn(14.4, "1h", "5m", "2m", "page"),
    Burn(6.0, "6h", "30m", "15m", "page"),
    Burn(3.0, "1d", "2h", "1h", "ticket"),
    Burn(1.0, "3d", "6h", "3h", "ticket"),
)
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


@dataclass(frozen=True, slots=True)
class Objective:
    """A promise in numbers.

    Attributes:
        name: of the recorded series, `convnet:<name>:ratio_rate5m` and so on: the share that went wrong.
        alert: the alert's name.
        budget: share that may go wrong.
        summary: what goes wrong, for the alert's summary.
        description: what it means and where to look first.
    """

    name: str
    alert: str
    budget: float
    summary: str
    description: str

    def ratio(self, window: str) -> str:
        """Selects the share that went wrong in a window."""
        return SERVICES(f"convnet:{self.name}:ratio_rate{window}")


def _unavailability(window: str) -> str:
    failed = SERVICES("convnet_server_requests_total", lane__re="bulk|fast", status__re="5..")
    answered = SERVICES("convnet_server_requests_total", lane__re="bulk|fast")
    return ratio(f"sum {by()} (rate({failed}[{window}]))", f"sum {by()} (rate({answered}[{window}]))")


def _lateness(window: str, within_s: dict[str, float]) -> str:
    lanes = []
    for lane, limit_s in within_s.items():
        in_time = SERVICES("convnet_classifier_end_to_end_seconds_bucket", lane=lane, le=f"{limit_s:.1f}")
        labelled = SERVICES("convnet_classifier_end_to_end_seconds_count", lane=lane)
        lanes.append(f"1 - sum {by('lane')} (rate({in_time}[{window}])) / sum {by('lane')} (rate({labelled}[{window}]))")
    return " or ".join(lanes)


def objectives(tuning: Tuning) -> tuple[Objective, Objective]:
    """What the service promises."""
    return (
        Objective(
            "unavailability",
            "ConvnetAvailabilityBudgetBurns",
            1 - tuning.availability,
            "of the requests with images end in a 5xx",
            "Uploads or classify calls fail or are refused. Look at which status and route, at Kafka, and at the backlog.",
        ),
        Objective(
            "lateness",
            "ConvnetLatencyBudgetBurns",
            1 - tuning.in_time,
            f"of the images of the lane {{{{ $labels.lane }}}} are late (fast: after {number(tuning.fast_s)} s, "
            f"bulk: {number(tuning.bulk_s)} s)",
            "Images take too long from accepted to labelled. Look at the backlog and at how busy the classifiers are; an image never "
            "labelled does not show here, ConvnetNoConsumer tells of those.",
        ),
    )


def _ratios(tuning: Tuning, window: str) -> tuple[Recording, Recording]:
    scaled = tuning.window(window)
    return (
        Recording(f"convnet:unavailability:ratio_rate{window}", _unavailability(scaled)),
        Recording(f"convnet:lateness:ratio_rate{window}", _lateness(scaled, {"fast": tuning.fast_s, "bulk": tuning.bulk_s})),
    )


def _alert(tuning: Tuning, objective: Objective, burn: Burn) -> Alert:
    limit = number(burn.factor * objective.budget)
    return Alert(
        objective.alert,
        f"{objective.ratio(burn.long)} > {limit} and {objective.ratio(burn.short)} > {limit}",
        tuning.wait(burn.wait),
        burn.severity,
        f"{{{{ $value | humanizePercentage }}}} {objective.summary} within {burn.long}: "
        f"the budget of {_PERIOD} burns more than {number(burn.factor)} times too fast",
        objective.description,
        {"window": burn.long},
    )


def groups(tuning: Tuning) -> tuple[Group, Group]:
    """Recording rules of the objectives, and their alerts."""
    promised = objectives(tuning)
    ratios = [rule for window in WINDOWS for rule in _ratios(tuning, window)]
    alerts = [_alert(tuning, objective, burn) for objective in promised for burn in BURNS]
    left = [
        Recording(f"convnet:{each.name}:budget_left{_PERIOD}", f"1 - {each.ratio(_PERIOD)} / {number(each.budget)}") for each in promised
    ]
    return (
        Group("objectives", (*ratios, *alerts)),
        Group("budgets", (*_ratios(tuning, _PERIOD), *left), tuning.wait(_PERIOD_INTERVAL)),
    )
